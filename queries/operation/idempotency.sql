--! claim
-- Claims keys for the length of the transaction. An advisory lock rather than a
-- row: a claim that dies with its connection leaves nothing behind, and a second
-- request learns at once that the first is in flight instead of waiting for it.
SELECT claim.ordinality - 1 AS position, pg_try_advisory_xact_lock(hashtextextended(claim.name, 0)) AS claimed
FROM unnest($1::text[]) WITH ORDINALITY AS claim (name, ordinality)
ORDER BY claim.ordinality;

--! find
-- Runs after the claim, so that its snapshot sees every answer that was committed
-- before the lock was free.
SELECT wanted.ordinality - 1 AS position, stored.request_hash, stored.status, stored.response
FROM unnest($2::uuid[], $4::text[]) WITH ORDINALITY AS wanted (principal_id, idempotency_key, ordinality)
CROSS JOIN LATERAL (
    -- OFFSET 0: an index lookup for each key, however many keys the week has left here.
    SELECT known.request_hash, known.status, known.response
    FROM idempotency_keys known
    WHERE known.tenant_id = $1::uuid AND known.principal_id = wanted.principal_id
      AND known.command = $3::text AND known.idempotency_key = wanted.idempotency_key
    OFFSET 0
) stored;

--! store
INSERT INTO idempotency_keys (tenant_id, principal_id, command, idempotency_key, request_hash, status, response, created_at)
SELECT $1::uuid, answered.principal_id, $3::text, answered.idempotency_key, answered.request_hash, answered.status,
       answered.response, app_now()
FROM unnest($2::uuid[], $4::text[], $5::bytea[], $6::smallint[], $7::jsonb[])
  AS answered (principal_id, idempotency_key, request_hash, status, response);

--! forget_old
-- Answers are remembered for seven days. So many of them at a time, oldest first: a
-- busy tenant's hour is more than one statement may take. Nobody changes an answer, so
-- its ctid is its own until it is deleted; where two nodes forget at once, one of them
-- finds its rows gone and leaves the rest to the other.
DELETE FROM idempotency_keys
WHERE tenant_id = $1::uuid AND ctid = ANY (ARRAY(
    SELECT old.ctid FROM idempotency_keys old
    WHERE old.tenant_id = $1::uuid AND old.created_at < app_now() - interval '7 days'
    ORDER BY old.created_at
    LIMIT 5000));
