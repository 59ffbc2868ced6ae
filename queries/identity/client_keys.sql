--! create
INSERT INTO client_keys (tenant_id, id, name, user_id, api_key_id, algorithm, public_jwk, thumbprint, created_by)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid, $5::uuid, $6::text, $7::jsonb, $8::text, $9::uuid)
ON CONFLICT ON CONSTRAINT client_keys_thumbprint_key DO NOTHING;

--! living
-- How many of one owner may sign.
SELECT count(*) AS living FROM client_keys
WHERE tenant_id = $1::uuid AND revoked_at IS NULL
  AND (user_id = $2::uuid OR api_key_id = $3::uuid);

--! lock_machine
-- An API key that is to sign, and has not ended.
SELECT 1 AS one FROM api_keys
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL AND expires_at > app_now()
FOR NO KEY UPDATE;

--! one
SELECT id, name, user_id, api_key_id, algorithm, public_jwk, thumbprint, created_by, revoked_at, version, created_at,
    updated_at
FROM client_keys
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! list
-- One person's own; with $2 everybody's, of one machine alone where $4 says which.
SELECT id, name, user_id, api_key_id, algorithm, public_jwk, thumbprint, created_by, revoked_at, version, created_at,
    updated_at
FROM client_keys
WHERE tenant_id = $1::uuid AND ($2::bool OR user_id = $3::uuid) AND ($4::uuid IS NULL OR api_key_id = $4)
  AND ($5::uuid IS NULL OR id < $5)
ORDER BY id DESC LIMIT $6::bigint;

--! lock
SELECT user_id, version FROM client_keys WHERE tenant_id = $1::uuid AND id = $2::uuid FOR NO KEY UPDATE;

--! revoke
-- The conditional UPDATE is what ends it: of two requests one finds a row.
UPDATE client_keys SET revoked_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND revoked_at IS NULL
RETURNING version;

--! take_nonce
-- Of many requests with one nonce one inserts it; the others wait for its COMMIT and insert
-- nothing, as does a key that was revoked since it was looked up.
INSERT INTO signature_nonces (tenant_id, key_id, nonce, expires_at)
SELECT $1::uuid, key.id, $3::text, $4::timestamptz FROM client_keys key
WHERE key.tenant_id = $1::uuid AND key.id = $2::uuid AND key.revoked_at IS NULL
ON CONFLICT ON CONSTRAINT signature_nonces_pkey DO NOTHING
RETURNING 1 AS one;

--! forget_nonces
-- Of signatures that are refused for their age by now, on clocks an hour apart, so many at a
-- time as one statement may take.
DELETE FROM signature_nonces
WHERE tenant_id = $1::uuid AND (key_id, nonce) IN (
    SELECT old.key_id, old.nonce FROM signature_nonces old
    WHERE old.tenant_id = $1::uuid AND old.expires_at < app_now() - interval '1 hour'
    ORDER BY old.expires_at LIMIT 5000);
