-- Sessions that began in the console cannot go on without it.
-- Tenant by tenant: forced row security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = 'console_removed'
        WHERE tenant_id = v_tenant AND console_token_hash IS NOT NULL AND revoked_at IS NULL;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
DROP INDEX user_sessions_console_token_key;
ALTER TABLE user_sessions DROP COLUMN console_token_hash;
