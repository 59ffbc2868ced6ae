--! sealed_bytes @auditor
-- In the order of the log, a page at a time: what is hashed, without the columns beside it.
SELECT leaf.log_index, leaf.event_id, leaf.leaf_hash, log.record,
    (SELECT dropped.drop_id FROM audit_dropped dropped
     WHERE log.event_id IS NULL AND dropped.tenant_id = leaf.tenant_id
       AND dropped.first_index <= leaf.log_index AND dropped.last_index >= leaf.log_index
     ORDER BY dropped.first_index DESC LIMIT 1) AS dropped_by
FROM audit_leaves leaf
LEFT JOIN audit_log log ON log.tenant_id = leaf.tenant_id AND log.event_id = leaf.event_id
WHERE leaf.tenant_id = $1::uuid AND leaf.log_index >= $2::bigint
ORDER BY leaf.log_index
LIMIT $3::bigint;
