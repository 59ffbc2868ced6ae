-- Takes second factors away again. Whoever had one signs in with the password alone.
DROP FUNCTION take_back_login_charges(uuid);
DROP FUNCTION disable_mfa_method(uuid, varchar);
DROP FUNCTION record_mfa_attempt(uuid, uuid, uuid, varchar, varchar, inet, text);
DROP FUNCTION check_mfa_rate_limit(uuid, inet, integer, integer);
DROP FUNCTION get_user_mfa_methods(uuid);
DROP TABLE mfa_reset_requests;
DROP TABLE mfa_verification_attempts;
DROP TABLE mfa_challenges;
DROP TABLE mfa_backup_codes;
DROP TABLE mfa_configs;
ALTER TABLE users
    DROP COLUMN mfa_failed_attempts,
    DROP COLUMN mfa_first_failed_at,
    DROP COLUMN mfa_locked_until;
