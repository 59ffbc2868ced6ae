--! create
INSERT INTO api_keys (tenant_id, id, name, hint, secret_hash, role, scopes, networks, created_by, expires_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::text, $7::text[], $8::text[]::cidr[], $9::uuid,
    $10::timestamptz);

--! one
SELECT id, name, hint, previous_until, role, scopes, networks::text[] AS networks, created_by, expires_at, rotated_at,
    last_used_at, revoked_at, version, created_at, updated_at
FROM api_keys
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! list
SELECT id, name, hint, previous_until, role, scopes, networks::text[] AS networks, created_by, expires_at, rotated_at,
    last_used_at, revoked_at, version, created_at, updated_at
FROM api_keys
WHERE tenant_id = $1::uuid AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3::bigint;

--! find
-- By what was presented. The secret before the last rotation is good for a while. A key
-- that nobody answers for any more is as good as revoked.
SELECT id, role, scopes, networks::text[] AS networks, expires_at, last_used_at,
    revoked_at IS NOT NULL OR NOT api_key_is_answered_for(id, secret_hash <> $2::bytea) AS revoked
FROM api_keys
WHERE tenant_id = $1::uuid
  AND (secret_hash = $2::bytea OR (previous_hash = $2::bytea AND previous_until > app_now()));

--! lock
SELECT role, revoked_at, expires_at FROM api_keys WHERE tenant_id = $1::uuid AND id = $2::uuid FOR NO KEY UPDATE;

--! rotate
-- $6 seconds of overlap; none leaves no earlier secret.
UPDATE api_keys SET previous_hash = CASE WHEN $6::bigint > 0 THEN secret_hash END,
    previous_until = CASE WHEN $6::bigint > 0 THEN app_now() + make_interval(secs => $6::bigint) END,
    secret_hash = $3::bytea, hint = $4::text, expires_at = coalesce($5::timestamptz, expires_at),
    rotated_at = app_now(), rotated_by = $7::uuid, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! revoke
-- The conditional UPDATE is what ends it: of two requests one finds a row.
UPDATE api_keys SET revoked_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
RETURNING id;

--! touch
UPDATE api_keys SET last_used_at = app_now(), last_used_ip = $3::inet
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
  AND (last_used_at IS NULL OR last_used_at <= app_now() - interval '1 minute');
