--! forget_old
-- Of the oldest 5,000 those ahead of the first that is young: what is left is contiguous,
-- whatever the clocks of several relays said. The newest stays, as positions go on from it.
DELETE FROM events
WHERE tenant_id = $1::uuid AND position IN (
    SELECT oldest.position
    FROM (SELECT known.position,
              bool_and(known.published_at < app_now() - interval '30 days') OVER (ORDER BY known.position) AS is_over
          FROM events known WHERE known.tenant_id = $1::uuid ORDER BY known.position LIMIT 5000) oldest
    WHERE oldest.is_over
      AND oldest.position < (SELECT max(newest.position) FROM events newest WHERE newest.tenant_id = $1::uuid));

--! page
-- Of the 10,000 positions behind $2, so that a rare filter never reads a whole log in one
-- statement; the answer says how far it looked. One row, with nothing in it but that, where
-- nothing was found. The values are the record's.
SELECT span.head, span.start, span.looked_to, found.*
FROM (SELECT known.head, known.start, least(known.head, known.start + 10000) AS looked_to
      FROM (SELECT coalesce(max(position), 0) AS head,
                greatest($2::bigint, coalesce(min(position), 1) - 1) AS start
            FROM events WHERE tenant_id = $1::uuid) known) span
LEFT JOIN LATERAL (
    SELECT event.position, event.event_id, event.event_type, event.object_type, event.object_id, event.sequence,
        record.occurred_at, record.new_values
    FROM events event
    JOIN audit_log record ON record.tenant_id = event.tenant_id AND record.event_id = event.event_id
    WHERE event.tenant_id = $1::uuid AND event.position > span.start AND event.position <= span.looked_to
      AND event.object_type = ANY ($3::text[])
      AND ($4::text IS NULL OR event.event_type = $4::text)
      AND ($5::uuid IS NULL OR event.object_id = $5::uuid)
    ORDER BY event.position
    LIMIT $6::bigint) found ON true
ORDER BY found.position;
