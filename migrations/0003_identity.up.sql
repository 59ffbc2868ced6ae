-- People and how they prove who they are: users, roles, passwords, sessions,
-- refresh families, revoked tokens, sign-in attempts and the keys that sign tokens.
-- Personal fields are sealed by the application; what is compared is a blind index.

-- The roles of a tenant, as its blueprint gave them; rank 0 is the mightiest.
CREATE TABLE roles (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    name       text NOT NULL CHECK (name ~ '^[a-z][a-z_]{1,49}$'),
    rank       smallint NOT NULL CHECK (rank >= 0),
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, name)
);
CALL secure_tenant_table('roles', 'SELECT, INSERT', true);

-- `username_key` is what is looked up: the name in lower case, so that the index
-- serves under row security (lower() and citext are not leakproof). A sealed field
-- is at least 89 bytes of envelope; an index is its key's version and 32 bytes.
CREATE TABLE users (
    tenant_id             uuid NOT NULL REFERENCES tenants (id),
    id                    uuid NOT NULL,
    username              text NOT NULL,
    username_key          text NOT NULL,
    email_sealed          bytea,
    email_index           bytea,
    phone_sealed          bytea,
    phone_index           bytea,
    full_name_sealed      bytea,
    password_hash         text,
    password_changed_at   timestamptz,
    role                  text NOT NULL,
    is_active             boolean NOT NULL DEFAULT true,
    mfa_enabled           boolean NOT NULL DEFAULT false,
    department            text,
    organization_id       uuid,
    referral_code         text NOT NULL,
    referred_by           uuid,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    first_failed_at       timestamptz,
    lock_count            integer NOT NULL DEFAULT 0,
    locked_until          timestamptz,
    last_login_at         timestamptz,
    last_login_ip         inet,
    deleted_at            timestamptz,
    version               bigint NOT NULL DEFAULT 1,
    created_at            timestamptz NOT NULL DEFAULT app_now(),
    updated_at            timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_username_key UNIQUE (tenant_id, username_key),
    CONSTRAINT users_email_key UNIQUE (tenant_id, email_index),
    CONSTRAINT users_referral_code_key UNIQUE (tenant_id, referral_code),
    CONSTRAINT users_role_known FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name),
    CONSTRAINT users_referred_by_known FOREIGN KEY (tenant_id, referred_by) REFERENCES users (tenant_id, id),
    CONSTRAINT users_no_self_referral CHECK (referred_by <> id),
    CONSTRAINT users_username_key_form CHECK (username_key ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    CONSTRAINT users_username_matches_key CHECK (lower(username) = username_key),
    CONSTRAINT users_email_envelope CHECK (length(email_sealed) BETWEEN 90 AND 500 AND get_byte(email_sealed, 0) = 1),
    CONSTRAINT users_phone_envelope CHECK (length(phone_sealed) BETWEEN 90 AND 500 AND get_byte(phone_sealed, 0) = 1),
    CONSTRAINT users_name_envelope CHECK (length(full_name_sealed) BETWEEN 90 AND 1000 AND get_byte(full_name_sealed, 0) = 1),
    CONSTRAINT users_email_index_length CHECK (length(email_index) = 33),
    CONSTRAINT users_phone_index_length CHECK (length(phone_index) = 33),
    CONSTRAINT users_email_indexed CHECK ((email_sealed IS NULL) = (email_index IS NULL)),
    CONSTRAINT users_phone_indexed CHECK ((phone_sealed IS NULL) = (phone_index IS NULL)),
    CONSTRAINT users_referral_code_form CHECK (referral_code ~ '^[0-9A-HJKMNP-TV-Z]{10}$')
);
CREATE INDEX users_by_phone ON users (tenant_id, phone_index) WHERE phone_index IS NOT NULL;
-- Counters of failed sign-ins are changed by the functions below and by nothing else.
CALL secure_tenant_table('users', 'SELECT, INSERT', false);
GRANT UPDATE (username, username_key, email_sealed, email_index, phone_sealed, phone_index, full_name_sealed,
    password_hash, password_changed_at, role, is_active, mfa_enabled, department, organization_id, deleted_at,
    version) ON users TO strongroom_app;
GRANT SELECT (tenant_id, id, username, role, is_active, mfa_enabled, department, organization_id, locked_until,
    last_login_at, deleted_at, version, created_at, updated_at) ON users TO strongroom_auditor;
-- Beyond the tenant: a person sees their own row, '*' (staff and the system itself)
-- sees all, unset sees none. The functions below run as the owner and are exempt.
CREATE POLICY own_row ON users AS RESTRICTIVE FOR SELECT TO strongroom_app
    USING (current_setting('app.current_user_id', true) = '*'
        OR id = nullif(nullif(current_setting('app.current_user_id', true), ''), '*')::uuid);

