-- Whoever listened reads on by GET /v1/events.
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
