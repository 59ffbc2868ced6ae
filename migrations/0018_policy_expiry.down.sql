-- Changes that were noted as expired wait again, and read as expired by the clock as before.
DROP INDEX mfa_challenges_by_expiry;
DROP INDEX policy_changes_due;
ALTER TABLE policy_changes DISABLE TRIGGER decided_once;
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE policy_changes SET status = 'pending', decided_at = NULL WHERE tenant_id = v_tenant AND status = 'expired';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE policy_changes ENABLE TRIGGER decided_once;
ALTER TABLE policy_changes
    DROP CONSTRAINT policy_changes_status,
    DROP CONSTRAINT policy_changes_decided,
    ADD CONSTRAINT policy_changes_status CHECK (status IN ('pending', 'approved', 'rejected')),
    ADD CONSTRAINT policy_changes_decided CHECK (CASE status WHEN 'pending'
        THEN decided_by IS NULL AND decided_at IS NULL AND decision_note IS NULL
        ELSE decided_by IS NOT NULL AND decided_at IS NOT NULL END);