-- Every role a person holds, the primary one (`users.role`) included.
CREATE TABLE user_roles (
    tenant_id  uuid NOT NULL,
    user_id    uuid NOT NULL,
    role       text NOT NULL,
    granted_by uuid,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, user_id, role),
    CONSTRAINT user_roles_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT user_roles_role_known FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name)
);
CALL secure_tenant_table('user_roles', 'SELECT, INSERT, DELETE', true);

-- Earlier passwords, so that they are not used again.
CREATE TABLE password_history (
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    id            uuid NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, user_id, id),
    CONSTRAINT password_history_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CALL secure_tenant_table('password_history', 'SELECT, INSERT, DELETE', false);

-- One row a session; the id is `sid` in access tokens and the family of its refresh tokens.
CREATE TABLE user_sessions (
    tenant_id           uuid NOT NULL,
    id                  uuid NOT NULL,
    user_id             uuid NOT NULL,
    device_fingerprint  bytea NOT NULL CHECK (length(device_fingerprint) = 32),
    ip_address          inet,
    user_agent          text CHECK (length(user_agent) <= 512),
    mfa_level           smallint NOT NULL DEFAULT 0,
    mfa_at              timestamptz,
    last_activity_at    timestamptz NOT NULL DEFAULT app_now(),
    last_activity_ip    inet,
    absolute_expires_at timestamptz NOT NULL,
    revoked_at          timestamptz,
    revocation_reason   varchar(50),
    created_at          timestamptz NOT NULL DEFAULT app_now(),
    updated_at          timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT user_sessions_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT user_sessions_reason_given CHECK ((revoked_at IS NULL) = (revocation_reason IS NULL))
);
CREATE INDEX user_sessions_live_by_user ON user_sessions (tenant_id, user_id, id) WHERE revoked_at IS NULL;
CREATE INDEX user_sessions_live_by_expiry ON user_sessions (tenant_id, absolute_expires_at) WHERE revoked_at IS NULL;
CALL secure_tenant_table('user_sessions', 'SELECT, INSERT', true);
GRANT UPDATE (revoked_at, revocation_reason, mfa_level, mfa_at) ON user_sessions TO strongroom_app;

