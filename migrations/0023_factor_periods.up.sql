-- How long an authenticator app shows a code, as it was told when it was set up. The tenant's
-- policy says it for new ones alone: with it changed, codes of apps enrolled before would be
-- wrong, and the time steps that were accepted could not be compared.
ALTER TABLE mfa_configs ADD COLUMN period_s smallint
    CONSTRAINT mfa_configs_period_bounds CHECK (period_s BETWEEN 15 AND 120);
-- A block of addresses never doubled, whatever the policy said: from now on it has to say so.
-- Tenant by tenant: forced row security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE mfa_configs SET period_s = coalesce(
            (SELECT (policy #>> '{mfa,totp_interval_s}')::smallint FROM security_policies WHERE tenant_id = v_tenant), 30)
        WHERE tenant_id = v_tenant AND method = 'totp';
        UPDATE security_policies SET policy = jsonb_set(policy, '{address_block,doubling_to_s}', 'null')
        WHERE tenant_id = v_tenant AND policy #> '{address_block,doubling_to_s}' <> 'null';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE mfa_configs
    ADD CONSTRAINT mfa_configs_period_of_totp CHECK ((method = 'totp') = (period_s IS NOT NULL));
GRANT UPDATE (period_s) ON mfa_configs TO strongroom_app;
