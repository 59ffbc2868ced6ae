--! head @sealer
-- How large the super-log is, what was last signed about it, and the key of the platform's
-- log, which signs it under a name of its own. The oldest platform, should there be two.
SELECT coalesce(last_leaf.log_index + 1, 0)::bigint AS leaves,
    coalesce(last_signed.tree_size, 0)::bigint AS signed_size, last_signed.root_hash,
    log_key.tenant_id, log_key.key_id, log_key.epoch, log_key.kek_epoch, log_key.wrapped_seed,
    kek.key_id AS kek_id, kek.wrapped_key AS wrapped_kek
FROM (SELECT 1) AS always
LEFT JOIN LATERAL (SELECT log_index FROM audit_super_leaves ORDER BY log_index DESC LIMIT 1) last_leaf ON true
LEFT JOIN LATERAL (
    SELECT tree_size, root_hash FROM audit_super_checkpoints ORDER BY tree_size DESC LIMIT 1) last_signed ON true
LEFT JOIN LATERAL (
    SELECT id FROM tenants WHERE blueprint = 'platform' ORDER BY id LIMIT 1) platform ON true
LEFT JOIN audit_log_keys log_key ON log_key.tenant_id = platform.id AND log_key.status = 'active'
LEFT JOIN tenant_keks kek ON kek.tenant_id = log_key.tenant_id AND kek.purpose = log_key.kek_purpose
    AND kek.epoch = log_key.kek_epoch;

--! frontier @sealer
SELECT wanted.level, wanted.node_index, coalesce(leaf.leaf_hash, node.hash) AS hash
FROM unnest($1::smallint[], $2::bigint[]) AS wanted (level, node_index)
LEFT JOIN audit_super_leaves leaf ON wanted.level = 0 AND leaf.log_index = wanted.node_index
LEFT JOIN audit_super_tree node
    ON wanted.level > 0 AND node.level = wanted.level AND node.node_index = wanted.node_index;

--! add_leaves @sealer
INSERT INTO audit_super_leaves (log_index, tenant_id, tree_size, leaf_hash)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bytea[]);

--! add_nodes @sealer
INSERT INTO audit_super_tree (level, node_index, hash)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]);

--! add_checkpoint @sealer
INSERT INTO audit_super_checkpoints (tree_size, root_hash, note, signed_at)
VALUES ($1::bigint, $2::bytea, $3::text, $4::timestamptz);

--! unlike_checkpoints @auditor
-- The first checkpoint of the tenant that was removed or rewritten since it became a leaf, or
-- that stands there without one. What was signed before the tenant's first leaf has none.
SELECT coalesce(leaf.tree_size, point.tree_size) AS tree_size,
    point.tree_size IS NULL AS removed, leaf.tree_size IS NULL AS unlogged
FROM audit_super_leaves_here() leaf
FULL JOIN (SELECT tree_size, note FROM audit_checkpoints WHERE tenant_id = $1::uuid) point
    ON point.tree_size = leaf.tree_size
WHERE leaf.leaf_hash IS DISTINCT FROM sha256('\x00'::bytea || convert_to(point.note, 'UTF8'))
    AND coalesce(leaf.tree_size, point.tree_size) >= (SELECT min(tree_size) FROM audit_super_leaves_here())
ORDER BY 1 LIMIT 1;

--! may_walk @auditor
-- Whether the tenant is the platform, whose log vouches for the super-log, and the role may
-- read what is of all tenants.
SELECT EXISTS (SELECT 1 FROM tenants WHERE id = $1::uuid AND blueprint = 'platform')
    AND has_table_privilege('audit_super_leaves', 'SELECT') AS walks;

--! leaves_from @auditor
SELECT log_index, leaf_hash FROM audit_super_leaves
WHERE log_index >= $1::bigint ORDER BY log_index LIMIT $2::bigint;

--! checkpoints_between @auditor
SELECT tree_size, root_hash, note FROM audit_super_checkpoints
WHERE tree_size > $1::bigint AND tree_size <= $2::bigint ORDER BY tree_size;

--! wrong_nodes @auditor
-- The stored node that differs from the computed one, lowest first.
SELECT wanted.level, wanted.node_index
FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS wanted (level, node_index, hash)
LEFT JOIN audit_super_tree node ON node.level = wanted.level AND node.node_index = wanted.node_index
WHERE node.hash IS DISTINCT FROM wanted.hash
ORDER BY wanted.level, wanted.node_index LIMIT 1;

--! ending @auditor
-- What was last signed, and whether a node stands beyond those that so many leaves make.
SELECT (SELECT coalesce(max(tree_size), 0) FROM audit_super_checkpoints)::bigint AS signed_size,
    EXISTS (SELECT 1 FROM generate_series(6, 62) AS edge (level)
            CROSS JOIN LATERAL (
                SELECT 1 FROM audit_super_tree node
                WHERE node.level = edge.level::smallint AND node.node_index >= ($1::bigint >> edge.level)
                LIMIT 1) AS beyond) AS has_more_nodes;

--! newest @auditor
SELECT tree_size, note FROM audit_super_checkpoints ORDER BY tree_size DESC LIMIT 1;

--! root_at @auditor
SELECT root_hash FROM audit_super_checkpoints WHERE tree_size = $1::bigint;
