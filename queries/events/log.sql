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
