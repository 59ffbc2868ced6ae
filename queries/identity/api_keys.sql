--! create
INSERT INTO api_keys (tenant_id, id, name, hint, secret_hash, role, scopes, networks, created_by, expires_at,
    certificate_thumbprint)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::text, $7::text[], $8::text[]::cidr[], $9::uuid,
    $10::timestamptz, $11::text);

--! one
SELECT id, name, hint, previous_until, role, scopes, networks::text[] AS networks, created_by, expires_at, rotated_at,
    last_used_at, revoked_at, certificate_thumbprint, version, created_at, updated_at
FROM api_keys
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! list
SELECT id, name, hint, previous_until, role, scopes, networks::text[] AS networks, created_by, expires_at, rotated_at,
    last_used_at, revoked_at, certificate_thumbprint, version, created_at, updated_at
FROM api_keys
WHERE tenant_id = $1::uuid AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3::bigint;

--! find
-- By what was presented. The secret before the last rotation is good for a while. A key
-- that nobody answers for any more is as good as revoked.
SELECT id, role, scopes, networks::text[] AS networks, expires_at, last_used_at,
    certificate_thumbprint,
    revoked_at IS NOT NULL OR NOT api_key_is_answered_for(id, secret_hash <> $2::bytea) AS revoked
FROM api_keys
WHERE tenant_id = $1::uuid
  AND (secret_hash = $2::bytea OR (previous_hash = $2::bytea AND previous_until > app_now()));

--! lock_maker
-- Behind a change of their roles that is under way: the key is not made by what they were.
-- The person first, then the key, as a change of roles has them. FOR SHARE, because the row is
-- not changed here and a key's reference to it (FOR KEY SHARE) would not wait.
SELECT 1 AS one FROM users WHERE tenant_id = $1::uuid AND id = $2::uuid FOR SHARE;

--! roles_of_maker
SELECT held.role FROM user_roles held
JOIN users person ON person.tenant_id = held.tenant_id AND person.id = held.user_id
WHERE held.tenant_id = $1::uuid AND held.user_id = $2::uuid
ORDER BY held.role <> person.role, held.role;

--! lock
SELECT role, revoked_at, expires_at, version FROM api_keys
WHERE tenant_id = $1::uuid AND id = $2::uuid FOR NO KEY UPDATE;

--! rotate
-- $6 seconds of overlap; none leaves no earlier secret. $8 where the certificate is another or none ($9) from now on.
UPDATE api_keys SET previous_hash = CASE WHEN $6::bigint > 0 THEN secret_hash END,
    previous_until = CASE WHEN $6::bigint > 0 THEN app_now() + make_interval(secs => $6::bigint) END,
    secret_hash = $3::bytea, hint = $4::text, expires_at = coalesce($5::timestamptz, expires_at),
    certificate_thumbprint = CASE WHEN $8::bool THEN $9::text ELSE certificate_thumbprint END,
    rotated_at = app_now(), rotated_by = $7::uuid, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! revoke
-- The conditional UPDATE is what ends it: of two requests one finds a row.
UPDATE api_keys SET revoked_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
RETURNING version;

--! revoke_mightier
-- Of those that somebody answers for: made, or rotated last. $3 are the roles that they may
-- still give.
UPDATE api_keys SET revoked_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND revoked_at IS NULL
  AND CASE WHEN rotated_at IS NULL THEN created_by ELSE rotated_by END = $2::uuid
  AND role <> ALL ($3::text[])
RETURNING id, version;

--! forget_mightier
-- The same of keys that others answer for by now: the secret before the last rotation may be
-- in the hands of whoever made the key.
UPDATE api_keys SET previous_hash = NULL, previous_until = NULL, version = version + 1
WHERE tenant_id = $1::uuid AND revoked_at IS NULL AND created_by = $2::uuid AND previous_hash IS NOT NULL
  AND role <> ALL ($3::text[]);

--! touch
UPDATE api_keys SET last_used_at = app_now(), last_used_ip = $3::inet
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
  AND (last_used_at IS NULL OR last_used_at <= app_now() - interval '1 minute');
