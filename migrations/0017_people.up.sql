-- People administered: locked and unlocked by staff, deleted and restored; the devices
-- they come from, how odd a session looks, and changes of the security policy that two
-- people have to agree to.

-- A lock by staff. It has no end, closes the password and outlives a right second
-- factor; whoever owns a passkey still comes in with it, as with every lock. Whom nobody
-- may let in is disabled (`is_active`).
ALTER TABLE users
    ADD COLUMN staff_locked_at   timestamptz,
    ADD COLUMN staff_lock_reason text CONSTRAINT users_lock_reason CHECK (staff_lock_reason IN
        ('suspected_fraud', 'compromised', 'owner_request', 'compliance', 'other')),
    ADD CONSTRAINT users_lock_has_reason CHECK ((staff_locked_at IS NULL) = (staff_lock_reason IS NULL)),
    -- What a deleted person must not have left.
    ADD CONSTRAINT users_deleted_are_shredded CHECK (deleted_at IS NULL OR (email_sealed IS NULL
        AND phone_sealed IS NULL AND full_name_sealed IS NULL AND password_hash IS NULL));
GRANT UPDATE (staff_locked_at, staff_lock_reason) ON users TO strongroom_app;
GRANT SELECT (staff_locked_at, staff_lock_reason) ON users TO strongroom_auditor;
-- Those who were deleted, newest first; few, and asked for by nobody but administrators.
CREATE INDEX users_deleted ON users (tenant_id, id DESC) WHERE deleted_at IS NOT NULL;
-- Who holds a role: how many administrators are left is asked of this.
CREATE INDEX user_roles_by_role ON user_roles (tenant_id, role, user_id);

-- The devices somebody signed in from. A fingerprint is a MAC over what a request says
-- of its device (`identity::devices`); what it said is not kept.
CREATE TABLE user_devices (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    user_id       uuid NOT NULL,
    fingerprint   bytea NOT NULL CONSTRAINT user_devices_fingerprint_length CHECK (length(fingerprint) = 32),
    name          text NOT NULL CONSTRAINT user_devices_name_length CHECK (length(name) BETWEEN 1 AND 64),
    first_seen_at timestamptz NOT NULL DEFAULT app_now(),
    last_seen_at  timestamptz NOT NULL DEFAULT app_now(),
    -- Two factors were proven on it; until then an odd hour or network there is no reason to doubt.
    trusted_until timestamptz,
    revoked_at    timestamptz,
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT app_now(),
    updated_at    timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT user_devices_fingerprint_key UNIQUE (tenant_id, user_id, fingerprint),
    CONSTRAINT user_devices_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX user_devices_by_user ON user_devices (tenant_id, user_id, id);
CALL secure_tenant_table('user_devices', 'SELECT, INSERT', false);
GRANT UPDATE (name, first_seen_at, last_seen_at, trusted_until, revoked_at, version) ON user_devices TO strongroom_app;

-- A session knows its device, where on earth it began (where a trusted proxy says so),
-- and how odd that looked. From `suspicious_at` on a factor is due: one proven later settles it.
ALTER TABLE user_sessions
    ADD COLUMN device_id         uuid,
    ADD COLUMN latitude          double precision,
    ADD COLUMN longitude         double precision,
    ADD COLUMN suspicion_score   smallint NOT NULL DEFAULT 0,
    ADD COLUMN suspicion_reasons text[] NOT NULL DEFAULT '{}',
    ADD COLUMN suspicious_at     timestamptz,
    ADD CONSTRAINT user_sessions_device_known FOREIGN KEY (tenant_id, device_id) REFERENCES user_devices (tenant_id, id),
    ADD CONSTRAINT user_sessions_place CHECK ((latitude IS NULL) = (longitude IS NULL)
        AND latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180);
-- What somebody's earlier sessions were like; asked at every sign-in.
CREATE INDEX user_sessions_by_user_and_time ON user_sessions (tenant_id, user_id, created_at DESC);
CREATE INDEX user_sessions_by_device ON user_sessions (tenant_id, device_id) WHERE device_id IS NOT NULL;

-- Keys of people who were deleted and restored: what was sealed under them stays closed,
-- and which they were stays known, so that an erasure can be repeated after a restore.
CREATE TABLE shredded_subject_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    key_id      uuid NOT NULL,
    subject_id  uuid NOT NULL,
    shredded_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, key_id)
);
CALL secure_tenant_table('shredded_subject_keys', 'SELECT', true);

