DROP INDEX users_by_name;
DROP INDEX mfa_reset_requests_waiting;
ALTER TABLE mfa_reset_requests
    DROP COLUMN rejected_at,
    DROP COLUMN rejected_by;
