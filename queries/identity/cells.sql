--! inventory
-- What stands in every sealed column, by the keys that the headers of the values name. Reads
-- all of it: for an operator who asks, never for a request.
WITH sealed AS (
    SELECT 'users' AS table_name, cell.column_name, cell.envelope
    FROM users
    CROSS JOIN LATERAL (VALUES ('email_sealed', email_sealed), ('phone_sealed', phone_sealed),
        ('full_name_sealed', full_name_sealed)) AS cell (column_name, envelope)
    WHERE tenant_id = $1::uuid
    UNION ALL
    SELECT 'one_time_tokens', 'payload_sealed', payload_sealed FROM one_time_tokens WHERE tenant_id = $1::uuid
    UNION ALL
    SELECT 'mfa_configs', 'secret_sealed', secret_sealed FROM mfa_configs WHERE tenant_id = $1::uuid
    UNION ALL
    SELECT 'webauthn_credentials', 'name_sealed', name_sealed FROM webauthn_credentials WHERE tenant_id = $1::uuid
), by_key AS (
    SELECT table_name, column_name, encode(substring(envelope FROM 2 FOR 16), 'hex')::uuid AS key_id, count(*) AS sealed
    FROM sealed WHERE envelope IS NOT NULL GROUP BY 1, 2, 3
)
SELECT by_key.table_name, by_key.column_name, coalesce(standing.purpose, 'unknown') AS purpose, standing.epoch,
    coalesce(standing.status, 'unknown') AS status, count(*) AS key_count,
    sum(by_key.sealed)::bigint AS value_count
FROM by_key
LEFT JOIN key_standings standing ON standing.tenant_id = $1::uuid AND standing.key_id = by_key.key_id
GROUP BY 1, 2, 3, 4, 5
UNION ALL
-- A blind index names the generation of its key by its first byte.
SELECT indexed.table_name, indexed.column_name, 'blind_index', indexed.epoch,
    coalesce(made_by.status, 'unknown'), 1, indexed.value_count
FROM (
    SELECT 'users' AS table_name, cell.column_name, get_byte(cell.index, 0) AS epoch, count(*) AS value_count
    FROM users CROSS JOIN LATERAL (VALUES ('email_index', email_index), ('phone_index', phone_index)) AS cell (column_name, index)
    WHERE tenant_id = $1::uuid AND cell.index IS NOT NULL GROUP BY 1, 2, 3
) AS indexed
LEFT JOIN data_keys made_by ON made_by.tenant_id = $1::uuid AND made_by.purpose = 'blind_index'
    AND made_by.epoch = indexed.epoch
ORDER BY 1, 2, 3, 4;

--! email_index_behind
-- How many addresses another generation than $2 indexes.
SELECT count(*) AS behind FROM users WHERE tenant_id = $1::uuid AND get_byte(email_index, 0) <> $2::integer;

--! email_index_page
-- Those after row $3, in order, with the key that opens them.
SELECT person.id, person.email_sealed AS sealed, person.email_index AS before, subject.key_id, subject.kek_epoch,
    subject.wrapped_key
FROM users person
JOIN subject_keys subject ON subject.tenant_id = person.tenant_id AND subject.subject_id = person.id
WHERE person.tenant_id = $1::uuid AND person.id > $3::uuid AND get_byte(person.email_index, 0) <> $2::integer
ORDER BY person.id LIMIT $4::bigint;

--! email_index_write
-- What somebody changed since it was read stays what they made of it.
UPDATE users SET email_index = anew.index
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, index)
WHERE users.tenant_id = $1::uuid AND users.id = anew.id AND users.email_index = anew.before;

--! phone_index_behind
-- How many telephone numbers another generation than $2 indexes.
SELECT count(*) AS behind FROM users WHERE tenant_id = $1::uuid AND get_byte(phone_index, 0) <> $2::integer;

--! phone_index_page
-- Those after row $3, in order, with the key that opens them.
SELECT person.id, person.phone_sealed AS sealed, person.phone_index AS before, subject.key_id, subject.kek_epoch,
    subject.wrapped_key
FROM users person
JOIN subject_keys subject ON subject.tenant_id = person.tenant_id AND subject.subject_id = person.id
WHERE person.tenant_id = $1::uuid AND person.id > $3::uuid AND get_byte(person.phone_index, 0) <> $2::integer
ORDER BY person.id LIMIT $4::bigint;

--! phone_index_write
-- What somebody changed since it was read stays what they made of it.
UPDATE users SET phone_index = anew.index
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, index)
WHERE users.tenant_id = $1::uuid AND users.id = anew.id AND users.phone_index = anew.before;