-- Refresh tokens as SHA-256 only. Used once: `used_at` is set by one conditional
-- UPDATE, which is what consumes them.
CREATE TABLE refresh_tokens (
    tenant_id          uuid NOT NULL,
    id                 uuid NOT NULL,
    user_id            uuid NOT NULL,
    session_id         uuid NOT NULL,
    token_hash         bytea NOT NULL CHECK (length(token_hash) = 32),
    device_fingerprint bytea NOT NULL CHECK (length(device_fingerprint) = 32),
    expires_at         timestamptz NOT NULL,
    used_at            timestamptz,
    revoked_at         timestamptz,
    created_at         timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT refresh_tokens_hash_key UNIQUE (tenant_id, token_hash),
    CONSTRAINT refresh_tokens_session_known FOREIGN KEY (tenant_id, session_id) REFERENCES user_sessions (tenant_id, id),
    CONSTRAINT refresh_tokens_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (tenant_id, session_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (tenant_id, expires_at);
CALL secure_tenant_table('refresh_tokens', 'SELECT, INSERT', false);
GRANT UPDATE (used_at, revoked_at) ON refresh_tokens TO strongroom_app;

-- Access tokens ended before their time, by `jti`; forgotten once expired.
CREATE TABLE revoked_tokens (
    tenant_id  uuid NOT NULL,
    jti        uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id    uuid NOT NULL,
    reason     varchar(50) NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, jti),
    CONSTRAINT revoked_tokens_session_known FOREIGN KEY (tenant_id, session_id) REFERENCES user_sessions (tenant_id, id)
);
CREATE INDEX revoked_tokens_by_session ON revoked_tokens (tenant_id, session_id);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (tenant_id, expires_at);
CALL secure_tenant_table('revoked_tokens', 'SELECT, INSERT', true);

-- Every sign-in, good or bad. What was typed stands here as a blind index only.
CREATE TABLE login_attempts (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    user_id          uuid,
    identifier_index bytea NOT NULL CHECK (length(identifier_index) = 33),
    ip_address       inet,
    user_agent       text CHECK (length(user_agent) <= 512),
    outcome          text NOT NULL CHECK (outcome IN ('success', 'wrong', 'locked', 'disabled', 'unknown', 'blocked')),
    created_at       timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX login_attempts_failed_by_address ON login_attempts (tenant_id, ip_address, created_at)
    WHERE outcome NOT IN ('success', 'blocked') AND ip_address IS NOT NULL;
CREATE INDEX login_attempts_by_user ON login_attempts (tenant_id, user_id, created_at) WHERE user_id IS NOT NULL;
CALL secure_tenant_table('login_attempts', 'SELECT, INSERT', true);

-- The keys that sign a tenant's access tokens; `key_id` is the `kid`. A derived
-- key (HS256 from JWT_SECRET_KEY by HKDF) stores nothing; the others are wrapped
-- by the tenant's KEK.
CREATE TABLE signing_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants (id),
    key_id       uuid NOT NULL,
    algorithm    text NOT NULL CHECK (algorithm IN ('HS256', 'RS256', 'ES256', 'EdDSA')),
    epoch        integer NOT NULL CHECK (epoch > 0),
    derived      boolean NOT NULL,
    wrapped_key  bytea,
    status       text NOT NULL CHECK (status IN ('pre_published', 'active', 'verify_only', 'retired')),
    activated_at timestamptz,
    retired_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT app_now(),
    updated_at   timestamptz NOT NULL DEFAULT app_now(),
    version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, key_id),
    CONSTRAINT signing_keys_epoch_key UNIQUE (tenant_id, epoch),
    CONSTRAINT signing_keys_derived_hs256 CHECK (derived = (wrapped_key IS NULL) AND (NOT derived OR algorithm = 'HS256'))
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (tenant_id) WHERE status = 'active';
CALL secure_tenant_table('signing_keys', 'SELECT, INSERT', false);
GRANT UPDATE (status, activated_at, retired_at, version) ON signing_keys TO strongroom_app;
GRANT SELECT (tenant_id, key_id, algorithm, epoch, status, activated_at, retired_at, created_at) ON signing_keys
    TO strongroom_auditor;

-- The functions of seed 002 that belong to sign-in, under its names and argument
-- types. The service itself calls them. They run as the owner, whom row security
-- binds as well, in the tenant of the transaction or not at all.

CREATE FUNCTION is_account_locked(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    RETURN EXISTS (SELECT 1 FROM users
        WHERE tenant_id = v_tenant AND id = p_user_id AND locked_until > app_now());
END $$;

-- Charges one failure BEFORE the password is looked at, so that no number of
-- parallel guesses evaluates more than the threshold; a right password takes it
-- back (handle_successful_login). The row lock makes charges one after another.
-- No row for a name that nobody has. `may_evaluate` is false while locked.
-- Thresholds are the tenant's policy (`tenancy::policy::LockPolicy`): with a window
-- a lock that ran out starts anew; without one every further failure locks again,
-- doubling up to `doubling_to_s`.
CREATE FUNCTION handle_failed_login(p_username citext)
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

CREATE FUNCTION handle_successful_login(p_username citext, p_ip_address inet, p_user_agent text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    -- The user agent stands on the session's row; the argument is the seed's.
    PERFORM p_user_agent;
    UPDATE users SET failed_login_attempts = 0, first_failed_at = NULL, lock_count = 0, locked_until = NULL,
        last_login_at = app_now(), last_login_ip = p_ip_address
    WHERE tenant_id = v_tenant AND username_key = lower(p_username::text) AND deleted_at IS NULL;
END $$;

-- Marks sessions past their end, forgets tokens that no longer prove anything, and
-- says how many sessions ended.
CREATE FUNCTION cleanup_expired_sessions() RETURNS integer
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

-- Ends the live sessions of a person, all or all but one (its id as text; NULL for
-- none), with their refresh families.
CREATE FUNCTION revoke_user_sessions(p_user_id uuid, p_reason varchar, p_except_session_id varchar) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_kept uuid := nullif(p_except_session_id, '')::uuid;
    v_ended integer;
BEGIN
    UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = p_reason
    WHERE tenant_id = v_tenant AND user_id = p_user_id AND revoked_at IS NULL AND id IS DISTINCT FROM v_kept;
    GET DIAGNOSTICS v_ended = ROW_COUNT;
    UPDATE refresh_tokens SET revoked_at = app_now()
    WHERE tenant_id = v_tenant AND user_id = p_user_id AND revoked_at IS NULL AND session_id IS DISTINCT FROM v_kept;
    IF v_ended > 0 THEN
        PERFORM audit_append('session_revocation', 'high', 'session.revoke_all', 'user', p_user_id, 'success',
            NULL, NULL, jsonb_build_object('ended', v_ended, 'reason', p_reason));
    END IF;
    RETURN v_ended;
END $$;

-- Notes that a session is in use, at most once a minute; false where nothing was noted.
CREATE FUNCTION update_session_activity(p_session_id varchar, p_ip_address varchar) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE user_sessions SET last_activity_at = app_now(),
        last_activity_ip = coalesce(nullif(p_ip_address, '')::inet, last_activity_ip)
    WHERE tenant_id = v_tenant AND id = p_session_id::uuid AND revoked_at IS NULL
      AND last_activity_at <= app_now() - interval '1 minute';
    RETURN FOUND;
END $$;

REVOKE ALL ON FUNCTION is_account_locked(uuid), handle_failed_login(citext),
    handle_successful_login(citext, inet, text), cleanup_expired_sessions(),
    revoke_user_sessions(uuid, varchar, varchar), update_session_activity(varchar, varchar) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_account_locked(uuid), handle_failed_login(citext),
    handle_successful_login(citext, inet, text), cleanup_expired_sessions(),
    revoke_user_sessions(uuid, varchar, varchar), update_session_activity(varchar, varchar) TO strongroom_app;
