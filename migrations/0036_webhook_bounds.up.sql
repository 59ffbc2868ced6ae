-- An endpoint that takes nothing is left alone longer and longer, and one that is deleted goes
-- at once from every list while its deliveries are forgotten batch by batch.
ALTER TABLE webhook_endpoints
    -- How often in a row nothing was taken.
    ADD COLUMN failures integer NOT NULL DEFAULT 0
        CONSTRAINT webhook_endpoints_failures CHECK (failures >= 0),
    DROP CONSTRAINT webhook_endpoints_status,
    ADD CONSTRAINT webhook_endpoints_status CHECK (status IN ('active', 'disabled', 'failing', 'deleted'));
