--! months @owner
-- The partitions of a class whose month is over before an instant, oldest first.
SELECT relation.relname::text AS name, right(relation.relname, 7) AS month
FROM pg_inherits part
JOIN pg_class relation ON relation.oid = part.inhrelid
WHERE part.inhparent = ('audit_log_' || $1::text)::regclass
  AND relation.relname ~ '_[0-9]{4}_[0-9]{2}$'
  AND to_date(right(relation.relname, 7), 'YYYY_MM') + interval '1 month' <= $2::timestamptz AT TIME ZONE 'UTC'
ORDER BY month;

--! tenants @owner
SELECT id FROM tenants ORDER BY id;

--! records @owner
-- What of one tenant stands in the partition of a class (by its types) and a month, in the order of the log;
-- ahead of all what is not sealed.
SELECT leaf.log_index, leaf.leaf_hash, log.event_id, log.record
FROM audit_log log
LEFT JOIN audit_leaves leaf ON leaf.tenant_id = log.tenant_id AND leaf.event_id = log.event_id
WHERE log.tenant_id = $1::uuid AND log.event_type::text = ANY ($2::text[])
  AND log.event_id >= event_id_at(to_date($3::text, 'YYYY_MM')::timestamp AT TIME ZONE 'UTC')
  AND log.event_id < event_id_at((to_date($3::text, 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC')
ORDER BY leaf.log_index NULLS FIRST;

--! declare @owner
SELECT audit_append('admin_action', $1::text::audit_severity, 'audit.drop', 'audit_log', NULL, 'success', NULL, NULL, $2::jsonb)
    AS event_id;

--! remember @owner
INSERT INTO audit_dropped (tenant_id, first_index, last_index, drop_id)
SELECT $1::uuid, run.first_index, run.last_index, $4::uuid
FROM unnest($2::bigint[], $3::bigint[]) AS run (first_index, last_index);

--! drop @owner
SELECT drop_audit_partition($1::text, $2::text);
