-- Changes of the security policy that nobody decided in time are written down as such, and
-- challenges that nobody answered are found by their age.

-- `expired` is final like the others; nobody decided, and `decided_at` is when it was noted.
ALTER TABLE policy_changes
    DROP CONSTRAINT policy_changes_status,
    DROP CONSTRAINT policy_changes_decided,
    ADD CONSTRAINT policy_changes_status CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
    ADD CONSTRAINT policy_changes_decided CHECK (CASE status
        WHEN 'pending' THEN decided_by IS NULL AND decided_at IS NULL AND decision_note IS NULL
        WHEN 'expired' THEN decided_by IS NULL AND decided_at IS NOT NULL AND decision_note IS NULL
        ELSE decided_by IS NOT NULL AND decided_at IS NOT NULL END);
-- Few wait; the worker asks every minute.
CREATE INDEX policy_changes_due ON policy_changes (tenant_id, expires_at) WHERE status = 'pending';
CREATE INDEX mfa_challenges_by_expiry ON mfa_challenges (tenant_id, expires_at);
