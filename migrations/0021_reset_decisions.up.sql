-- A second administrator may also decide against taking somebody's factors: a decision is
-- one of the two, and final.
ALTER TABLE mfa_reset_requests
    ADD COLUMN rejected_by uuid,
    ADD COLUMN rejected_at timestamptz,
    ADD CONSTRAINT mfa_reset_requests_rejected_whole CHECK ((rejected_by IS NULL) = (rejected_at IS NULL)),
    ADD CONSTRAINT mfa_reset_requests_rejected_by_another CHECK (rejected_by <> requested_by AND rejected_by <> user_id),
    ADD CONSTRAINT mfa_reset_requests_decided_once CHECK (confirmed_at IS NULL OR rejected_at IS NULL);
-- What waits, for the list of it.
CREATE INDEX mfa_reset_requests_waiting ON mfa_reset_requests (tenant_id, id)
    WHERE confirmed_at IS NULL AND rejected_at IS NULL;
GRANT UPDATE (rejected_by, rejected_at) ON mfa_reset_requests TO strongroom_app;

-- People are looked for by how their user name begins, in the order of bytes.
CREATE INDEX users_by_name ON users (tenant_id, username_key text_pattern_ops);
