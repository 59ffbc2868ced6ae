--! add_log_key
INSERT INTO audit_log_keys (tenant_id, key_id, key_name, public_key, epoch, kek_epoch, wrapped_seed)
VALUES ($1::uuid, $2::uuid, $3::text, $4::bytea, $5::integer, $6::integer, $7::bytea);