-- Changes of the security policy that wait for a second person. The whole policy stands
-- in `policy` as it will be, and `payload_hash` (SHA-256 over its canonical JSON and what
-- it is bound to: tenant, id, maker, base, instants) is what is approved. It is applied if
-- the policy is still at `base_version`. From `expires_at` on nobody can decide it.
CREATE TABLE policy_changes (
    tenant_id     uuid NOT NULL REFERENCES tenants (id),
    id            uuid NOT NULL,
    status        text NOT NULL DEFAULT 'pending' CONSTRAINT policy_changes_status CHECK (status IN
        ('pending', 'approved', 'rejected')),
    policy        jsonb NOT NULL CONSTRAINT policy_changes_object CHECK (jsonb_typeof(policy) = 'object'),
    differences   jsonb NOT NULL CONSTRAINT policy_changes_differences CHECK (jsonb_typeof(differences) = 'array'),
    payload_hash  bytea NOT NULL CONSTRAINT policy_changes_hash_length CHECK (length(payload_hash) = 32),
    base_version  bigint NOT NULL,
    note          text CONSTRAINT policy_changes_note_length CHECK (length(note) BETWEEN 1 AND 140),
    requested_by  uuid NOT NULL,
    requested_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL CONSTRAINT policy_changes_expire_later CHECK (expires_at > requested_at),
    decided_by    uuid,
    decided_at    timestamptz,
    decision_note text CONSTRAINT policy_changes_decision_length CHECK (length(decision_note) BETWEEN 1 AND 140),
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT app_now(),
    updated_at    timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT policy_changes_four_eyes CHECK (decided_by <> requested_by),
    CONSTRAINT policy_changes_decided CHECK (CASE status WHEN 'pending'
        THEN decided_by IS NULL AND decided_at IS NULL AND decision_note IS NULL
        ELSE decided_by IS NOT NULL AND decided_at IS NOT NULL END)
);
CREATE INDEX policy_changes_pending ON policy_changes (tenant_id, requested_by) WHERE status = 'pending';
CALL secure_tenant_table('policy_changes', 'SELECT, INSERT', true);
GRANT UPDATE (status, decided_by, decided_at, decision_note, version) ON policy_changes TO strongroom_app;
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON policy_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE policy_changes ENABLE ALWAYS TRIGGER never_deleted;
CREATE TRIGGER decided_once BEFORE UPDATE ON policy_changes
    FOR EACH ROW WHEN (OLD.status <> 'pending' OR NEW.status = 'pending')
    EXECUTE FUNCTION refuse_second_decision();

