--! of_person
-- What was done with a person's access, by whoever used it ($2 acted) and by others ($2 was
-- acted on). Of each side at most $5 records are looked at, newest first, so that a page costs
-- the same however much else somebody does; `floor` is how far down both sides were looked at
-- where that was not all, and nothing below it is told yet.
WITH acted AS MATERIALIZED (
    SELECT log.event_id, log.occurred_at, log.event_type, log.result, log.actor_kind, log.action, log.user_id,
        log.ip_address, log.user_agent, log.details
    FROM audit_log log
    WHERE log.tenant_id = $1::uuid AND log.user_id = $2::uuid
      AND log.event_id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY log.event_id DESC LIMIT $5::bigint
), undergone AS MATERIALIZED (
    SELECT log.event_id, log.occurred_at, log.event_type, log.result, log.actor_kind, log.action, log.user_id,
        log.ip_address, log.user_agent, log.details
    FROM audit_log log
    WHERE log.tenant_id = $1 AND log.resource_id = $2 AND log.resource_type = 'user'
      AND log.user_id IS DISTINCT FROM $2
      AND log.event_id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY log.event_id DESC LIMIT $5
), bound AS (
    SELECT greatest(
        (SELECT event_id FROM acted ORDER BY event_id DESC OFFSET $5 - 1 LIMIT 1),
        (SELECT event_id FROM undergone ORDER BY event_id DESC OFFSET $5 - 1 LIMIT 1)) AS floor
), told AS (
    SELECT * FROM acted UNION ALL SELECT * FROM undergone
)
SELECT bound.floor, told.event_id, told.occurred_at, told.event_type::text AS event_type, told.result::text AS result,
    told.action, told.details ->> 'reason' AS reason,
    CASE WHEN told.user_id = $2 THEN 'account' WHEN told.actor_kind IN ('cli', 'worker') THEN 'system' ELSE 'staff' END AS by,
    CASE WHEN told.user_id = $2 THEN host(told.ip_address) END AS ip_address,
    CASE WHEN told.user_id = $2 THEN told.user_agent END AS user_agent
FROM bound
LEFT JOIN told ON (bound.floor IS NULL OR told.event_id >= bound.floor)
    AND (told.event_type::text = ANY ($6::text[]) OR told.action = ANY ($7::text[]))
ORDER BY told.event_id DESC LIMIT $4::bigint;
