-- What happened to objects, told to other systems. A command writes into the outbox in its
-- own transaction, so that there is an event exactly where there is a change; a relay gives
-- positions afterwards, so that whoever reads on from a position misses no late committer.
--
-- An event is the shadow of an audit record and has its id. What it tells stands in the
-- record alone: here are its name, its object and the version that the object came to.
CREATE TABLE event_outbox (
    tenant_id   uuid NOT NULL,
    event_id    uuid NOT NULL,
    event_type  text NOT NULL,
    object_type text NOT NULL,
    object_id   uuid NOT NULL,
    sequence    bigint NOT NULL CHECK (sequence > 0),
    PRIMARY KEY (tenant_id, event_id),
    UNIQUE (tenant_id, object_id, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CALL secure_tenant_table('event_outbox', 'INSERT', true);

-- Positions of a tenant are contiguous: one relay numbers, from the highest, which is never
-- forgotten.
CREATE TABLE events (
    tenant_id    uuid NOT NULL,
    position     bigint NOT NULL CHECK (position > 0),
    event_id     uuid NOT NULL,
    event_type   text NOT NULL,
    object_type  text NOT NULL,
    object_id    uuid NOT NULL,
    sequence     bigint NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, position),
    UNIQUE (tenant_id, event_id),
    UNIQUE (tenant_id, object_id, sequence)
);
CALL secure_tenant_table('events', 'SELECT, DELETE', true);

-- Both follow from records of the log, which tell who did it.
DROP TRIGGER audit_row_change ON event_outbox;
DROP TRIGGER audit_truncation ON event_outbox;
DROP TRIGGER audit_row_change ON events;
DROP TRIGGER audit_truncation ON events;

-- The relay works for all tenants at once, under the role of the sealer, and like it on ids:
-- no values pass through its hands.
GRANT SELECT, DELETE ON event_outbox TO strongroom_sealer;
GRANT SELECT, INSERT ON events TO strongroom_sealer;
CREATE POLICY relay_moves ON event_outbox TO strongroom_sealer USING (true);
CREATE POLICY relay_appends ON events TO strongroom_sealer USING (true) WITH CHECK (true);

-- As 0017 made it; where nothing keeps somebody out nothing changes, their version neither.
CREATE OR REPLACE FUNCTION unlock_account(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE users SET staff_locked_at = NULL, staff_lock_reason = NULL, failed_login_attempts = 0,
        first_failed_at = NULL, lock_count = 0, locked_until = NULL, mfa_failed_attempts = 0,
        mfa_first_failed_at = NULL, mfa_locked_until = NULL, version = version + 1
    WHERE tenant_id = v_tenant AND id = p_user_id AND deleted_at IS NULL
        AND (staff_locked_at IS NOT NULL OR failed_login_attempts > 0 OR lock_count > 0
            OR locked_until IS NOT NULL OR mfa_failed_attempts > 0 OR mfa_locked_until IS NOT NULL);
    RETURN FOUND;
END $$;
