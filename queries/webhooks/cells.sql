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
