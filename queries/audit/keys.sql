--! add_log_key
INSERT INTO audit_log_keys (tenant_id, key_id, key_name, public_key, epoch, kek_epoch, wrapped_seed)
VALUES ($1::uuid, $2::uuid, $3::text, $4::bytea, $5::integer, $6::integer, $7::bytea);

--! log_keys_behind
-- A handful a tenant: a log has few keys in its life.
SELECT key_id, epoch, kek_epoch, wrapped_seed FROM audit_log_keys
WHERE tenant_id = $1::uuid AND kek_epoch < $2::integer ORDER BY key_id FOR UPDATE;

--! rewrap_log_key
UPDATE audit_log_keys SET kek_epoch = $3::integer, wrapped_seed = $4::bytea
WHERE tenant_id = $1::uuid AND key_id = $2::uuid;
