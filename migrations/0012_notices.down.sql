-- What still waits in the queue is not sent; whoever asked for it asks again.
DROP TABLE tenant_branding;
DROP TABLE notices;
DROP FUNCTION refuse_notice_revival();
