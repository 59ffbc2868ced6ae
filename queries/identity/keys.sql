--! create
INSERT INTO signing_keys (tenant_id, key_id, algorithm, epoch, derived, wrapped_key, status, activated_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::integer, $5::boolean, $6::bytea, 'active', app_now());

--! list
-- Retired keys verify nothing and are not loaded.
SELECT key_id, algorithm, epoch, derived, wrapped_key, status FROM signing_keys
WHERE tenant_id = $1::uuid AND status <> 'retired' ORDER BY epoch DESC;
