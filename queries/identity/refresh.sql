--! issue
INSERT INTO refresh_tokens (tenant_id, id, user_id, session_id, token_hash, device_fingerprint, expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::bytea, $6::bytea, $7::timestamptz);

--! consume
-- The one consuming primitive: of any number of parallel uses exactly one gets the
-- row. Asks for everything that makes the token good, so that a row means a yes. The
-- successor ($8 and its hash $9) is stored along with it. Locks the token, then (by the
-- reference of the successor) the person; who ends somebody's sessions has them the other way
-- round, and of two that meet one is repeated.
WITH used AS (
UPDATE refresh_tokens token SET used_at = app_now()
FROM user_sessions session
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
WHERE token.tenant_id = $1::uuid AND token.token_hash = $2::bytea
  AND token.used_at IS NULL AND token.revoked_at IS NULL AND token.expires_at > app_now()
  AND session.tenant_id = token.tenant_id AND session.id = token.session_id
  AND session.revoked_at IS NULL AND session.absolute_expires_at > app_now()
  AND person.is_active AND person.deleted_at IS NULL
  AND (NOT $3::boolean OR token.device_fingerprint = $4::bytea)
  AND (NOT $5::boolean OR session.ip_address IS NOT DISTINCT FROM $6::inet)
  AND ($7::bigint IS NULL OR session.last_activity_at > app_now() - make_interval(secs => $7))
RETURNING token.session_id, token.user_id, session.absolute_expires_at AS family_expires_at,
    person.mfa_enabled, person.role
), issued AS (
INSERT INTO refresh_tokens (tenant_id, id, user_id, session_id, token_hash, device_fingerprint, expires_at)
SELECT $1::uuid, $8::uuid, used.user_id, used.session_id, $9::bytea, $4::bytea, used.family_expires_at
FROM used
)
SELECT used.session_id, used.user_id, used.family_expires_at, used.mfa_enabled,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = $1::uuid AND held.user_id = used.user_id
          ORDER BY held.role <> used.role, held.role) AS roles
FROM used;

--! explain
-- Why a token was not consumed, and whether its successor ($3) may be handed out
-- again: read after the consuming UPDATE, so it sees what the winner committed.
SELECT token.session_id, token.user_id, token.used_at, token.revoked_at, token.device_fingerprint,
    token.expires_at <= app_now()
        OR coalesce(session.last_activity_at <= app_now() - make_interval(secs => $4::bigint), false) AS expired,
    session.revoked_at IS NULL AND session.absolute_expires_at > app_now()
        AND person.is_active AND person.deleted_at IS NULL AS session_live,
    session.absolute_expires_at AS family_expires_at, session.ip_address, person.mfa_enabled,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles,
    successor.id IS NOT NULL AND successor.used_at IS NULL AND successor.revoked_at IS NULL AS successor_unused
FROM refresh_tokens token
JOIN user_sessions session ON session.tenant_id = token.tenant_id AND session.id = token.session_id
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
LEFT JOIN refresh_tokens successor ON successor.tenant_id = token.tenant_id AND successor.token_hash = $3::bytea
WHERE token.tenant_id = $1::uuid AND token.token_hash = $2::bytea;
