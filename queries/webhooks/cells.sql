--! inventory
-- What stands in every sealed column, by the keys that the headers of the values name. Reads
-- all of it: for an operator who asks, never for a request.
WITH sealed AS (
    SELECT 'webhook_endpoints' AS table_name, cell.column_name, cell.envelope
    FROM webhook_endpoints
    CROSS JOIN LATERAL (VALUES ('secret_sealed', secret_sealed), ('previous_secret_sealed', previous_secret_sealed))
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

--! secret_behind
-- How many of the tenant's own values another key than $2 seals.
SELECT count(*) AS behind FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND substring(secret_sealed FROM 2 FOR 16) <> uuid_send($2::uuid);

--! secret_page
-- Those after row $3, in order.
SELECT id, secret_sealed AS sealed FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND id > $3::uuid
    AND substring(secret_sealed FROM 2 FOR 16) <> uuid_send($2::uuid)
ORDER BY id LIMIT $4::bigint;

--! secret_write
-- What somebody changed since it was read stays what they made of it.
UPDATE webhook_endpoints SET secret_sealed = anew.sealed
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, sealed)
WHERE webhook_endpoints.tenant_id = $1::uuid AND webhook_endpoints.id = anew.id AND webhook_endpoints.secret_sealed = anew.before;

--! previous_secret_behind
-- How many of the tenant's own values another key than $2 seals.
SELECT count(*) AS behind FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND substring(previous_secret_sealed FROM 2 FOR 16) <> uuid_send($2::uuid);

--! previous_secret_page
-- Those after row $3, in order.
SELECT id, previous_secret_sealed AS sealed FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND id > $3::uuid
    AND substring(previous_secret_sealed FROM 2 FOR 16) <> uuid_send($2::uuid)
ORDER BY id LIMIT $4::bigint;

--! previous_secret_write
-- What somebody changed since it was read stays what they made of it.
UPDATE webhook_endpoints SET previous_secret_sealed = anew.sealed
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, sealed)
WHERE webhook_endpoints.tenant_id = $1::uuid AND webhook_endpoints.id = anew.id AND webhook_endpoints.previous_secret_sealed = anew.before;
