--! insert_kek
INSERT INTO tenant_keks (tenant_id, purpose, epoch, key_id, wrapped_key, status)
VALUES ($1::uuid, $2::text, $3::integer, $4::uuid, $5::bytea, 'active');

--! insert_data_key
INSERT INTO data_keys (tenant_id, key_id, purpose, epoch, kek_purpose, kek_epoch, wrapped_key, status)
VALUES ($1::uuid, $2::uuid, $3::text, $4::integer, $5::text, $6::integer, $7::bytea, 'active');

--! keks
-- Every generation, the destroyed ones as well: what they wrapped is told from what is unknown.
SELECT purpose, epoch, key_id, wrapped_key, status, true AS is_settled FROM tenant_keks
WHERE tenant_id = $1::uuid ORDER BY purpose, epoch;

--! data_keys
-- A generation is settled when every node has read of it: they read a tenant's keys each second.
SELECT purpose, epoch, key_id, kek_purpose, kek_epoch, wrapped_key, status,
    created_at <= app_now() - interval '5 seconds' AS is_settled
FROM data_keys
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

--! lock_keys
-- One change of a tenant's keys at a time. A statement of its own: what follows it sees what
-- was committed before.
SELECT pg_advisory_xact_lock(hashtextextended('tenant_keys/' || $1::uuid::text, 0));

--! retire_kek
UPDATE tenant_keks SET status = 'retired'
WHERE tenant_id = $1::uuid AND purpose = $2::text AND status = 'active';

--! retire_data_key
UPDATE data_keys SET status = 'retired'
WHERE tenant_id = $1::uuid AND purpose = $2::text AND status = 'active';

--! rewrap_data_keys
UPDATE data_keys SET kek_epoch = anew.kek_epoch, wrapped_key = anew.wrapped_key
FROM unnest($2::uuid[], $3::integer[], $4::bytea[]) AS anew (key_id, kek_epoch, wrapped_key)
WHERE data_keys.tenant_id = $1::uuid AND data_keys.key_id = anew.key_id;

--! subject_keys_behind
-- In order of their index; who erases a person meanwhile is waited for.
SELECT subject_id, key_id, kek_epoch, wrapped_key FROM subject_keys
WHERE tenant_id = $1::uuid AND kek_epoch < $2::integer AND wrapped_key IS NOT NULL
ORDER BY kek_epoch, subject_id LIMIT $3::bigint FOR UPDATE;

--! rewrap_subject_keys
UPDATE subject_keys SET kek_epoch = $2::integer, wrapped_key = anew.wrapped_key
FROM unnest($3::uuid[], $4::bytea[]) AS anew (subject_id, wrapped_key)
WHERE subject_keys.tenant_id = $1::uuid AND subject_keys.subject_id = anew.subject_id;

--! kek_generation
SELECT status, coalesce(retired_at, created_at) AS retired_at FROM tenant_keks
WHERE tenant_id = $1::uuid AND purpose = $2::text AND epoch = $3::integer;

--! data_key_generation
SELECT status, coalesce(retired_at, created_at) AS retired_at FROM data_keys
WHERE tenant_id = $1::uuid AND purpose = $2::text AND epoch = $3::integer;

--! wrapped_by_kek
-- What a KEK still wraps, by kind.
SELECT
    (SELECT count(*) FROM data_keys WHERE tenant_id = $1::uuid AND kek_purpose = $2::text
        AND kek_epoch = $3::integer AND wrapped_key IS NOT NULL) AS data_keys,
    (SELECT count(*) FROM subject_keys WHERE tenant_id = $1::uuid AND kek_purpose = $2::text
        AND kek_epoch = $3::integer AND wrapped_key IS NOT NULL) AS subject_keys,
    (SELECT count(*) FROM signing_keys WHERE tenant_id = $1::uuid AND kek_purpose = $2::text
        AND kek_epoch = $3::integer AND wrapped_key IS NOT NULL) AS signing_keys,
    (SELECT count(*) FROM audit_log_keys WHERE tenant_id = $1::uuid AND kek_purpose = $2::text
        AND kek_epoch = $3::integer) AS log_keys;

--! destroy_kek
UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = app_now()
WHERE tenant_id = $1::uuid AND purpose = $2::text AND epoch = $3::integer AND status = 'retired';

--! destroy_data_key
UPDATE data_keys SET status = 'destroyed', wrapped_key = NULL, destroyed_at = app_now()
WHERE tenant_id = $1::uuid AND purpose = $2::text AND epoch = $3::integer AND status = 'retired';

--! key_generations
-- Every generation of the keys that can be rotated, newest first, and how many keys a KEK
-- still wraps; log keys among them, whatever their state.
SELECT kek.purpose, kek.epoch, kek.key_id, kek.status, kek.created_at, kek.retired_at, kek.destroyed_at,
    wrapped.keys AS wrapped_keys
FROM tenant_keks AS kek
CROSS JOIN LATERAL (SELECT
    (SELECT count(*) FROM data_keys AS d WHERE d.tenant_id = kek.tenant_id AND d.kek_purpose = kek.purpose
        AND d.kek_epoch = kek.epoch AND d.wrapped_key IS NOT NULL)
    + (SELECT count(*) FROM subject_keys AS s WHERE s.tenant_id = kek.tenant_id AND s.kek_purpose = kek.purpose
        AND s.kek_epoch = kek.epoch AND s.wrapped_key IS NOT NULL)
    + (SELECT count(*) FROM signing_keys AS g WHERE g.tenant_id = kek.tenant_id AND g.kek_purpose = kek.purpose
        AND g.kek_epoch = kek.epoch AND g.wrapped_key IS NOT NULL)
    + (SELECT count(*) FROM audit_log_keys AS l WHERE l.tenant_id = kek.tenant_id AND l.kek_purpose = kek.purpose
        AND l.kek_epoch = kek.epoch) AS keys) AS wrapped
WHERE kek.tenant_id = $1::uuid
UNION ALL
SELECT purpose, epoch, key_id, status, created_at, retired_at, destroyed_at, NULL FROM data_keys
WHERE tenant_id = $1::uuid AND purpose IN ('field_data', 'blind_index')
ORDER BY purpose, epoch DESC;