CREATE OR REPLACE FUNCTION is_account_locked(p_user_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    RETURN EXISTS (SELECT 1 FROM users
        WHERE tenant_id = v_tenant AND id = p_user_id AND (staff_locked_at IS NOT NULL OR locked_until > app_now()));
END $$;

-- As 0003 made it; a lock by staff is a lock like any.
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
    IF v_user.staff_locked_at IS NOT NULL OR v_user.locked_until > v_now THEN
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

-- Opens an account that staff or failures have locked, and forgets the failures.
CREATE FUNCTION unlock_account(p_user_id uuid) RETURNS boolean
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

-- Deletes somebody: the row stays, with the name they acted under, for whatever refers to
-- it; their key is destroyed and everything personal, every factor and every session goes
-- with it, at once. What stands here stands in the test of the shredding as well.
CREATE FUNCTION shred_user(p_user_id uuid) RETURNS boolean
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

-- A key for somebody whose key was destroyed, and who is restored. The old one is not
-- brought back: there is nothing left to bring back.
CREATE FUNCTION renew_subject_key(p_subject_id uuid, p_key_id uuid, p_kek_epoch integer, p_wrapped_key bytea)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    WITH old AS (
        DELETE FROM subject_keys
        WHERE tenant_id = v_tenant AND subject_id = p_subject_id AND wrapped_key IS NULL
        RETURNING key_id, shredded_at
    )
    INSERT INTO shredded_subject_keys (tenant_id, key_id, subject_id, shredded_at)
    SELECT v_tenant, old.key_id, p_subject_id, old.shredded_at FROM old;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO subject_keys (tenant_id, subject_id, key_id, kek_epoch, wrapped_key)
    VALUES (v_tenant, p_subject_id, p_key_id, p_kek_epoch, p_wrapped_key);
    RETURN true;
END $$;

-- How odd a session looks that has just begun, beside the last 90 days (at most 500
-- sessions) of its owner's, and whether that demands a factor
-- (`tenancy::policy::SessionPolicy::step_up_score`). Reasons and what each counts:
--   new_device 30, new_network 20 (another /24, of IPv6 another /48), session_burst 30 (the
--   sixth in ten minutes), unusual_hour 10 (ten sessions, none within two hours of this one's
--   time of day), impossible_travel 50 (faster than 900 km/h since the last known place).
-- Where two factors were proven of late, network and hour are no reasons. A first session
-- has nothing to be compared with. A session that owes a factor makes its place and device
-- known only after a day, in which its owner was told of it and could end it: else whoever
-- has a password would sign in twice.
CREATE FUNCTION detect_suspicious_session(p_user_id uuid, p_ip_address inet, p_user_agent text, p_session_id varchar)
RETURNS TABLE (score integer, reasons text[], demands_step_up boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_now timestamptz := app_now();
    v_hour integer := extract(hour FROM v_now AT TIME ZONE 'UTC')::integer;
    v_session user_sessions%ROWTYPE;
    v_trusted boolean;
    v_threshold integer;
    v_earlier bigint;
    v_same_device bigint;
    v_same_network bigint;
    v_same_hour bigint;
    v_recent bigint;
    v_place record;
    v_distance_km double precision;
BEGIN
    SELECT * INTO v_session FROM user_sessions
    WHERE tenant_id = v_tenant AND id = p_session_id::uuid AND user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce((policy #>> '{session,step_up_score}')::integer, 50) INTO v_threshold
    FROM security_policies WHERE tenant_id = v_tenant;
    SELECT coalesce(bool_or(device.trusted_until > v_now), false) INTO v_trusted FROM user_devices device
    WHERE device.tenant_id = v_tenant AND device.id = v_session.device_id;
    SELECT count(*) FILTER (WHERE earlier.is_known),
        count(*) FILTER (WHERE earlier.is_known AND (earlier.device_id = v_session.device_id
            OR (earlier.device_id IS NULL AND earlier.user_agent IS NOT DISTINCT FROM p_user_agent))),
        count(*) FILTER (WHERE earlier.is_known
            AND network(set_masklen(earlier.ip_address, CASE family(earlier.ip_address) WHEN 4 THEN 24 ELSE 48 END))
            = network(set_masklen(p_ip_address, CASE family(p_ip_address) WHEN 4 THEN 24 ELSE 48 END))),
        count(*) FILTER (WHERE earlier.is_known AND least(abs(earlier.hour - v_hour), 24 - abs(earlier.hour - v_hour)) <= 2),
        count(*) FILTER (WHERE earlier.created_at > v_now - interval '10 minutes')
    INTO v_earlier, v_same_device, v_same_network, v_same_hour, v_recent
    FROM (
        SELECT known.device_id, known.user_agent, known.ip_address, known.created_at,
            extract(hour FROM known.created_at AT TIME ZONE 'UTC')::integer AS hour,
            known.suspicious_at IS NULL OR known.mfa_at >= known.suspicious_at
                OR known.created_at < v_now - interval '1 day' AS is_known
        FROM user_sessions known
        WHERE known.tenant_id = v_tenant AND known.user_id = p_user_id AND known.id <> v_session.id
          AND known.created_at > v_now - interval '90 days'
        ORDER BY known.created_at DESC LIMIT 500
    ) earlier;
    score := 0;
    reasons := '{}';
    IF v_earlier > 0 AND v_same_device = 0 THEN
        score := score + 30;
        reasons := reasons || 'new_device'::text;
    END IF;
    IF v_earlier > 0 AND p_ip_address IS NOT NULL AND v_same_network = 0 AND NOT v_trusted THEN
        score := score + 20;
        reasons := reasons || 'new_network'::text;
    END IF;
    IF v_recent >= 5 THEN
        score := score + 30;
        reasons := reasons || 'session_burst'::text;
    END IF;
    IF v_earlier >= 10 AND v_same_hour = 0 AND NOT v_trusted THEN
        score := score + 10;
        reasons := reasons || 'unusual_hour'::text;
    END IF;
    IF v_session.latitude IS NOT NULL THEN
        SELECT known.latitude, known.longitude, known.last_activity_at AS seen_at INTO v_place FROM user_sessions known
        WHERE known.tenant_id = v_tenant AND known.user_id = p_user_id AND known.id <> v_session.id
          AND known.latitude IS NOT NULL AND known.created_at > v_now - interval '90 days'
          AND (known.suspicious_at IS NULL OR known.mfa_at >= known.suspicious_at
            OR known.created_at < v_now - interval '1 day')
        ORDER BY known.created_at DESC LIMIT 1;
        IF FOUND THEN
            -- Along a great circle of a sphere of 6,371 km; what leaves [0, 1] by rounding is put back.
            v_distance_km := 2 * 6371 * asin(sqrt(least(1, greatest(0,
                sin(radians(v_session.latitude - v_place.latitude) / 2) ^ 2
                + cos(radians(v_session.latitude)) * cos(radians(v_place.latitude))
                    * sin(radians(v_session.longitude - v_place.longitude) / 2) ^ 2))));
            -- Within 100 km a place is not known well enough.
            IF v_distance_km > 100
                    AND v_distance_km > 900 * greatest(extract(epoch FROM v_now - v_place.seen_at), 0) / 3600 THEN
                score := score + 50;
                reasons := reasons || 'impossible_travel'::text;
            END IF;
        END IF;
    END IF;
    demands_step_up := score >= v_threshold;
    UPDATE user_sessions SET suspicion_score = detect_suspicious_session.score,
        suspicion_reasons = detect_suspicious_session.reasons,
        suspicious_at = CASE WHEN detect_suspicious_session.demands_step_up THEN v_now END
    WHERE tenant_id = v_tenant AND id = v_session.id;
    RETURN NEXT;
END $$;

-- Marks sessions past their end, at most a thousand of a kind at a call, so that no backlog is too
-- large for the time a statement may take; says how many. Sessions of the console, and
-- those of clients where policy says so, end idle as well.
CREATE OR REPLACE FUNCTION cleanup_expired_sessions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_now timestamptz := app_now();
    v_policy jsonb;
    v_console_idle interval;
    v_client_idle interval;
    v_ended integer;
    v_idle integer;
BEGIN
    SELECT policy -> 'session' INTO v_policy FROM security_policies WHERE tenant_id = v_tenant;
    v_console_idle := make_interval(secs => (v_policy ->> 'idle_timeout_s')::bigint);
    v_client_idle := make_interval(secs => (v_policy ->> 'client_idle_timeout_s')::bigint);
    UPDATE user_sessions ended SET revoked_at = v_now, revocation_reason = 'expired'
    WHERE ended.tenant_id = v_tenant AND ended.id IN (
        SELECT over.id FROM user_sessions over
        WHERE over.tenant_id = v_tenant AND over.revoked_at IS NULL AND over.absolute_expires_at <= v_now
        ORDER BY over.absolute_expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_ended = ROW_COUNT;
    -- The first condition is the second's bound, for the index to begin at.
    UPDATE user_sessions ended SET revoked_at = v_now, revocation_reason = 'idle'
    WHERE ended.tenant_id = v_tenant AND ended.id IN (
        SELECT idle.id FROM user_sessions idle
        WHERE idle.tenant_id = v_tenant AND idle.revoked_at IS NULL
          AND idle.last_activity_at <= v_now - least(v_console_idle, v_client_idle)
          AND idle.last_activity_at <= v_now - CASE WHEN idle.console_token_hash IS NULL THEN v_client_idle
                ELSE v_console_idle END
        ORDER BY idle.last_activity_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_idle = ROW_COUNT;
    v_ended := v_ended + v_idle;
    IF v_ended > 0 THEN
        PERFORM audit_append('session_revocation', 'high', 'session.cleanup', 'session', NULL, 'success', NULL, NULL,
            jsonb_build_object('ended', v_ended, 'idle', v_idle, 'reason', 'expired'));
    END IF;
    RETURN v_ended;
END $$;
-- What the idle are found by.
CREATE INDEX user_sessions_live_by_activity ON user_sessions (tenant_id, last_activity_at) WHERE revoked_at IS NULL;

-- Forgets tokens that no longer prove anything, at most five thousand of a kind at a
-- call; says how many.
CREATE FUNCTION forget_expired_tokens() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_refresh integer;
    v_revoked integer;
BEGIN
    DELETE FROM refresh_tokens WHERE tenant_id = v_tenant AND id IN (
        SELECT over.id FROM refresh_tokens over
        WHERE over.tenant_id = v_tenant AND over.expires_at <= app_now()
        ORDER BY over.expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_refresh = ROW_COUNT;
    DELETE FROM revoked_tokens WHERE tenant_id = v_tenant AND jti IN (
        SELECT over.jti FROM revoked_tokens over
        WHERE over.tenant_id = v_tenant AND over.expires_at <= app_now()
        ORDER BY over.expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_revoked = ROW_COUNT;
    RETURN v_refresh + v_revoked;
END $$;

REVOKE ALL ON FUNCTION unlock_account(uuid), shred_user(uuid), renew_subject_key(uuid, uuid, integer, bytea),
    detect_suspicious_session(uuid, inet, text, varchar), forget_expired_tokens() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION unlock_account(uuid), shred_user(uuid), renew_subject_key(uuid, uuid, integer, bytea),
    detect_suspicious_session(uuid, inet, text, varchar), forget_expired_tokens() TO strongroom_app;
