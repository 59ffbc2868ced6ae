-- What was counted is lost: versions begin at one again.
DROP TRIGGER count_change ON webauthn_credentials;
DROP TRIGGER count_change ON mfa_configs;
DROP FUNCTION count_factor_change();
ALTER TABLE webauthn_credentials DROP COLUMN version;
ALTER TABLE mfa_configs DROP COLUMN version;
