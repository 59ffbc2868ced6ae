-- How long an authenticator app shows a code, as it was told when it was set up. The tenant's
-- policy says it for new ones alone: with it changed, codes of apps enrolled before would be
-- wrong, and the time steps that were accepted could not be compared.
ALTER TABLE mfa_configs ADD COLUMN period_s smallint
    CONSTRAINT mfa_configs_period_bounds CHECK (period_s BETWEEN 15 AND 120);
UPDATE mfa_configs config SET period_s = (known.policy -> 'mfa' ->> 'totp_interval_s')::smallint
FROM security_policies known
WHERE known.tenant_id = config.tenant_id AND config.method = 'totp';
ALTER TABLE mfa_configs
    ADD CONSTRAINT mfa_configs_period_of_totp CHECK ((method = 'totp') = (period_s IS NOT NULL));
GRANT UPDATE (period_s) ON mfa_configs TO strongroom_app;
