--! waiting
-- Asked every second of every tenant, so it locks nothing. Both are judged as `fan_out` and
-- `claim` judge them, so that what they would leave alone wakes nobody.
SELECT EXISTS (
        SELECT 1 FROM webhook_endpoints endpoint
        WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'active'
          AND endpoint.position < (SELECT max(position) FROM events WHERE tenant_id = $1::uuid)
          AND NOT EXISTS (
              SELECT 1 FROM webhook_deliveries waiting
              WHERE waiting.tenant_id = $1::uuid AND waiting.endpoint_id = endpoint.id AND waiting.status = 'pending'
              OFFSET $2::bigint - 1)) AS any_unread,
    EXISTS (
        SELECT 1 FROM webhook_endpoints endpoint
        JOIN webhook_deliveries delivery ON delivery.tenant_id = $1::uuid AND delivery.endpoint_id = endpoint.id
        WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'active' AND endpoint.resting_until <= app_now()
          AND delivery.status = 'pending' AND delivery.next_attempt_at <= app_now()
          AND NOT EXISTS (
              SELECT 1 FROM webhook_deliveries earlier
              WHERE earlier.tenant_id = $1::uuid AND earlier.endpoint_id = endpoint.id AND earlier.status = 'pending'
                AND earlier.object_id = delivery.object_id AND earlier.position < delivery.position)) AS any_due;

--! fan_out
-- The next $2 positions of every endpoint that is behind and for which fewer than $3
-- deliveries wait: the log itself is the queue of whoever takes nothing. Another node's
-- endpoints are skipped; a position that was moved meanwhile is judged again under the lock.
WITH reading AS (
    SELECT endpoint.id, endpoint.position, endpoint.event_types,
        least(endpoint.position + $2::bigint,
            (SELECT max(newest.position) FROM events newest WHERE newest.tenant_id = $1::uuid)) AS looked_to
    FROM webhook_endpoints endpoint
    WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'active'
      AND endpoint.position < (SELECT max(newest.position) FROM events newest WHERE newest.tenant_id = $1::uuid)
      AND NOT EXISTS (
          SELECT 1 FROM webhook_deliveries waiting
          WHERE waiting.tenant_id = $1::uuid AND waiting.endpoint_id = endpoint.id AND waiting.status = 'pending'
          OFFSET $3::bigint - 1)
    FOR UPDATE SKIP LOCKED
), added AS (
    INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, position, event_type, object_type, object_id, sequence)
    SELECT $1::uuid, reading.id, event.event_id, event.position, event.event_type, event.object_type, event.object_id,
        event.sequence
    FROM reading
    JOIN events event ON event.tenant_id = $1::uuid AND event.position > reading.position
        AND event.position <= reading.looked_to AND event.event_type = ANY (reading.event_types)
    ON CONFLICT (tenant_id, endpoint_id, event_id) DO NOTHING
)
UPDATE webhook_endpoints endpoint SET position = reading.looked_to
FROM reading
WHERE endpoint.tenant_id = $1::uuid AND endpoint.id = reading.id;

--! claim
-- A lease, as of notices: $2 deliveries an endpoint, of each object the first that is pending
-- and no other, so that an object's events arrive in the order of its versions. Of the
-- endpoints $4 this node waits for an answer already.
WITH due AS (
    SELECT endpoint.id AS endpoint_id, picked.event_id, endpoint.url, endpoint.secret_sealed,
        CASE WHEN endpoint.previous_until > app_now() THEN endpoint.previous_secret_sealed END AS previous_secret_sealed
    FROM webhook_endpoints endpoint
    CROSS JOIN LATERAL (
        SELECT delivery.event_id
        FROM webhook_deliveries delivery
        WHERE delivery.tenant_id = $1::uuid AND delivery.endpoint_id = endpoint.id AND delivery.status = 'pending'
          AND delivery.next_attempt_at <= app_now()
          AND NOT EXISTS (
              SELECT 1 FROM webhook_deliveries earlier
              WHERE earlier.tenant_id = $1::uuid AND earlier.endpoint_id = endpoint.id AND earlier.status = 'pending'
                AND earlier.object_id = delivery.object_id AND earlier.position < delivery.position)
        ORDER BY delivery.next_attempt_at, delivery.position
        LIMIT $2::bigint
        FOR UPDATE SKIP LOCKED) picked
    WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'active' AND endpoint.resting_until <= app_now()
      AND endpoint.id <> ALL ($4::uuid[])
)
UPDATE webhook_deliveries delivery
SET lease = delivery.lease + 1, attempts = delivery.attempts + 1,
    next_attempt_at = app_now() + make_interval(secs => $3::double precision)
FROM due
LEFT JOIN audit_log record ON record.tenant_id = $1::uuid AND record.event_id = due.event_id
WHERE delivery.tenant_id = $1::uuid AND delivery.endpoint_id = due.endpoint_id AND delivery.event_id = due.event_id
RETURNING delivery.endpoint_id, delivery.event_id, delivery.position, delivery.event_type, delivery.object_type,
    delivery.object_id, delivery.sequence, delivery.lease, delivery.attempts, due.url, due.secret_sealed,
    due.previous_secret_sealed, coalesce(record.occurred_at, delivery.created_at) AS occurred_at, record.new_values;

