-- What the second administrator confirms is what the first one asked for: the factors that
-- the person had then, in `factors`, and SHA-256 over the request and all it is bound to, in
-- `payload_hash`. Requests of before have neither, so those that wait end here and are asked
-- for anew. Tenant by tenant: forced row security shows the owner nothing without one.
ALTER TABLE mfa_reset_requests
    ADD COLUMN factors uuid[],
    ADD COLUMN payload_hash bytea CONSTRAINT mfa_reset_requests_hash_length CHECK (length(payload_hash) = 32);
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE mfa_reset_requests SET expires_at = least(expires_at, app_now())
        WHERE tenant_id = v_tenant AND confirmed_at IS NULL AND rejected_at IS NULL;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
-- Holds for every row from now on; what ended before stays as it is.
ALTER TABLE mfa_reset_requests
    ADD CONSTRAINT mfa_reset_requests_bound CHECK (factors IS NOT NULL AND payload_hash IS NOT NULL) NOT VALID;
