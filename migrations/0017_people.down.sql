-- Takes the administration of people away again. Whom staff had locked is unlocked by it,
-- and who was deleted stays deleted and shredded.
DROP FUNCTION forget_expired_tokens();
DROP FUNCTION detect_suspicious_session(uuid, inet, text, varchar);
DROP FUNCTION renew_subject_key(uuid, uuid, integer, bytea);
DROP FUNCTION shred_user(uuid);
DROP FUNCTION unlock_account(uuid);

CREATE OR REPLACE FUNCTION cleanup_expired_sessions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_ended integer;
BEGIN
    UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = 'expired'
    WHERE tenant_id = v_tenant AND revoked_at IS NULL AND absolute_expires_at <= app_now();
    GET DIAGNOSTICS v_ended = ROW_COUNT;
    DELETE FROM refresh_tokens WHERE tenant_id = v_tenant AND expires_at <= app_now();
    DELETE FROM revoked_tokens WHERE tenant_id = v_tenant AND expires_at <= app_now();
    IF v_ended > 0 THEN
        PERFORM audit_append('session_revocation', 'high', 'session.cleanup', 'session', NULL, 'success', NULL, NULL,
            jsonb_build_object('ended', v_ended, 'reason', 'expired'));
    END IF;
    RETURN v_ended;
END $$;

CREATE OR REPLACE FUNCTION handle_failed_login(p_username citext)
RETURNS TABLE (account_id uuid, may_evaluate boolean, locks boolean, failures integer, locked_to timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_now timestamptz := app_now();
    v_policy jsonb;
    v_window_s bigint;
    v_duration_s bigint;
    v_user users%ROWTYPE;
BEGIN
    SELECT policy -> 'account_lock' INTO v_policy FROM security_policies WHERE tenant_id = v_tenant;
    IF v_policy IS NULL THEN
        RAISE EXCEPTION 'the tenant has no security policy';
    END IF;
    SELECT * INTO v_user FROM users
    WHERE tenant_id = v_tenant AND username_key = lower(p_username::text) AND deleted_at IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    account_id := v_user.id;
    IF v_user.locked_until > v_now THEN
        may_evaluate := false;
        locks := false;
        failures := v_user.failed_login_attempts;
        locked_to := v_user.locked_until;
        RETURN NEXT;
        RETURN;
    END IF;
    v_window_s := (v_policy ->> 'window_s')::bigint;
    IF v_user.first_failed_at IS NULL OR (v_window_s IS NOT NULL AND (v_user.locked_until IS NOT NULL
            OR v_user.first_failed_at <= v_now - make_interval(secs => v_window_s))) THEN
        v_user.failed_login_attempts := 0;
        v_user.first_failed_at := v_now;
    END IF;
    v_user.failed_login_attempts := v_user.failed_login_attempts + 1;
    v_user.locked_until := NULL;
    may_evaluate := true;
    locks := v_user.failed_login_attempts >= (v_policy ->> 'threshold')::integer;
    IF locks THEN
        v_duration_s := (v_policy ->> 'duration_s')::bigint;
        IF v_policy ->> 'doubling_to_s' IS NOT NULL THEN
            v_duration_s := least(v_duration_s * (2::bigint ^ least(v_user.lock_count, 30))::bigint,
                (v_policy ->> 'doubling_to_s')::bigint);
        END IF;
        v_user.lock_count := v_user.lock_count + 1;
        v_user.locked_until := v_now + make_interval(secs => v_duration_s);
    END IF;
    UPDATE users SET failed_login_attempts = v_user.failed_login_attempts, first_failed_at = v_user.first_failed_at,
        lock_count = v_user.lock_count, locked_until = v_user.locked_until
    WHERE tenant_id = v_tenant AND id = v_user.id;
    failures := v_user.failed_login_attempts;
    locked_to := v_user.locked_until;
    RETURN NEXT;
END $$;

CREATE OR REPLACE FUNCTION is_account_locked(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    RETURN EXISTS (SELECT 1 FROM users
        WHERE tenant_id = v_tenant AND id = p_user_id AND locked_until > app_now());
END $$;

DROP TABLE policy_changes;
DROP TABLE shredded_subject_keys;
DROP INDEX user_sessions_live_by_activity;
DROP INDEX user_sessions_by_device;
DROP INDEX user_sessions_by_user_and_time;
ALTER TABLE user_sessions
    DROP CONSTRAINT user_sessions_place,
    DROP CONSTRAINT user_sessions_device_known,
    DROP COLUMN device_id,
    DROP COLUMN latitude,
    DROP COLUMN longitude,
    DROP COLUMN suspicion_score,
    DROP COLUMN suspicion_reasons,
    DROP COLUMN suspicious_at;
DROP TABLE user_devices;
DROP INDEX user_roles_by_role;
DROP INDEX users_deleted;
ALTER TABLE users
    DROP CONSTRAINT users_deleted_are_shredded,
    DROP CONSTRAINT users_lock_has_reason,
    DROP CONSTRAINT users_lock_reason,
    DROP COLUMN staff_locked_at,
    DROP COLUMN staff_lock_reason;
