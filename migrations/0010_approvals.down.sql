-- What still waits was never posted; whoever ordered it orders it again.
DROP TABLE approvals;
DROP FUNCTION refuse_second_decision();
