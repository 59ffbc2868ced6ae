-- Payments proven by a second factor (Commission Delegated Regulation (EU) 2018/389, article 5),
-- people who sign up by themselves, and what a change of standing takes away.

-- What a proof is bound to: the accounts on both sides, the amount in minor units and its
-- currency. Whoever asks for a proof and whoever uses it up compute it here.
CREATE FUNCTION payment_hash(p_from uuid, p_to uuid, p_amount bigint, p_currency text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(uuid_send(p_from) || uuid_send(p_to) || int8send(p_amount) || convert_to(p_currency, 'UTF8'))
$$;

-- A challenge to prove a payment knows which. Another amount or payee finds another
-- challenge, or none.
ALTER TABLE mfa_challenges
    DROP CONSTRAINT mfa_challenges_purpose,
    ADD CONSTRAINT mfa_challenges_purpose CHECK (purpose IN ('sign_in', 'enrolment', 'step_up', 'confirm', 'payment')),
    ADD COLUMN payment_hash bytea CONSTRAINT mfa_challenges_payment_length CHECK (length(payment_hash) = 32),
    ADD CONSTRAINT mfa_challenges_payment_known CHECK ((purpose = 'payment') = (payment_hash IS NOT NULL));

-- What an authenticator signs for a payment belongs to the challenge of that payment.
ALTER TABLE webauthn_challenges
    DROP CONSTRAINT webauthn_challenges_purpose,
    DROP CONSTRAINT webauthn_challenges_owned,
    ADD CONSTRAINT webauthn_challenges_purpose CHECK (purpose IN
        ('registration', 'sign_in', 'second_factor', 'step_up', 'payment')),
    ADD CONSTRAINT webauthn_challenges_owned CHECK ((purpose = 'sign_in') = (user_id IS NULL)
        AND (purpose IN ('registration', 'step_up', 'payment')) = (session_id IS NOT NULL)
        AND (purpose IN ('second_factor', 'payment')) = (mfa_challenge_id IS NOT NULL));

-- A payment that was proven: it belongs to the person and the session that proved it, lives
-- five minutes, and is used up by the one transfer of its amount between its accounts, in
-- that transfer's own transaction.
CREATE TABLE payment_authorisations (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    session_id   uuid NOT NULL,
    payment_hash bytea NOT NULL CONSTRAINT payment_authorisations_hash_length CHECK (length(payment_hash) = 32),
    method       text NOT NULL CONSTRAINT payment_authorisations_method CHECK (method IN
        ('totp', 'sms', 'email', 'passkey', 'backup')),
    expires_at   timestamptz NOT NULL,
    consumed_at  timestamptz,
    -- The transfer, or the order that waits for a second person, under the id it will have.
    transfer_id  uuid,
    created_at   timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT payment_authorisations_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT payment_authorisations_session_known FOREIGN KEY (tenant_id, session_id)
        REFERENCES user_sessions (tenant_id, id),
    CONSTRAINT payment_authorisations_used_for CHECK ((consumed_at IS NULL) = (transfer_id IS NULL))
);
CREATE INDEX payment_authorisations_open ON payment_authorisations (tenant_id, session_id, payment_hash)
    WHERE consumed_at IS NULL;
CREATE INDEX payment_authorisations_by_user ON payment_authorisations (tenant_id, user_id, created_at);
CALL secure_tenant_table('payment_authorisations', 'SELECT, INSERT, DELETE', true);
GRANT UPDATE (consumed_at, transfer_id) ON payment_authorisations TO strongroom_app;

-- Whether one of the two has given the other their role, directly or through people they
-- gave roles to: who makes a login knows its first password, and two logins in one hand are
-- not two persons. Whoever made or rotated an API key knows its secret the same way. What
-- the system gave ends a chain. Runs with the rights of whoever asks.
CREATE FUNCTION depend_on_each_other(p_tenant uuid, p_one uuid, p_other uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE given (person, granter) AS (
        SELECT held.user_id, held.granted_by FROM user_roles held
        WHERE held.tenant_id = p_tenant AND held.user_id IN (p_one, p_other) AND held.granted_by IS NOT NULL
        UNION
        SELECT key.id, shown.person FROM api_keys key
        CROSS JOIN LATERAL (VALUES (key.created_by), (key.rotated_by)) AS shown (person)
        WHERE key.tenant_id = p_tenant AND key.id IN (p_one, p_other) AND shown.person IS NOT NULL
        UNION
        SELECT given.person, held.granted_by FROM given
        JOIN user_roles held ON held.tenant_id = p_tenant AND held.user_id = given.granter
        WHERE held.granted_by IS NOT NULL
    )
    SELECT EXISTS (SELECT 1 FROM given
        WHERE (person = p_one AND granter = p_other) OR (person = p_other AND granter = p_one))
$$;

-- Whether whoever answers for an API key may still act: who was last shown its secret, or,
-- of the secret before that (`p_previous`), who made the key as well. Nobody may see people
-- whom policy hides from them to ask this, so it runs as the owner.
CREATE FUNCTION api_key_is_answered_for(p_key_id uuid, p_previous boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    RETURN NOT EXISTS (
        SELECT 1 FROM api_keys key
        JOIN users person ON person.tenant_id = v_tenant
            AND (person.id = CASE WHEN key.rotated_at IS NULL THEN key.created_by ELSE key.rotated_by END
                OR (p_previous AND person.id = key.created_by))
        WHERE key.tenant_id = v_tenant AND key.id = p_key_id
          AND (NOT person.is_active OR person.deleted_at IS NOT NULL OR person.staff_locked_at IS NOT NULL));
END $$;

-- As 0017 made it; with somebody go the machines that they answer for.
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
    -- A key is answered for by whoever was shown its secret last.
    UPDATE api_keys SET revoked_at = app_now(), version = version + 1
    WHERE tenant_id = v_tenant AND revoked_at IS NULL
      AND p_user_id = CASE WHEN rotated_at IS NULL THEN created_by ELSE rotated_by END;
    -- Links, challenges and factors, those before what they belong to.
    -- What a payment was made by stays: it names nobody, and a dispute may ask for it.
    DELETE FROM payment_authorisations WHERE tenant_id = v_tenant AND user_id = p_user_id AND consumed_at IS NULL;
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

REVOKE ALL ON FUNCTION payment_hash(uuid, uuid, bigint, text), depend_on_each_other(uuid, uuid, uuid),
    api_key_is_answered_for(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payment_hash(uuid, uuid, bigint, text), depend_on_each_other(uuid, uuid, uuid),
    api_key_is_answered_for(uuid, boolean) TO strongroom_app;
