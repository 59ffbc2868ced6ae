ALTER TABLE mfa_reset_requests
    DROP CONSTRAINT mfa_reset_requests_bound,
    DROP COLUMN payload_hash,
    DROP COLUMN factors;
