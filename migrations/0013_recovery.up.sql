-- Links and codes that are good for one use: to set a new password, to accept an
-- invitation, to prove an address, to change one.
--
-- Only SHA-256 of what was sent stands here. What a change of address is changed to is
-- sealed under the person's own key, beside its blind index. One UPDATE consumes a row
-- (`identity/one_time.sql: consume`), in the transaction of what it permits.
CREATE TABLE one_time_tokens (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    user_id        uuid NOT NULL,
    purpose        text NOT NULL CONSTRAINT one_time_tokens_purpose CHECK (purpose IN
        ('password_reset', 'invite', 'email_verification', 'email_change', 'phone_change')),
    token_hash     bytea NOT NULL CONSTRAINT one_time_tokens_hash_length CHECK (length(token_hash) = 32),
    -- Where a code has to be typed beside: SHA-256 over token and code, so that neither
    -- the row nor either half alone is worth guessing at.
    code_hash      bytea CONSTRAINT one_time_tokens_code_length CHECK (length(code_hash) = 32),
    payload_sealed bytea CONSTRAINT one_time_tokens_payload_envelope
        CHECK (length(payload_sealed) BETWEEN 90 AND 500 AND get_byte(payload_sealed, 0) = 1),
    payload_index  bytea CONSTRAINT one_time_tokens_index_length CHECK (length(payload_index) = 33),
    attempts       smallint NOT NULL DEFAULT 0 CONSTRAINT one_time_tokens_attempts CHECK (attempts BETWEEN 0 AND 5),
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    -- Replaced by a newer one, or overtaken by what it was for.
    voided_at      timestamptz,
    created_at     timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT one_time_tokens_hash_key UNIQUE (tenant_id, token_hash),
    CONSTRAINT one_time_tokens_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT one_time_tokens_expire_later CHECK (expires_at > created_at),
    CONSTRAINT one_time_tokens_one_end CHECK (used_at IS NULL OR voided_at IS NULL),
    CONSTRAINT one_time_tokens_payload_of_changes CHECK ((purpose IN ('email_change', 'phone_change'))
        = (payload_sealed IS NOT NULL) AND (payload_sealed IS NULL) = (payload_index IS NULL)),
    CONSTRAINT one_time_tokens_code_of_phones CHECK ((purpose = 'phone_change') = (code_hash IS NOT NULL))
);
-- A person has one live token of a purpose: a newer one voids the older.
CREATE UNIQUE INDEX one_time_tokens_one_live ON one_time_tokens (tenant_id, user_id, purpose)
    WHERE used_at IS NULL AND voided_at IS NULL;
-- How many were sent to somebody within the hour.
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (tenant_id, user_id, purpose, created_at);
-- Forgetting what is over.
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (tenant_id, expires_at);
CALL secure_tenant_table('one_time_tokens', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (attempts, used_at, voided_at) ON one_time_tokens TO strongroom_app;

-- When the person proved that mail and messages reach them; not since the address is another.
ALTER TABLE users ADD COLUMN email_verified_at timestamptz,
    ADD COLUMN phone_verified_at timestamptz;
GRANT UPDATE (email_verified_at, phone_verified_at) ON users TO strongroom_app;
GRANT SELECT (email_verified_at, phone_verified_at) ON users TO strongroom_auditor;

-- Whom somebody recommended us to, newest first. Row security shows a person their own row
-- and no other, so this runs as the owner; what it tells is no personal data.
CREATE INDEX users_by_referrer ON users (tenant_id, referred_by, id) WHERE referred_by IS NOT NULL;
CREATE FUNCTION own_referrals(p_user_id uuid, p_after uuid, p_most bigint)
RETURNS TABLE (id uuid, is_active boolean, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    IF current_setting('app.current_user_id', true) NOT IN ('*', p_user_id::text) THEN
        RAISE EXCEPTION 'only their own' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY SELECT person.id, person.is_active, person.created_at FROM users person
        WHERE person.tenant_id = v_tenant AND person.referred_by = p_user_id AND person.deleted_at IS NULL
          AND (p_after IS NULL OR person.id < p_after)
        ORDER BY person.id DESC LIMIT p_most;
END $$;

-- Opens an account that wrong passwords have locked: the password they were aimed at is no
-- more. How often it was locked stays, so that the next lock is as long as it would have been.
CREATE FUNCTION clear_account_lock(p_user_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
BEGIN
    UPDATE users SET failed_login_attempts = 0, first_failed_at = NULL, locked_until = NULL
    WHERE tenant_id = v_tenant AND id = p_user_id;
END $$;

REVOKE ALL ON FUNCTION own_referrals(uuid, uuid, bigint), clear_account_lock(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION own_referrals(uuid, uuid, bigint), clear_account_lock(uuid) TO strongroom_app;
