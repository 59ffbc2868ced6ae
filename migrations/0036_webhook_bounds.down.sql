-- Of every tenant, which forced row security hides.
ALTER TABLE webhook_deliveries NO FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_endpoints NO FORCE ROW LEVEL SECURITY;
DELETE FROM webhook_deliveries delivery USING webhook_endpoints endpoint
WHERE endpoint.tenant_id = delivery.tenant_id AND endpoint.id = delivery.endpoint_id AND endpoint.status = 'deleted';
DELETE FROM webhook_endpoints WHERE status = 'deleted';
ALTER TABLE webhook_deliveries FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_endpoints FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_endpoints
    DROP CONSTRAINT webhook_endpoints_status,
    ADD CONSTRAINT webhook_endpoints_status CHECK (status IN ('active', 'disabled', 'failing')),
    DROP COLUMN failures;
