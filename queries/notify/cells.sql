--! inventory
-- What stands in every sealed column, by the keys that the headers of the values name. Reads
-- all of it: for an operator who asks, never for a request.
WITH sealed AS (
    SELECT 'notices' AS table_name, cell.column_name, cell.envelope
    FROM notices
    CROSS JOIN LATERAL (VALUES ('recipient_sealed', recipient_sealed), ('values_sealed', values_sealed))
        AS cell (column_name, envelope)
    WHERE tenant_id = $1::uuid
), by_key AS (
    SELECT table_name, column_name, encode(substring(envelope FROM 2 FOR 16), 'hex')::uuid AS key_id, count(*) AS sealed
    FROM sealed WHERE envelope IS NOT NULL GROUP BY 1, 2, 3
)
SELECT by_key.table_name, by_key.column_name, coalesce(standing.purpose, 'unknown') AS purpose, standing.epoch,
    coalesce(standing.status, 'unknown') AS status, count(*) AS key_count,
    sum(by_key.sealed)::bigint AS value_count
FROM by_key
LEFT JOIN key_standings standing ON standing.tenant_id = $1::uuid AND standing.key_id = by_key.key_id
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4;

--! recipient_behind
-- How many of the tenant's own values another key than $2 seals.
SELECT count(*) AS behind FROM notices
WHERE tenant_id = $1::uuid AND user_id IS NULL AND substring(recipient_sealed FROM 2 FOR 16) <> uuid_send($2::uuid);

--! recipient_page
-- Those after row $3, in order.
SELECT id, recipient_sealed AS sealed FROM notices
WHERE tenant_id = $1::uuid AND user_id IS NULL AND id > $3::uuid
    AND substring(recipient_sealed FROM 2 FOR 16) <> uuid_send($2::uuid)
ORDER BY id LIMIT $4::bigint;

--! recipient_write
-- What somebody changed since it was read stays what they made of it.
UPDATE notices SET recipient_sealed = anew.sealed
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, sealed)
WHERE notices.tenant_id = $1::uuid AND notices.id = anew.id AND notices.recipient_sealed = anew.before;

--! values_behind
-- How many of the tenant's own values another key than $2 seals.
SELECT count(*) AS behind FROM notices
WHERE tenant_id = $1::uuid AND user_id IS NULL AND substring(values_sealed FROM 2 FOR 16) <> uuid_send($2::uuid);

--! values_page
-- Those after row $3, in order.
SELECT id, values_sealed AS sealed FROM notices
WHERE tenant_id = $1::uuid AND user_id IS NULL AND id > $3::uuid
    AND substring(values_sealed FROM 2 FOR 16) <> uuid_send($2::uuid)
ORDER BY id LIMIT $4::bigint;

--! values_write
-- What somebody changed since it was read stays what they made of it.
UPDATE notices SET values_sealed = anew.sealed
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, sealed)
WHERE notices.tenant_id = $1::uuid AND notices.id = anew.id AND notices.values_sealed = anew.before;
