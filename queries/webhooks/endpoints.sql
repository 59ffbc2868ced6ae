--! lock_all
-- One creation of a tenant at a time, so that its bound holds.
SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoints ' || $1::uuid::text, 0));

--! count
SELECT count(*)::bigint AS count FROM webhook_endpoints WHERE tenant_id = $1::uuid AND status <> 'deleted';

--! create
-- It hears of what happens from now on.
INSERT INTO webhook_endpoints (tenant_id, id, url, secret_sealed, event_types, created_by, position)
VALUES ($1::uuid, $2::uuid, $3::text, $4::bytea, $5::text[], $6::uuid,
    (SELECT coalesce(max(position), 0) FROM events WHERE tenant_id = $1::uuid));

--! one
SELECT id, url, event_types, status, position, failing_since,
    CASE WHEN previous_until > app_now() THEN previous_until END AS previous_until, created_by, version, created_at
FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status <> 'deleted';

--! list
SELECT id, url, event_types, status, position, failing_since,
    CASE WHEN previous_until > app_now() THEN previous_until END AS previous_until, created_by, version, created_at
FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND status <> 'deleted' AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3::bigint;

--! lock
SELECT url, event_types, status, secret_sealed, version FROM webhook_endpoints
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status <> 'deleted' FOR UPDATE;

--! change
-- What is enabled again begins anew, and reads on where it stopped.
UPDATE webhook_endpoints SET url = $3::text, event_types = $4::text[],
    failing_since = CASE WHEN status = $5::text THEN failing_since END,
    failures = CASE WHEN status = $5::text THEN failures ELSE 0 END,
    resting_until = CASE WHEN status = $5::text THEN resting_until ELSE app_now() END,
    status = $5::text, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! rotate
-- $5 seconds of overlap; none leaves no earlier secret.
UPDATE webhook_endpoints SET secret_sealed = $3::bytea,
    previous_secret_sealed = CASE WHEN $5::bigint > 0 THEN $4::bytea END,
    previous_until = CASE WHEN $5::bigint > 0 THEN app_now() + make_interval(secs => $5::bigint) END,
    version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! delete
-- It is gone for everybody; the row goes when its deliveries have gone.
UPDATE webhook_endpoints
SET status = 'deleted', previous_secret_sealed = NULL, previous_until = NULL, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! forget
DELETE FROM webhook_endpoints endpoint
WHERE endpoint.tenant_id = $1::uuid AND endpoint.status = 'deleted' AND NOT EXISTS (
    SELECT 1 FROM webhook_deliveries delivery
    WHERE delivery.tenant_id = $1::uuid AND delivery.endpoint_id = endpoint.id);

--! suspend
-- The conditional UPDATE is what does it: of two nodes one finds a row.
UPDATE webhook_endpoints SET status = 'failing', version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'active' AND failing_since IS NOT NULL
RETURNING failing_since;
