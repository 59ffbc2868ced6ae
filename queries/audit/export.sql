--! sealed_bytes @auditor
-- In the order of the log, a page at a time: what is hashed, without the columns beside it.
SELECT leaf.log_index, leaf.event_id, leaf.leaf_hash, log.record
FROM audit_leaves leaf
LEFT JOIN audit_log log ON log.tenant_id = leaf.tenant_id AND log.event_id = leaf.event_id
WHERE leaf.tenant_id = $1::uuid AND leaf.log_index >= $2::bigint
ORDER BY leaf.log_index
LIMIT $3::bigint;