--! record
-- Of one endpoint; of the lease that each was tried under, and no later one.
UPDATE webhook_deliveries delivery
SET status = tried.status, next_attempt_at = tried.next_attempt_at, last_status = tried.last_status,
    last_error = tried.error, duration_ms = tried.duration_ms,
    delivered_at = CASE WHEN tried.status = 'delivered' THEN app_now() END
FROM unnest($3::uuid[], $4::bigint[], $5::text[], $6::timestamptz[], $7::integer[], $8::text[], $9::bigint[])
    AS tried (event_id, lease, status, next_attempt_at, last_status, error, duration_ms)
WHERE delivery.tenant_id = $1::uuid AND delivery.endpoint_id = $2::uuid
  AND delivery.event_id = tried.event_id AND delivery.lease = tried.lease AND delivery.status = 'pending';

--! note
-- How an endpoint fared: whoever took anything is well. Whoever did not rests $4 seconds,
-- and twice as long each time, up to 64 times as long.
UPDATE webhook_endpoints
SET failing_since = CASE WHEN NOT $3::boolean THEN coalesce(failing_since, app_now()) END,
    failures = CASE WHEN $3::boolean THEN 0 ELSE least(failures + 1, 1000) END,
    resting_until = CASE WHEN $3::boolean THEN resting_until
        ELSE app_now() + make_interval(secs => $4::double precision * power(2, least(failures, 6))) END
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'active' AND (NOT $3::boolean OR failures > 0);

--! lost
-- Whether an endpoint has taken nothing for five days.
SELECT 1 FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'active'
  AND failing_since < app_now() - interval '5 days';

--! list
SELECT event_id, position, event_type, object_type, object_id, sequence, status, attempts,
    CASE WHEN status = 'pending' THEN next_attempt_at END AS next_attempt_at, last_status, last_error, duration_ms,
    delivered_at, created_at
FROM webhook_deliveries
WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid AND ($3::uuid IS NULL OR event_id < $3)
  AND ($4::text IS NULL OR status = $4) AND object_type = ANY ($6::text[])
ORDER BY event_id DESC LIMIT $5::bigint;

--! test
INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, event_type, object_type, object_id, sequence)
VALUES ($1::uuid, $2::uuid, $3::uuid, 'webhook.test', 'webhook', $2::uuid, $4::bigint);

--! replay
-- Of what the endpoint has read already; the rest comes by itself. What is pending stays as
-- it is. One row an event, up to $5.
INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, position, event_type, object_type, object_id, sequence)
SELECT $1::uuid, endpoint.id, event.event_id, event.position, event.event_type, event.object_type, event.object_id,
    event.sequence
FROM webhook_endpoints endpoint
JOIN events event ON event.tenant_id = $1::uuid AND event.position <= endpoint.position
    AND event.event_type = ANY (endpoint.event_types)
WHERE endpoint.tenant_id = $1::uuid AND endpoint.id = $2::uuid AND endpoint.status <> 'deleted'
  AND (event.position >= $3::bigint OR event.event_id = ANY ($4::uuid[]))
ORDER BY event.position
LIMIT $5::bigint
ON CONFLICT (tenant_id, endpoint_id, event_id) DO UPDATE
SET status = 'pending', attempts = 0, delivered_at = NULL,
    next_attempt_at = CASE WHEN webhook_deliveries.status = 'pending' THEN webhook_deliveries.next_attempt_at
        ELSE app_now() END
RETURNING event_id;

--! backlog
SELECT count(*)::bigint AS waiting, min(delivery.created_at) AS oldest_at
FROM webhook_deliveries delivery
JOIN webhook_endpoints endpoint ON endpoint.tenant_id = $1::uuid AND endpoint.id = delivery.endpoint_id
WHERE delivery.tenant_id = $1::uuid AND delivery.status = 'pending' AND endpoint.status = 'active';

--! forget
-- What is 30 days old, pending or not: its event is forgotten, too. A thousand at a time, so
-- that no backlog outlasts a statement.
DELETE FROM webhook_deliveries
WHERE tenant_id = $1::uuid AND (endpoint_id, event_id) IN (
    SELECT endpoint_id, event_id FROM webhook_deliveries
    WHERE tenant_id = $1::uuid AND created_at < app_now() - interval '30 days'
    ORDER BY created_at
    LIMIT 1000);

--! forget_deleted
-- A thousand of the deliveries of endpoints that are deleted.
DELETE FROM webhook_deliveries
WHERE tenant_id = $1::uuid AND (endpoint_id, event_id) IN (
    SELECT delivery.endpoint_id, delivery.event_id
    FROM webhook_endpoints endpoint
    JOIN webhook_deliveries delivery ON delivery.tenant_id = $1::uuid AND delivery.endpoint_id = endpoint.id
    WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'deleted'
    LIMIT 1000);
