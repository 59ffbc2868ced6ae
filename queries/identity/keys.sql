--! create
-- The first key of a tenant, which signs at once.
INSERT INTO signing_keys (tenant_id, key_id, algorithm, epoch, derived, wrapped_key, status, activated_at,
    longest_lifetime_s, kek_epoch)
VALUES ($1::uuid, $2::uuid, $3::text, $4::integer, $5::boolean, $6::bytea, 'active', app_now(), $7::bigint,
    $8::integer);

--! list
-- Retired keys verify nothing and are not loaded.
SELECT key_id, algorithm, epoch, derived, kek_epoch, wrapped_key, status FROM signing_keys
WHERE tenant_id = $1::uuid AND status <> 'retired' ORDER BY epoch DESC;

--! records
-- Every key there ever was, newest first, without its secret.
SELECT key_id, algorithm, epoch, status, created_at, activated_at, verify_until, retired_at, revoked_at
FROM signing_keys
WHERE tenant_id = $1::uuid
  AND ($2::uuid IS NULL OR epoch < (SELECT epoch FROM signing_keys WHERE tenant_id = $1::uuid AND key_id = $2::uuid))
ORDER BY epoch DESC LIMIT $3::bigint;

--! record
SELECT key_id, algorithm, epoch, status, created_at, activated_at, verify_until, retired_at, revoked_at
FROM signing_keys
WHERE tenant_id = $1::uuid AND key_id = $2::uuid;

--! standing
-- What is to be done is decided on these.
SELECT key_id, algorithm, status, created_at, activated_at, verify_until FROM signing_keys
WHERE tenant_id = $1::uuid AND status <> 'retired' ORDER BY epoch DESC;

--! lock
-- Whoever changes a tenant's keys does it alone: two nodes publish, activate or retire
-- one after the other, and the second sees what the first did. The tenant's policy is the
-- row that always exists. It also says how long a token may live.
SELECT policy FROM security_policies WHERE tenant_id = $1::uuid FOR NO KEY UPDATE;

--! next_epoch
SELECT coalesce(max(epoch), 0) + 1 AS epoch FROM signing_keys WHERE tenant_id = $1::uuid;

--! publish
INSERT INTO signing_keys (tenant_id, key_id, algorithm, epoch, derived, wrapped_key, status, longest_lifetime_s,
    kek_epoch)
VALUES ($1::uuid, $2::uuid, $3::text, $4::integer, $5::boolean, $6::bytea, 'pre_published', $7::bigint, $8::integer);

--! demote
-- It verifies for as long as a token of it may live, and $2 seconds more, in which another
-- node may still have signed with it.
UPDATE signing_keys SET status = 'verify_only', version = version + 1,
    verify_until = app_now() + make_interval(secs => longest_lifetime_s + $2::bigint)
WHERE tenant_id = $1::uuid AND status = 'active';

--! activate
UPDATE signing_keys SET status = 'active', activated_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND key_id = $2::uuid AND status = 'pre_published';

--! retire
UPDATE signing_keys SET status = 'retired', retired_at = app_now(), wrapped_key = NULL, version = version + 1
WHERE tenant_id = $1::uuid AND key_id = $2::uuid AND status <> 'retired';

--! revoke
UPDATE signing_keys SET status = 'retired', retired_at = app_now(), revoked_at = app_now(), wrapped_key = NULL,
    version = version + 1
WHERE tenant_id = $1::uuid AND key_id = $2::uuid AND status <> 'retired';
