ALTER TABLE mfa_configs DROP COLUMN period_s;
