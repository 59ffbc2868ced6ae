--! keks
-- Every generation of what wraps the keys of people, fields and indexes.
SELECT to_jsonb(kek)::text AS line FROM tenant_keks kek
WHERE tenant_id = $1::uuid AND purpose = 'field_kek' ORDER BY epoch;

--! data_keys
SELECT to_jsonb(key)::text AS line FROM data_keys key
WHERE tenant_id = $1::uuid AND kek_purpose = 'field_kek' ORDER BY purpose, epoch;

--! subjects
-- Those after subject $2, in order. What was erased has no key to tell.
SELECT subject_id, jsonb_build_object('subject_id', subject_id, 'key_id', key_id, 'kek_epoch', kek_epoch,
    'wrapped_key', wrapped_key, 'shredded_at', shredded_at)::text AS line
FROM subject_keys WHERE tenant_id = $1::uuid AND subject_id > $2::uuid ORDER BY subject_id LIMIT $3::bigint;

--! shredded_before
-- Keys of people who were erased and restored since.
SELECT jsonb_build_object('subject_id', subject_id, 'key_id', key_id, 'wrapped_key', NULL,
    'shredded_at', shredded_at)::text AS line
FROM shredded_subject_keys WHERE tenant_id = $1::uuid ORDER BY key_id;

--! strangers
-- Generations that both have and that are not the same key: the two went different ways.
SELECT
    (SELECT count(*) FROM jsonb_populate_recordset(NULL::tenant_keks, $2::text::jsonb) theirs
     JOIN tenant_keks ours USING (tenant_id, purpose, epoch) WHERE ours.key_id <> theirs.key_id)
    + (SELECT count(*) FROM jsonb_populate_recordset(NULL::data_keys, $3::text::jsonb) theirs
       JOIN data_keys ours USING (tenant_id, purpose, epoch) WHERE ours.key_id <> theirs.key_id)
    + (SELECT count(*) FROM (
        SELECT tenant_id FROM jsonb_populate_recordset(NULL::tenant_keks, $2::text::jsonb)
        UNION ALL SELECT tenant_id FROM jsonb_populate_recordset(NULL::data_keys, $3::text::jsonb)) named
       WHERE named.tenant_id <> $1::uuid) AS strangers;

--! retire_keks
UPDATE tenant_keks SET status = 'retired'
FROM jsonb_populate_recordset(NULL::tenant_keks, $2::text::jsonb) theirs
WHERE tenant_keks.tenant_id = $1::uuid AND tenant_keks.key_id = theirs.key_id
    AND tenant_keks.status = 'active' AND theirs.status <> 'active';

--! insert_keks
INSERT INTO tenant_keks (tenant_id, purpose, epoch, key_id, wrapped_key, status, created_at, retired_at, destroyed_at)
SELECT $1::uuid, purpose, epoch, key_id, wrapped_key, status, created_at, retired_at, destroyed_at
FROM jsonb_populate_recordset(NULL::tenant_keks, $2::text::jsonb) WHERE wrapped_key IS NOT NULL
ON CONFLICT DO NOTHING;

--! retire_data_keys
UPDATE data_keys SET status = 'retired'
FROM jsonb_populate_recordset(NULL::data_keys, $2::text::jsonb) theirs
WHERE data_keys.tenant_id = $1::uuid AND data_keys.key_id = theirs.key_id
    AND data_keys.status = 'active' AND theirs.status <> 'active';

--! destroy_data_keys
UPDATE data_keys SET status = 'destroyed', wrapped_key = NULL, destroyed_at = theirs.destroyed_at
FROM jsonb_populate_recordset(NULL::data_keys, $2::text::jsonb) theirs
WHERE data_keys.tenant_id = $1::uuid AND data_keys.key_id = theirs.key_id
    AND data_keys.status = 'retired' AND theirs.status = 'destroyed';

--! insert_data_keys
INSERT INTO data_keys (tenant_id, key_id, purpose, epoch, kek_purpose, kek_epoch, wrapped_key, status, created_at,
    retired_at, destroyed_at)
SELECT $1::uuid, key_id, purpose, epoch, kek_purpose, kek_epoch, wrapped_key, status, created_at, retired_at, destroyed_at
FROM jsonb_populate_recordset(NULL::data_keys, $2::text::jsonb) WHERE wrapped_key IS NOT NULL
ON CONFLICT DO NOTHING;

--! rewrap_data_keys
UPDATE data_keys SET kek_epoch = theirs.kek_epoch, wrapped_key = theirs.wrapped_key
FROM jsonb_populate_recordset(NULL::data_keys, $2::text::jsonb) theirs
WHERE data_keys.tenant_id = $1::uuid AND data_keys.key_id = theirs.key_id AND data_keys.wrapped_key IS NOT NULL
    AND theirs.wrapped_key IS NOT NULL AND theirs.kek_epoch > data_keys.kek_epoch;

--! rewrap_subjects
UPDATE subject_keys SET kek_epoch = theirs.kek_epoch, wrapped_key = theirs.wrapped_key
FROM jsonb_populate_recordset(NULL::subject_keys, $2::text::jsonb) theirs
WHERE subject_keys.tenant_id = $1::uuid AND subject_keys.subject_id = theirs.subject_id
    AND subject_keys.key_id = theirs.key_id AND subject_keys.wrapped_key IS NOT NULL
    AND theirs.wrapped_key IS NOT NULL AND theirs.kek_epoch > subject_keys.kek_epoch;

--! erased
-- Who was erased and lives here.
SELECT ours.subject_id FROM jsonb_populate_recordset(NULL::subject_keys, $2::text::jsonb) theirs
JOIN subject_keys ours ON ours.tenant_id = $1::uuid AND ours.subject_id = theirs.subject_id
    AND ours.key_id = theirs.key_id AND ours.wrapped_key IS NOT NULL
WHERE theirs.wrapped_key IS NULL ORDER BY ours.subject_id;

--! shred
-- Everything of a person; of anybody else their key.
WITH person AS (SELECT shred_user($2::uuid) AS was_one)
UPDATE subject_keys SET wrapped_key = NULL, shredded_at = app_now() FROM person
WHERE NOT person.was_one AND tenant_id = $1::uuid AND subject_id = $2::uuid AND wrapped_key IS NOT NULL;

--! destroy_keks
-- Those that nothing here is wrapped by any more; others stay, and what they wrap stays closed.
UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = theirs.destroyed_at
FROM jsonb_populate_recordset(NULL::tenant_keks, $2::text::jsonb) theirs
WHERE tenant_keks.tenant_id = $1::uuid AND tenant_keks.key_id = theirs.key_id
    AND tenant_keks.status = 'retired' AND theirs.status = 'destroyed'
    AND NOT EXISTS (SELECT FROM subject_keys held WHERE held.tenant_id = $1::uuid AND held.kek_purpose = tenant_keks.purpose
        AND held.kek_epoch = tenant_keks.epoch AND held.wrapped_key IS NOT NULL)
    AND NOT EXISTS (SELECT FROM data_keys held WHERE held.tenant_id = $1::uuid AND held.kek_purpose = tenant_keks.purpose
        AND held.kek_epoch = tenant_keks.epoch AND held.wrapped_key IS NOT NULL);
