--! tenants @auditor
SELECT id, slug FROM tenants ORDER BY slug;

--! counts @auditor
-- What there is to check; the tree must hold exactly the complete subtrees of the leaves.
SELECT (SELECT count(*) FROM audit_leaves WHERE tenant_id = $1::uuid)::bigint AS leaves,
    (SELECT count(*) FROM audit_tree WHERE tenant_id = $1::uuid)::bigint AS nodes,
    (SELECT count(*) FROM audit_inbox WHERE tenant_id = $1::uuid)::bigint AS waiting,
    (SELECT count(*) FROM audit_checkpoints WHERE tenant_id = $1::uuid)::bigint AS checkpoints,
    (SELECT coalesce(max(tree_size), 0) FROM audit_checkpoints WHERE tenant_id = $1::uuid)::bigint AS signed_size;

--! sealed_records @auditor
-- In the order of the log, a page at a time. A leaf without its record may have been dropped.
SELECT leaf.log_index, leaf.event_id, leaf.leaf_hash, log.record, log.occurred_at, log.event_type::text,
    log.severity::text, log.result::text, log.organization_id, log.user_id, log.session_id, log.resource_id,
    log.actor_kind, log.action, log.resource_type, log.ip_address, log.user_agent, log.request_id,
    log.compliance_flags, log.old_values, log.new_values, log.details,
    (SELECT dropped.drop_id FROM audit_dropped dropped
     WHERE log.event_id IS NULL AND dropped.tenant_id = leaf.tenant_id
       AND dropped.first_index <= leaf.log_index AND dropped.last_index >= leaf.log_index
     ORDER BY dropped.first_index DESC LIMIT 1) AS dropped_by
FROM audit_leaves leaf
LEFT JOIN audit_log log ON log.tenant_id = leaf.tenant_id AND log.event_id = leaf.event_id
WHERE leaf.tenant_id = $1::uuid AND leaf.log_index >= $2::bigint
ORDER BY leaf.log_index
LIMIT $3::bigint;

--! waiting_records @auditor
SELECT NULL::bigint AS log_index, inbox.event_id, inbox.leaf_hash, log.record, log.occurred_at, log.event_type::text,
    log.severity::text, log.result::text, log.organization_id, log.user_id, log.session_id, log.resource_id,
    log.actor_kind, log.action, log.resource_type, log.ip_address, log.user_agent, log.request_id,
    log.compliance_flags, log.old_values, log.new_values, log.details
FROM audit_inbox inbox
LEFT JOIN audit_log log ON log.tenant_id = inbox.tenant_id AND log.event_id = inbox.event_id
WHERE inbox.tenant_id = $1::uuid AND inbox.event_id > $2::uuid
ORDER BY inbox.event_id
LIMIT $3::bigint;

--! unqueued @auditor
-- A record that neither waits nor is sealed: it was written around the log.
SELECT log.event_id FROM audit_log log
WHERE log.tenant_id = $1::uuid
  AND NOT EXISTS (SELECT 1 FROM audit_leaves leaf
                  WHERE leaf.tenant_id = $1::uuid AND leaf.event_id = log.event_id)
  AND NOT EXISTS (SELECT 1 FROM audit_inbox inbox
                  WHERE inbox.tenant_id = $1::uuid AND inbox.event_id = log.event_id)
ORDER BY log.event_id LIMIT 1;

--! sealed_twice @auditor
SELECT inbox.event_id FROM audit_inbox inbox
JOIN audit_leaves leaf ON leaf.tenant_id = inbox.tenant_id AND leaf.event_id = inbox.event_id
WHERE inbox.tenant_id = $1::uuid ORDER BY inbox.event_id LIMIT 1;

--! wrong_nodes @auditor
-- The stored node that differs from the computed one, lowest first.
SELECT wanted.level, wanted.node_index
FROM unnest($2::smallint[], $3::bigint[], $4::bytea[]) AS wanted (level, node_index, hash)
LEFT JOIN audit_tree node
    ON node.tenant_id = $1::uuid AND node.level = wanted.level AND node.node_index = wanted.node_index
WHERE node.hash IS DISTINCT FROM wanted.hash
ORDER BY wanted.level, wanted.node_index LIMIT 1;

--! checkpoints_between @auditor
SELECT tree_size, root_hash, note FROM audit_checkpoints
WHERE tenant_id = $1::uuid AND tree_size > $2::bigint AND tree_size <= $3::bigint ORDER BY tree_size;

--! public_keys @auditor
SELECT key_id, key_name, public_key FROM audit_log_keys WHERE tenant_id = $1::uuid ORDER BY created_at, key_id;
