DROP INDEX users_by_name;
DROP INDEX mfa_reset_requests_waiting;
-- What was turned down waits for nobody again. Tenant by tenant: forced row security shows
-- the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE mfa_reset_requests SET expires_at = least(expires_at, app_now())
        WHERE tenant_id = v_tenant AND rejected_at IS NOT NULL;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE mfa_reset_requests
    DROP COLUMN rejected_at,
    DROP COLUMN rejected_by;
