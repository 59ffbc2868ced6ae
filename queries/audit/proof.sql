--! leaf
SELECT log_index, leaf_hash FROM audit_leaves WHERE tenant_id = $1::uuid AND event_id = $2::uuid;

--! latest_checkpoint
SELECT tree_size, root_hash, note, signed_at FROM audit_checkpoints
WHERE tenant_id = $1::uuid ORDER BY tree_size DESC LIMIT 1;

--! checkpoint
SELECT tree_size, root_hash, note, signed_at FROM audit_checkpoints
WHERE tenant_id = $1::uuid AND tree_size = $2::bigint;

--! checkpoints
-- Newest first, before a size.
SELECT tree_size, root_hash, note, signed_at FROM audit_checkpoints
WHERE tenant_id = $1::uuid AND tree_size < $2::bigint ORDER BY tree_size DESC LIMIT $3::bigint;

--! nodes
-- Every node of one proof in one read.
SELECT wanted.level, wanted.node_index, coalesce(leaf.leaf_hash, node.hash) AS hash
FROM unnest($2::smallint[], $3::bigint[]) AS wanted (level, node_index)
LEFT JOIN audit_leaves leaf
    ON wanted.level = 0 AND leaf.tenant_id = $1::uuid AND leaf.log_index = wanted.node_index
LEFT JOIN audit_tree node
    ON wanted.level > 0 AND node.tenant_id = $1::uuid AND node.level = wanted.level
    AND node.node_index = wanted.node_index;

--! public_keys
SELECT key_id, key_name, public_key, status FROM audit_log_keys WHERE tenant_id = $1::uuid ORDER BY created_at, key_id;

--! record
SELECT record FROM audit_log WHERE tenant_id = $1::uuid AND event_id = $2::uuid;
