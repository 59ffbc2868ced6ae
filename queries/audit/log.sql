--! append
-- One statement, one round trip: the records and their places in the inbox. The
-- values arrive as canonical JSON text, so that column and record say the same.
WITH event AS (
    SELECT * FROM unnest(
        $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[], $9::uuid[],
        $10::uuid[], $11::text[], $12::text[], $13::text[], $14::inet[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $20::text[], $21::bytea[], $22::bytea[]
    ) AS event (
        event_id, occurred_at, event_type, severity, result, organization_id, user_id, session_id,
        resource_id, actor_kind, action, resource_type, ip_address, user_agent, request_id, compliance_flags,
        old_values, new_values, details, record, leaf_hash)
), logged AS (
    INSERT INTO audit_log (
        tenant_id, event_id, occurred_at, event_type, severity, result, organization_id, user_id, session_id,
        resource_id, actor_kind, action, resource_type, ip_address, user_agent, request_id, compliance_flags,
        old_values, new_values, details, record)
    SELECT $1::uuid, event_id, occurred_at, event_type::audit_event_type, severity::audit_severity,
        result::audit_result, organization_id, user_id, session_id, resource_id, actor_kind, action, resource_type,
        ip_address, user_agent, request_id, string_to_array(compliance_flags, ','),
        old_values::jsonb, new_values::jsonb, details::jsonb, record
    FROM event
)
INSERT INTO audit_inbox (tenant_id, event_id, leaf_hash)
SELECT $1::uuid, event_id, leaf_hash FROM event;

--! plan_afresh
-- Goes ahead of `list` in its round trip: one plan for all combinations of
-- filters would never use the indexes by user and by resource.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

--! list
-- Newest first by id, which is by time: both bounds are ids. Each filter is
-- optional; a NULL leaves it out.
SELECT log.event_id, log.occurred_at, log.event_type::text, log.severity::text, log.result::text,
    log.organization_id, log.user_id, log.session_id, log.resource_id, log.actor_kind, log.action,
    log.resource_type, host(log.ip_address) AS ip_address, log.user_agent, log.request_id, log.compliance_flags,
    log.old_values, log.new_values, log.details, leaf.log_index
FROM audit_log log
LEFT JOIN audit_leaves leaf ON leaf.tenant_id = log.tenant_id AND leaf.event_id = log.event_id
WHERE log.tenant_id = $1::uuid
  AND ($2::uuid IS NULL OR log.event_id < $2)
  AND ($3::uuid IS NULL OR log.event_id >= $3)
  AND ($4::uuid IS NULL OR log.user_id = $4)
  AND ($5::text IS NULL OR log.event_type = $5::text::audit_event_type)
  AND ($6::text IS NULL OR log.severity = $6::text::audit_severity)
  AND ($7::text IS NULL OR log.result = $7::text::audit_result)
  AND ($8::text IS NULL OR log.action = $8)
  AND ($9::text IS NULL OR log.resource_type = $9)
  AND ($10::uuid IS NULL OR log.resource_id = $10)
  AND ($11::uuid IS NULL OR log.session_id = $11)
  AND ($12::text IS NULL OR log.request_id = $12)
  AND ($13::uuid IS NULL OR log.organization_id = $13)
  AND ($14::text IS NULL OR log.compliance_flags @> ARRAY[$14::text])
  AND ($15::inet IS NULL OR log.ip_address = $15)
  AND ($16::text IS NULL OR log.actor_kind = $16)
  AND ($17::text IS NULL OR log.user_agent = $17)
ORDER BY log.event_id DESC
LIMIT $18::bigint;

--! window
-- The oldest of the next so many records, none where fewer are left: as far as a page of a
-- filter without an index looks, so that a rare value never takes the whole log in one statement.
SELECT event_id FROM audit_log
WHERE tenant_id = $1::uuid
  AND ($2::uuid IS NULL OR event_id < $2)
  AND ($3::uuid IS NULL OR event_id >= $3)
ORDER BY event_id DESC
OFFSET $4::bigint LIMIT 1;

--! one
SELECT log.event_id, log.occurred_at, log.event_type::text, log.severity::text, log.result::text,
    log.organization_id, log.user_id, log.session_id, log.resource_id, log.actor_kind, log.action,
    log.resource_type, host(log.ip_address) AS ip_address, log.user_agent, log.request_id, log.compliance_flags,
    log.old_values, log.new_values, log.details, leaf.log_index
FROM audit_log log
LEFT JOIN audit_leaves leaf ON leaf.tenant_id = log.tenant_id AND leaf.event_id = log.event_id
WHERE log.tenant_id = $1::uuid AND log.event_id = $2::uuid;
