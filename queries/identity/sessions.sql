--! create
-- $8 is the hash of a console's cookie; NULL for the sessions of clients. The device was
-- noted right before (`devices.sql: seen`).
INSERT INTO user_sessions (tenant_id, id, user_id, device_fingerprint, ip_address, user_agent, absolute_expires_at,
    console_token_hash, mfa_level, mfa_at, latitude, longitude, device_id)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::bytea, $5::inet, $6::text, $7::timestamptz, $8::bytea, $9::smallint,
    $10::timestamptz, $11::double precision, $12::double precision,
    (SELECT device.id FROM user_devices device
     WHERE device.tenant_id = $1 AND device.user_id = $3 AND device.fingerprint = $4));

--! at_limit
-- Whether somebody has $3 live sessions; runs under the lock on the user's row.
SELECT count(*) >= $3::bigint AS at_limit FROM (
    SELECT 1 FROM user_sessions live
    WHERE live.tenant_id = $1::uuid AND live.user_id = $2::uuid AND live.revoked_at IS NULL
      AND live.absolute_expires_at > app_now()
    LIMIT $3::bigint) counted;

--! end_oldest
-- Keeps the newest $3 live sessions of a person; runs under the lock on the user's row.
UPDATE user_sessions ended SET revoked_at = app_now(), revocation_reason = 'concurrent_limit'
WHERE ended.tenant_id = $1::uuid AND ended.user_id = $2::uuid AND ended.revoked_at IS NULL
  AND ended.id IN (
    SELECT live.id FROM user_sessions live
    WHERE live.tenant_id = $1::uuid AND live.user_id = $2::uuid AND live.revoked_at IS NULL
      AND live.absolute_expires_at > app_now()
    ORDER BY live.id DESC OFFSET $3::bigint)
RETURNING ended.id;

--! load
-- Everything that a request asks of its session, the person behind it included.
SELECT session.user_id, session.absolute_expires_at, session.revoked_at, session.ip_address,
    session.suspicious_at IS NOT NULL AND (session.mfa_at IS NULL OR session.mfa_at < session.suspicious_at) AS step_up_due,
    session.device_fingerprint, session.last_activity_at, session.mfa_at, session.mfa_level,
    person.username, person.role, person.is_active AND person.deleted_at IS NULL AS is_active, person.organization_id,
    person.department, person.mfa_enabled, person.password_changed_at,
    -- How many backup codes are left of a set that one was taken from.
    CASE WHEN person.mfa_enabled THEN (
        SELECT count(*) FILTER (WHERE code.used_at IS NULL) FROM mfa_backup_codes code
        WHERE code.tenant_id = person.tenant_id AND code.user_id = person.id
        HAVING count(code.used_at) > 0) END AS backup_codes_left,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles,
    ARRAY(SELECT custom.definition FROM user_roles held
          JOIN custom_roles custom ON custom.tenant_id = held.tenant_id AND custom.name = held.role
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role) AS custom_roles,
    ARRAY(SELECT revoked.jti FROM revoked_tokens revoked
          WHERE revoked.tenant_id = session.tenant_id AND revoked.session_id = session.id) AS revoked_tokens
FROM user_sessions session
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
WHERE session.tenant_id = $1::uuid AND session.id = $2::uuid;

--! list_own
SELECT id, host(ip_address) AS ip_address, user_agent, created_at, last_activity_at, absolute_expires_at, device_id,
    suspicion_reasons, suspicious_at IS NOT NULL AND (mfa_at IS NULL OR mfa_at < suspicious_at) AS step_up_due
FROM user_sessions
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND revoked_at IS NULL AND absolute_expires_at > app_now()
  AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC LIMIT $4::bigint;

--! revoke_own
-- The conditional UPDATE is what ends it: of two requests one finds a row.
UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = $4::text
WHERE tenant_id = $1::uuid AND id = $2::uuid AND user_id = $3::uuid AND revoked_at IS NULL
  AND absolute_expires_at > app_now()
RETURNING id;

--! revoke_any
UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = $3::text
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
RETURNING user_id;

--! revoke_family
UPDATE refresh_tokens SET revoked_at = app_now()
WHERE tenant_id = $1::uuid AND session_id = $2::uuid AND revoked_at IS NULL;

--! revoke_all
SELECT revoke_user_sessions($1::uuid, $2::text::varchar, $3::text::varchar) AS ended;

--! touch
SELECT update_session_activity($1::text::varchar, $2::text::varchar) AS touched;

--! cleanup
SELECT cleanup_expired_sessions() AS ended;

--! forget_tokens
SELECT forget_expired_tokens() AS forgotten;

--! revoke_token
INSERT INTO revoked_tokens (tenant_id, jti, session_id, user_id, reason, expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::timestamptz)
ON CONFLICT (tenant_id, jti) DO NOTHING;
