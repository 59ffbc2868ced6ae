DROP TABLE events;
DROP TABLE event_outbox;
CREATE OR REPLACE FUNCTION unlock_account(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE users SET staff_locked_at = NULL, staff_lock_reason = NULL, failed_login_attempts = 0,
        first_failed_at = NULL, lock_count = 0, locked_until = NULL, mfa_failed_attempts = 0,
        mfa_first_failed_at = NULL, mfa_locked_until = NULL, version = version + 1
    WHERE tenant_id = v_tenant AND id = p_user_id AND deleted_at IS NULL;
    RETURN FOUND;
END $$;
