-- Takes passkeys away again. Whoever had no other factor signs in with the password alone.
REVOKE UPDATE (last_login_at, last_login_ip) ON users FROM strongroom_app;
DROP TABLE webauthn_challenges;
DROP TABLE webauthn_credentials;
DROP FUNCTION refuse_counter_regression();
DROP TABLE webauthn_users;
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        PERFORM disable_mfa_method(user_id, 'passkey') FROM mfa_configs
        WHERE tenant_id = v_tenant AND method = 'passkey';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
