-- Passkeys and hardware keys (WebAuthn): the credentials, the random names under which
-- authenticators know people, and the challenges that are given to browsers.

-- How authenticators know a person: 64 random bytes that say nothing of anybody, so that
-- what an authenticator shows a stranger is nobody's id here.
CREATE TABLE webauthn_users (
    tenant_id   uuid NOT NULL,
    user_id     uuid NOT NULL,
    user_handle bytea NOT NULL CONSTRAINT webauthn_users_handle_length CHECK (length(user_handle) = 64),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT webauthn_users_handle_key UNIQUE (tenant_id, user_handle),
    CONSTRAINT webauthn_users_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CALL secure_tenant_table('webauthn_users', 'SELECT, INSERT', false);

-- One row a credential. They belong to the person's one factor `passkey` in mfa_configs
-- and go with it, whoever takes it away: its owner, or two admins (disable_mfa_method).
-- `public_key` is COSE, as the authenticator wrote it; it is no secret, but nobody's
-- business. What the owner calls it is sealed under their key. Key, algorithm and
-- eligibility for backup never change; the counter only goes up.
CREATE TABLE webauthn_credentials (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    config_id       uuid NOT NULL,
    credential_id   bytea NOT NULL CONSTRAINT webauthn_credentials_id_length CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key      bytea NOT NULL CONSTRAINT webauthn_credentials_key_length CHECK (length(public_key) BETWEEN 32 AND 1024),
    algorithm       smallint NOT NULL CONSTRAINT webauthn_credentials_algorithm CHECK (algorithm IN (-7, -8, -257)),
    sign_count      bigint NOT NULL CONSTRAINT webauthn_credentials_count_range CHECK (sign_count BETWEEN 0 AND 4294967295),
    transports      text[] NOT NULL CONSTRAINT webauthn_credentials_transports CHECK (transports <@
        ARRAY['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb']),
    aaguid          uuid NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up       boolean NOT NULL CONSTRAINT webauthn_credentials_backup CHECK (backup_eligible OR NOT backed_up),
    name_sealed     bytea NOT NULL CONSTRAINT webauthn_credentials_name_envelope
        CHECK (length(name_sealed) BETWEEN 90 AND 500 AND get_byte(name_sealed, 0) = 1),
    last_used_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    -- Of two registrations of one credential one succeeds, whosever they are.
    CONSTRAINT webauthn_credentials_id_key UNIQUE (tenant_id, credential_id),
    CONSTRAINT webauthn_credentials_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES webauthn_users (tenant_id, user_id),
    CONSTRAINT webauthn_credentials_config_known FOREIGN KEY (tenant_id, config_id) REFERENCES mfa_configs (tenant_id, id)
        ON DELETE CASCADE
);
CREATE INDEX webauthn_credentials_by_user ON webauthn_credentials (tenant_id, user_id, id);
CREATE INDEX webauthn_credentials_by_config ON webauthn_credentials (tenant_id, config_id);
CALL secure_tenant_table('webauthn_credentials', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (sign_count, backed_up, name_sealed, last_used_at) ON webauthn_credentials TO strongroom_app;
GRANT SELECT (tenant_id, id, user_id, algorithm, aaguid, backup_eligible, backed_up, last_used_at, created_at)
    ON webauthn_credentials TO strongroom_auditor;

CREATE FUNCTION refuse_counter_regression() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a credential''s counter only goes up' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER counts_up BEFORE UPDATE OF sign_count ON webauthn_credentials
    FOR EACH ROW WHEN (NEW.sign_count < OLD.sign_count) EXECUTE FUNCTION refuse_counter_regression();

-- A challenge is an opaque token, of which only the hash is here; good for one ceremony
-- of one purpose, once, for five minutes. One for somebody signed in (`registration`,
-- `step_up`) belongs to their session; a second step's belongs to its pending state; a
-- sign-in's to nobody yet.
CREATE TABLE webauthn_challenges (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    challenge_hash   bytea NOT NULL CONSTRAINT webauthn_challenges_hash_length CHECK (length(challenge_hash) = 32),
    purpose          text NOT NULL CONSTRAINT webauthn_challenges_purpose CHECK (purpose IN
        ('registration', 'sign_in', 'second_factor', 'step_up')),
    user_id          uuid,
    session_id       uuid,
    mfa_challenge_id uuid,
    expires_at       timestamptz NOT NULL,
    consumed_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT webauthn_challenges_hash_key UNIQUE (tenant_id, challenge_hash),
    CONSTRAINT webauthn_challenges_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT webauthn_challenges_session_known FOREIGN KEY (tenant_id, session_id) REFERENCES user_sessions (tenant_id, id),
    CONSTRAINT webauthn_challenges_owned CHECK ((purpose = 'sign_in') = (user_id IS NULL)
        AND (purpose IN ('registration', 'step_up')) = (session_id IS NOT NULL)
        AND (purpose = 'second_factor') = (mfa_challenge_id IS NOT NULL))
);
CREATE INDEX webauthn_challenges_by_expiry ON webauthn_challenges (tenant_id, expires_at);
CALL secure_tenant_table('webauthn_challenges', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (consumed_at) ON webauthn_challenges TO strongroom_app;

-- A passkey that was shown says nothing of whether somebody guesses the password, so it
-- leaves their failures standing; that its owner was here is noted all the same.
GRANT UPDATE (last_login_at, last_login_ip) ON users TO strongroom_app;
