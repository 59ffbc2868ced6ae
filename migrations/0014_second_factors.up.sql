-- Second factors: what a person proves beside the password, every attempt at it, and
-- the states between the two steps of a sign-in.

-- Failures of second factors have a counter of their own, beside the password's: who
-- guesses codes knows the password already.
ALTER TABLE users
    ADD COLUMN mfa_failed_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN mfa_first_failed_at timestamptz,
    ADD COLUMN mfa_locked_until    timestamptz;

-- One row a method that somebody enrolled; it counts from `confirmed_at` on. What is
-- sealed (under the person's own key) is the shared secret of an authenticator app, or
-- the address that codes are sent to, as it was when it was confirmed. Passkeys keep
-- their keys in a table of their own; their row here says that there are any.
CREATE TABLE mfa_configs (
    tenant_id          uuid NOT NULL REFERENCES tenants (id),
    id                 uuid NOT NULL,
    user_id            uuid NOT NULL,
    method             text NOT NULL CONSTRAINT mfa_configs_method CHECK (method IN ('totp', 'sms', 'email', 'passkey')),
    name               text NOT NULL CONSTRAINT mfa_configs_name_length CHECK (length(name) BETWEEN 1 AND 64),
    secret_sealed      bytea,
    -- The last time step whose code was accepted: none is accepted twice.
    last_step          bigint,
    device_fingerprint bytea NOT NULL CONSTRAINT mfa_configs_device_length CHECK (length(device_fingerprint) = 32),
    confirmed_at       timestamptz,
    last_used_at       timestamptz,
    created_at         timestamptz NOT NULL DEFAULT app_now(),
    updated_at         timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT mfa_configs_one_a_method UNIQUE (tenant_id, user_id, method),
    CONSTRAINT mfa_configs_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT mfa_configs_secret_kept CHECK ((method = 'passkey') = (secret_sealed IS NULL)),
    CONSTRAINT mfa_configs_envelope CHECK (length(secret_sealed) BETWEEN 90 AND 500 AND get_byte(secret_sealed, 0) = 1),
    CONSTRAINT mfa_configs_step_of_totp CHECK (last_step IS NULL OR method = 'totp')
);
CALL secure_tenant_table('mfa_configs', 'SELECT, INSERT', false);
GRANT UPDATE (name, secret_sealed, last_step, device_fingerprint, confirmed_at, last_used_at) ON mfa_configs
    TO strongroom_app;
GRANT SELECT (tenant_id, id, user_id, method, confirmed_at, last_used_at, created_at, updated_at) ON mfa_configs
    TO strongroom_auditor;

-- Backup codes as a MAC under the tenant's key: ten letters are too few for a bare hash.
-- Used by one conditional UPDATE; a new set deletes the old one.
CREATE TABLE mfa_backup_codes (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    code_hash  bytea NOT NULL CONSTRAINT mfa_backup_codes_hash_length CHECK (length(code_hash) = 32),
    used_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT mfa_backup_codes_hash_key UNIQUE (tenant_id, user_id, code_hash),
    CONSTRAINT mfa_backup_codes_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CALL secure_tenant_table('mfa_backup_codes', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (used_at) ON mfa_backup_codes TO strongroom_app;

-- What stands between two steps. A sign-in's (`sign_in`, `enrolment`) is found by the
-- token its owner holds, of which only the hash is here; one for somebody signed in
-- (`step_up`, `confirm`) belongs to their session. It is good for one thing, once, and
-- for five minutes. A code that was sent stands here as a MAC.
CREATE TABLE mfa_challenges (
    tenant_id           uuid NOT NULL,
    id                  uuid NOT NULL,
    user_id             uuid NOT NULL,
    purpose             text NOT NULL CONSTRAINT mfa_challenges_purpose CHECK (purpose IN
        ('sign_in', 'enrolment', 'step_up', 'confirm')),
    token_hash          bytea CONSTRAINT mfa_challenges_hash_length CHECK (length(token_hash) = 32),
    session_id          uuid,
    session_for         text CONSTRAINT mfa_challenges_session_for CHECK (session_for IN ('client', 'console')),
    device_fingerprint  bytea NOT NULL CONSTRAINT mfa_challenges_device_length CHECK (length(device_fingerprint) = 32),
    -- Which password was right; another one since then, and the challenge is void.
    password_changed_at timestamptz,
    code_method         text CONSTRAINT mfa_challenges_code_method CHECK (code_method IN ('sms', 'email')),
    code_hash           bytea CONSTRAINT mfa_challenges_code_length CHECK (length(code_hash) = 32),
    code_expires_at     timestamptz,
    codes_sent          integer NOT NULL DEFAULT 0,
    attempts            integer NOT NULL DEFAULT 0,
    expires_at          timestamptz NOT NULL,
    consumed_at         timestamptz,
    created_at          timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT mfa_challenges_hash_key UNIQUE (tenant_id, token_hash),
    CONSTRAINT mfa_challenges_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT mfa_challenges_session_known FOREIGN KEY (tenant_id, session_id) REFERENCES user_sessions (tenant_id, id),
    CONSTRAINT mfa_challenges_owned CHECK (CASE WHEN purpose IN ('sign_in', 'enrolment')
        THEN token_hash IS NOT NULL AND session_for IS NOT NULL AND session_id IS NULL
        ELSE token_hash IS NULL AND session_for IS NULL AND session_id IS NOT NULL END),
    CONSTRAINT mfa_challenges_code_whole CHECK ((code_hash IS NULL) = (code_method IS NULL)
        AND (code_hash IS NULL) = (code_expires_at IS NULL))
);
-- What was sent to somebody of late, and what is past its end.
CREATE INDEX mfa_challenges_by_user ON mfa_challenges (tenant_id, user_id, created_at);
CREATE INDEX mfa_challenges_by_session ON mfa_challenges (tenant_id, session_id) WHERE session_id IS NOT NULL;
CALL secure_tenant_table('mfa_challenges', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (code_method, code_hash, code_expires_at, codes_sent, attempts, consumed_at) ON mfa_challenges
    TO strongroom_app;

-- Every attempt, good or bad, and never the code. `charged` is one whose end nobody
-- recorded: it counts as failed. Written by the functions below and by nothing else.
CREATE TABLE mfa_verification_attempts (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    challenge_id uuid,
    method       text NOT NULL CONSTRAINT mfa_attempts_method CHECK (method IN
        ('totp', 'sms', 'email', 'passkey', 'backup', 'any')),
    outcome      text NOT NULL CONSTRAINT mfa_attempts_outcome CHECK (outcome IN
        ('charged', 'success', 'wrong', 'locked', 'rate_limited')),
    ip_address   inet,
    user_agent   text CONSTRAINT mfa_attempts_agent_length CHECK (length(user_agent) <= 512),
    created_at   timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT mfa_attempts_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX mfa_attempts_by_user ON mfa_verification_attempts (tenant_id, user_id, created_at);
CREATE INDEX mfa_attempts_failed_by_address ON mfa_verification_attempts (tenant_id, ip_address, created_at)
    WHERE outcome IN ('charged', 'wrong') AND ip_address IS NOT NULL;
CALL secure_tenant_table('mfa_verification_attempts', 'SELECT', true);

-- Four eyes on taking all factors from somebody: asked for by one, done by another
-- within a day, and neither of them the person.
CREATE TABLE mfa_reset_requests (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    requested_by uuid NOT NULL,
    expires_at   timestamptz NOT NULL,
    confirmed_by uuid,
    confirmed_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT mfa_reset_requests_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT mfa_reset_requests_four_eyes CHECK (requested_by <> user_id AND confirmed_by <> requested_by
        AND confirmed_by <> user_id),
    CONSTRAINT mfa_reset_requests_whole CHECK ((confirmed_by IS NULL) = (confirmed_at IS NULL))
);
CREATE INDEX mfa_reset_requests_by_user ON mfa_reset_requests (tenant_id, user_id, created_at);
CALL secure_tenant_table('mfa_reset_requests', 'SELECT, INSERT', true);
GRANT UPDATE (confirmed_by, confirmed_at) ON mfa_reset_requests TO strongroom_app;

-- The functions of seed 002, under its names and argument types; the service itself
-- calls them. They run as the owner, in the tenant of the transaction or not at all.

-- What somebody may prove themselves with: confirmed factors, and backup codes where
-- any is left.
CREATE FUNCTION get_user_mfa_methods(p_user_id uuid)
RETURNS TABLE (method text, config_id uuid, name text, confirmed_at timestamptz, last_used_at timestamptz, remaining integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    RETURN QUERY
    SELECT config.method, config.id, config.name, config.confirmed_at, config.last_used_at, NULL::integer
    FROM mfa_configs config
    WHERE config.tenant_id = v_tenant AND config.user_id = p_user_id AND config.confirmed_at IS NOT NULL
    ORDER BY array_position(ARRAY['passkey', 'totp', 'sms', 'email'], config.method);
    IF FOUND THEN
        RETURN QUERY
        SELECT 'backup'::text, NULL::uuid, 'Backup codes'::text, min(code.created_at), max(code.used_at),
            count(*) FILTER (WHERE code.used_at IS NULL)::integer
        FROM mfa_backup_codes code
        WHERE code.tenant_id = v_tenant AND code.user_id = p_user_id
        HAVING count(*) FILTER (WHERE code.used_at IS NULL) > 0;
    END IF;
END $$;

-- Whether an attempt may be made now: not while locked, not more than `p_max_attempts`
-- of a person, nor that many failed ones from an address, in `p_window_minutes`. Locks
-- the person's row, so that of parallel attempts each sees the one before; whoever may
-- go on records its charge (`record_mfa_attempt`) in the same transaction.
CREATE FUNCTION check_mfa_rate_limit(p_user_id uuid, p_ip_address inet, p_max_attempts integer, p_window_minutes integer)
RETURNS TABLE (may_attempt boolean, locked_to timestamptz, retry_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_now timestamptz := app_now();
    v_since timestamptz := v_now - make_interval(mins => p_window_minutes);
    -- One source: an address, of IPv6 its /64.
    v_source inet := set_masklen(p_ip_address, CASE family(p_ip_address) WHEN 4 THEN 32 ELSE 64 END);
    v_first inet := host(network(v_source))::inet;
    v_last inet := host(broadcast(v_source))::inet;
    v_oldest timestamptz;
BEGIN
    SELECT CASE WHEN person.mfa_locked_until > v_now THEN person.mfa_locked_until END INTO locked_to
    FROM users person WHERE person.tenant_id = v_tenant AND person.id = p_user_id AND person.deleted_at IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT recent.created_at INTO v_oldest FROM mfa_verification_attempts recent
    WHERE recent.tenant_id = v_tenant AND recent.user_id = p_user_id AND recent.created_at > v_since
      AND recent.outcome NOT IN ('locked', 'rate_limited')
    ORDER BY recent.created_at DESC OFFSET greatest(p_max_attempts, 1) - 1 LIMIT 1;
    IF v_oldest IS NULL AND p_ip_address IS NOT NULL THEN
        SELECT recent.created_at INTO v_oldest FROM mfa_verification_attempts recent
        WHERE recent.tenant_id = v_tenant AND recent.ip_address BETWEEN v_first AND v_last
          AND recent.created_at > v_since AND recent.outcome IN ('charged', 'wrong')
        -- A whole office may stand behind one.
        ORDER BY recent.created_at DESC OFFSET greatest(p_max_attempts, 1) * 10 - 1 LIMIT 1;
    END IF;
    retry_at := v_oldest + make_interval(mins => p_window_minutes);
    may_attempt := locked_to IS NULL AND retry_at IS NULL;
    RETURN NEXT;
END $$;

-- Records an attempt. `charged` comes before the comparison and counts as a failure at
-- once (five within 15 minutes lock for 15), so that no number of parallel guesses
-- evaluates more; `success` takes all failures back, `wrong` leaves the charge as it
-- is. `locked` and `rate_limited` were never evaluated and cost nothing.
CREATE FUNCTION record_mfa_attempt(p_attempt_id uuid, p_user_id uuid, p_challenge_id uuid, p_method varchar,
    p_outcome varchar, p_ip_address inet, p_user_agent text)
RETURNS TABLE (failures integer, locks boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_now timestamptz := app_now();
    v_user users%ROWTYPE;
BEGIN
    SELECT * INTO v_user FROM users WHERE tenant_id = v_tenant AND id = p_user_id AND deleted_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A passkey is not guessed: it costs no failure, and a lock of codes does not keep it out.
    IF p_outcome = 'charged' AND p_method <> 'passkey' THEN
        IF v_user.mfa_first_failed_at IS NULL OR v_user.mfa_locked_until IS NOT NULL
                OR v_user.mfa_first_failed_at <= v_now - interval '15 minutes' THEN
            v_user.mfa_failed_attempts := 0;
            v_user.mfa_first_failed_at := v_now;
        END IF;
        v_user.mfa_failed_attempts := v_user.mfa_failed_attempts + 1;
        locks := v_user.mfa_failed_attempts >= 5;
        UPDATE users SET mfa_failed_attempts = v_user.mfa_failed_attempts, mfa_first_failed_at = v_user.mfa_first_failed_at,
            mfa_locked_until = CASE WHEN locks THEN v_now + interval '15 minutes' END
        WHERE tenant_id = v_tenant AND id = p_user_id;
    ELSE
        locks := false;
    END IF;
    INSERT INTO mfa_verification_attempts AS attempt
        (tenant_id, id, user_id, challenge_id, method, outcome, ip_address, user_agent)
    VALUES (v_tenant, p_attempt_id, p_user_id, p_challenge_id, p_method, p_outcome, p_ip_address, p_user_agent)
    ON CONFLICT (tenant_id, id) DO UPDATE SET outcome = EXCLUDED.outcome, method = EXCLUDED.method
    WHERE attempt.user_id = EXCLUDED.user_id AND attempt.outcome = 'charged'
      AND EXCLUDED.outcome IN ('success', 'wrong');
    IF p_outcome = 'success' THEN
        v_user.mfa_failed_attempts := 0;
        UPDATE users SET mfa_failed_attempts = 0, mfa_first_failed_at = NULL, mfa_locked_until = NULL
        WHERE tenant_id = v_tenant AND id = p_user_id;
    END IF;
    failures := v_user.mfa_failed_attempts;
    RETURN NEXT;
END $$;

-- Takes a method from somebody (NULL: every one) and says how many went. With the last
-- one go the backup codes, which are no factor by themselves.
CREATE FUNCTION disable_mfa_method(p_user_id uuid, p_method varchar) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_removed integer;
BEGIN
    PERFORM 1 FROM users WHERE tenant_id = v_tenant AND id = p_user_id FOR UPDATE;
    DELETE FROM mfa_configs
    WHERE tenant_id = v_tenant AND user_id = p_user_id AND (p_method IS NULL OR method = p_method::text);
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    IF NOT EXISTS (SELECT 1 FROM mfa_configs
            WHERE tenant_id = v_tenant AND user_id = p_user_id AND confirmed_at IS NOT NULL) THEN
        DELETE FROM mfa_backup_codes WHERE tenant_id = v_tenant AND user_id = p_user_id;
        UPDATE users SET mfa_enabled = false, mfa_failed_attempts = 0, mfa_first_failed_at = NULL,
            mfa_locked_until = NULL, version = version + 1
        WHERE tenant_id = v_tenant AND id = p_user_id AND (mfa_enabled OR mfa_failed_attempts > 0);
    END IF;
    RETURN v_removed;
END $$;

-- A right password where a second factor is still due: its charges go back, and it was
-- no sign-in yet.
CREATE FUNCTION take_back_login_charges(p_user_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE users SET failed_login_attempts = 0, first_failed_at = NULL, lock_count = 0, locked_until = NULL
    WHERE tenant_id = v_tenant AND id = p_user_id AND deleted_at IS NULL;
END $$;

REVOKE ALL ON FUNCTION get_user_mfa_methods(uuid), check_mfa_rate_limit(uuid, inet, integer, integer),
    record_mfa_attempt(uuid, uuid, uuid, varchar, varchar, inet, text), disable_mfa_method(uuid, varchar),
    take_back_login_charges(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION get_user_mfa_methods(uuid), check_mfa_rate_limit(uuid, inet, integer, integer),
    record_mfa_attempt(uuid, uuid, uuid, varchar, varchar, inet, text), disable_mfa_method(uuid, varchar),
    take_back_login_charges(uuid) TO strongroom_app;
