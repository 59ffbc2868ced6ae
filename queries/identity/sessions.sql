--! create
-- $8 is the hash of a console's cookie; NULL for the sessions of clients.
INSERT INTO user_sessions (tenant_id, id, user_id, device_fingerprint, ip_address, user_agent, absolute_expires_at,
    console_token_hash, mfa_level, mfa_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::bytea, $5::inet, $6::text, $7::timestamptz, $8::bytea, $9::smallint,
    $10::timestamptz);

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
    session.device_fingerprint, session.last_activity_at, session.mfa_at,
    person.username, person.role, person.is_active AND person.deleted_at IS NULL AS is_active, person.organization_id,
    person.department, person.mfa_enabled, person.password_changed_at,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles,
    ARRAY(SELECT revoked.jti FROM revoked_tokens revoked
          WHERE revoked.tenant_id = session.tenant_id AND revoked.session_id = session.id) AS revoked_tokens
FROM user_sessions session
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
WHERE session.tenant_id = $1::uuid AND session.id = $2::uuid;

--! list_own
SELECT id, host(ip_address) AS ip_address, user_agent, created_at, last_activity_at, absolute_expires_at
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

--! revoke_token
INSERT INTO revoked_tokens (tenant_id, jti, session_id, user_id, reason, expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::timestamptz)
ON CONFLICT (tenant_id, jti) DO NOTHING;
