--! lead @sealer
-- One relay at a time; the lock ends with the transaction. The number is ASCII "evnt". As
-- for the sealer: plans are made while the outbox is empty, and would read all of it later.
SELECT pg_try_advisory_xact_lock(1702260340) AS leads, set_config('enable_seqscan', 'off', true) AS no_scans;

--! relay @sealer
-- The oldest $1 of each tenant, and of these the oldest of each before the second oldest of
-- any, up to $2: no tenant's flood keeps another's events waiting. With each goes whatever
-- of the same object came before it: its clock may have been behind, and an object's events
-- go out in the order of its versions. (A later version waited for the earlier one's commit,
-- so whoever sees it sees both.)
-- What the log holds already stays where it is, and the age of the outbox tells of it: better
-- than to lose it, or to stop for it.
WITH chosen AS (
    SELECT waiting.tenant_id, waiting.object_id, max(waiting.sequence) AS sequence
    FROM (SELECT head.tenant_id, head.object_id, head.sequence
          FROM tenants
          CROSS JOIN LATERAL (
              SELECT outbox.tenant_id, outbox.object_id, outbox.sequence,
                  row_number() OVER (ORDER BY outbox.event_id) AS turn
              FROM event_outbox outbox WHERE outbox.tenant_id = tenants.id
                AND NOT EXISTS (SELECT 1 FROM events known
                                WHERE known.tenant_id = outbox.tenant_id AND known.object_id = outbox.object_id
                                  AND known.sequence = outbox.sequence)
              ORDER BY outbox.event_id LIMIT $1::bigint) head
          ORDER BY head.turn, head.tenant_id LIMIT $2::bigint) waiting
    GROUP BY waiting.tenant_id, waiting.object_id
), taken AS (
    DELETE FROM event_outbox outbox USING chosen
    WHERE outbox.tenant_id = chosen.tenant_id AND outbox.object_id = chosen.object_id
      AND outbox.sequence <= chosen.sequence
      AND NOT EXISTS (SELECT 1 FROM events known
                      WHERE known.tenant_id = outbox.tenant_id AND known.object_id = outbox.object_id
                        AND known.sequence = outbox.sequence)
    RETURNING outbox.*
), numbered AS (
    SELECT taken.*, row_number() OVER (PARTITION BY taken.tenant_id ORDER BY taken.object_id, taken.sequence) AS turn
    FROM taken
), heads AS (
    SELECT active.tenant_id, coalesce(last.position, 0) AS position
    FROM (SELECT DISTINCT tenant_id FROM taken) active
    LEFT JOIN LATERAL (SELECT known.position FROM events known WHERE known.tenant_id = active.tenant_id
                       ORDER BY known.position DESC LIMIT 1) last ON true
)
INSERT INTO events (tenant_id, position, event_id, event_type, object_type, object_id, sequence, published_at)
SELECT numbered.tenant_id, heads.position + numbered.turn, numbered.event_id, numbered.event_type,
    numbered.object_type, numbered.object_id, numbered.sequence, $3::timestamptz
FROM numbered JOIN heads USING (tenant_id);

--! waiting @sealer
-- For the alarm on the age of the outbox: ids are ordered by time, so one look into the
-- index per tenant finds the oldest; the count stops at 100,000.
SELECT (SELECT count(*) FROM (SELECT 1 FROM event_outbox LIMIT 100000) AS bounded)::bigint AS waiting,
    (SELECT head.event_id
     FROM tenants
     CROSS JOIN LATERAL (SELECT outbox.event_id FROM event_outbox outbox WHERE outbox.tenant_id = tenants.id
                         ORDER BY outbox.event_id LIMIT 1) AS head
     ORDER BY head.event_id LIMIT 1) AS oldest;
