-- Links of those who were signing up are good for nothing; whoever needs one signs up again.
-- Tenant by tenant: forced row security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        DELETE FROM one_time_tokens
        WHERE tenant_id = v_tenant AND purpose = 'invite' AND payload_sealed IS NOT NULL;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
DROP INDEX one_time_tokens_one_live;
CREATE UNIQUE INDEX one_time_tokens_one_live ON one_time_tokens (tenant_id, user_id, purpose)
    WHERE used_at IS NULL AND voided_at IS NULL;
ALTER TABLE one_time_tokens DROP CONSTRAINT one_time_tokens_payload_of_changes,
    DROP CONSTRAINT one_time_tokens_payload_envelope;
ALTER TABLE one_time_tokens
    ADD CONSTRAINT one_time_tokens_payload_envelope
        CHECK (length(payload_sealed) BETWEEN 90 AND 500 AND get_byte(payload_sealed, 0) = 1),
    ADD CONSTRAINT one_time_tokens_payload_of_changes CHECK ((purpose IN ('email_change', 'phone_change'))
        = (payload_sealed IS NOT NULL) AND (payload_sealed IS NULL) = (payload_index IS NULL));
REVOKE UPDATE (referred_by, self_registered) ON users FROM strongroom_app;
ALTER TABLE users DROP COLUMN self_registered;
