--! insert
INSERT INTO notices (tenant_id, id, user_id, channel, template, recipient_sealed, values_sealed, expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::bytea, $7::bytea, $8::timestamptz);
