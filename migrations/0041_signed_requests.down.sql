-- What was bound to a certificate would be good without one: it is revoked instead.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE api_keys SET revoked_at = app_now(), version = version + 1
        WHERE tenant_id = v_tenant AND certificate_thumbprint IS NOT NULL AND revoked_at IS NULL;
        -- A policy of before does not know the field, and refuses what it does not know.
        UPDATE security_policies SET policy = policy - 'require_signature'
        WHERE tenant_id = v_tenant AND policy ? 'require_signature';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE api_keys DROP COLUMN certificate_thumbprint;
DROP TABLE signature_nonces;
DROP TABLE client_keys;
DROP FUNCTION refuse_client_key_revival();
