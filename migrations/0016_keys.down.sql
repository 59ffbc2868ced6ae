-- Machines have to sign in as people again.
DROP TABLE api_keys;
DROP FUNCTION refuse_api_key_revival();
DROP TRIGGER remember_longest_lifetime ON security_policies;
DROP FUNCTION remember_longest_lifetime();
DROP TRIGGER only_wiped ON signing_keys;
DROP FUNCTION refuse_signing_key_change();
DROP INDEX signing_keys_one_pre_published;
-- A retired key without its secret is more than the older schema can say.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        DELETE FROM signing_keys WHERE tenant_id = v_tenant AND status = 'retired' AND NOT derived;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
REVOKE UPDATE (wrapped_key) ON signing_keys FROM strongroom_app;
ALTER TABLE signing_keys
    DROP CONSTRAINT signing_keys_derived_hs256,
    DROP CONSTRAINT signing_keys_wiped,
    DROP COLUMN longest_lifetime_s,
    DROP COLUMN verify_until,
    DROP COLUMN revoked_at;
ALTER TABLE signing_keys ADD CONSTRAINT signing_keys_derived_hs256
    CHECK (derived = (wrapped_key IS NULL) AND (NOT derived OR algorithm = 'HS256'));
