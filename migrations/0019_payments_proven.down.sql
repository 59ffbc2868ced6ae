-- Takes the proof of payments away again: a tenant's limit is ignored, and whoever was
-- about to prove a payment has nothing to prove any more.
CREATE OR REPLACE FUNCTION shred_user(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE users SET deleted_at = app_now(), email_sealed = NULL, email_index = NULL, phone_sealed = NULL,
        phone_index = NULL, full_name_sealed = NULL, password_hash = NULL, password_changed_at = NULL,
        email_verified_at = NULL, phone_verified_at = NULL, department = NULL, mfa_enabled = false,
        mfa_failed_attempts = 0, mfa_first_failed_at = NULL, mfa_locked_until = NULL,
        failed_login_attempts = 0, first_failed_at = NULL, lock_count = 0, locked_until = NULL,
        staff_locked_at = NULL, staff_lock_reason = NULL, last_login_at = NULL,
        last_login_ip = NULL, version = version + 1
    WHERE tenant_id = v_tenant AND id = p_user_id AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM revoke_user_sessions(p_user_id, 'deleted', NULL);
    UPDATE user_sessions SET ip_address = NULL, user_agent = NULL, last_activity_ip = NULL, device_id = NULL,
        device_fingerprint = decode(repeat('00', 32), 'hex'), latitude = NULL, longitude = NULL
    WHERE tenant_id = v_tenant AND user_id = p_user_id;
    UPDATE refresh_tokens SET device_fingerprint = decode(repeat('00', 32), 'hex')
    WHERE tenant_id = v_tenant AND user_id = p_user_id;
    -- The index of what was typed is the index of their e-mail address.
    UPDATE login_attempts SET identifier_index = decode(repeat('00', 33), 'hex'), ip_address = NULL, user_agent = NULL
    WHERE tenant_id = v_tenant AND user_id = p_user_id;
    UPDATE mfa_verification_attempts SET ip_address = NULL, user_agent = NULL
    WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM password_history WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM user_devices WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM notices WHERE tenant_id = v_tenant AND user_id = p_user_id;
    -- Links, challenges and factors, those before what they belong to.
    DELETE FROM one_time_tokens WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM mfa_challenges WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM mfa_backup_codes WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM webauthn_challenges WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM webauthn_credentials WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM webauthn_users WHERE tenant_id = v_tenant AND user_id = p_user_id;
    DELETE FROM mfa_configs WHERE tenant_id = v_tenant AND user_id = p_user_id;
    UPDATE subject_keys SET wrapped_key = NULL, shredded_at = app_now()
    WHERE tenant_id = v_tenant AND subject_id = p_user_id AND wrapped_key IS NOT NULL;
    RETURN true;
END $$;

DROP FUNCTION api_key_is_answered_for(uuid, boolean);
DROP FUNCTION depend_on_each_other(uuid, uuid, uuid);
DROP TABLE payment_authorisations;
-- Tenant by tenant: forced row security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        DELETE FROM webauthn_challenges WHERE tenant_id = v_tenant AND purpose = 'payment';
        DELETE FROM mfa_challenges WHERE tenant_id = v_tenant AND purpose = 'payment';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE webauthn_challenges
    DROP CONSTRAINT webauthn_challenges_purpose,
    DROP CONSTRAINT webauthn_challenges_owned,
    ADD CONSTRAINT webauthn_challenges_purpose CHECK (purpose IN
        ('registration', 'sign_in', 'second_factor', 'step_up')),
    ADD CONSTRAINT webauthn_challenges_owned CHECK ((purpose = 'sign_in') = (user_id IS NULL)
        AND (purpose IN ('registration', 'step_up')) = (session_id IS NOT NULL)
        AND (purpose = 'second_factor') = (mfa_challenge_id IS NOT NULL));
ALTER TABLE mfa_challenges
    DROP CONSTRAINT mfa_challenges_payment_known,
    DROP COLUMN payment_hash,
    DROP CONSTRAINT mfa_challenges_purpose,
    ADD CONSTRAINT mfa_challenges_purpose CHECK (purpose IN ('sign_in', 'enrolment', 'step_up', 'confirm'));
DROP FUNCTION payment_hash(uuid, uuid, bigint, text);
