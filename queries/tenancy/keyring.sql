--! insert_kek
INSERT INTO tenant_keks (tenant_id, purpose, epoch, key_id, wrapped_key, status)
VALUES ($1::uuid, $2::text, $3::integer, $4::uuid, $5::bytea, 'active');

--! insert_data_key
INSERT INTO data_keys (tenant_id, key_id, purpose, epoch, kek_purpose, kek_epoch, wrapped_key, status)
VALUES ($1::uuid, $2::uuid, $3::text, $4::integer, $5::text, $6::integer, $7::bytea, 'active');

--! keks
-- Every generation, the destroyed ones as well: what they wrapped is told from what is unknown.
SELECT purpose, epoch, key_id, wrapped_key, status FROM tenant_keks
WHERE tenant_id = $1::uuid ORDER BY purpose, epoch;

--! data_keys
SELECT purpose, epoch, key_id, kek_purpose, kek_epoch, wrapped_key, status FROM data_keys
WHERE tenant_id = $1::uuid ORDER BY purpose, epoch;

--! insert_subject_key
INSERT INTO subject_keys (tenant_id, subject_id, key_id, kek_epoch, wrapped_key)
SELECT $1::uuid, made.subject_id, made.key_id, $4::integer, made.wrapped_key
FROM unnest($2::uuid[], $3::uuid[], $5::bytea[]) AS made (subject_id, key_id, wrapped_key);

--! subject_keys
-- A shredded subject has a row without a key: what was sealed for them stays closed.
SELECT subject_id, key_id, kek_epoch, wrapped_key FROM subject_keys
WHERE tenant_id = $1::uuid AND subject_id = ANY ($2::uuid[]);

--! renew_subject_key
SELECT renew_subject_key($1::uuid, $2::uuid, $3::integer, $4::bytea) AS renewed;
