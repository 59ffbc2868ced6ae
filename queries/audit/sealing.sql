--! lead @sealer
-- One sealer at a time; the lock ends with the transaction, so PgBouncer and a
-- killed process are both harmless. The number is ASCII "seal". The plans of the pass are
-- made once a connection, mostly while the inbox is empty: reading all of it row by row
-- looks cheapest then, and costs seconds a pass once there is a backlog.
SELECT pg_try_advisory_xact_lock(1936023916) AS leads, set_config('enable_seqscan', 'off', true) AS no_scans;

--! take @sealer
-- Rows that are locked or not yet visible wait for the next pass. Quarantined
-- tenants (whose tree does not fit its checkpoint) keep theirs.
-- By ctid, which row locks pin: the inbox is empty whenever it is analysed, and a
-- join on its keys would be planned for no rows.
DELETE FROM audit_inbox
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM audit_inbox
    WHERE tenant_id <> ALL ($2::uuid[])
    ORDER BY tenant_id, event_id
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED))
RETURNING tenant_id, event_id, leaf_hash;

--! trees @sealer
-- How large each tenant's log is, and what was last signed about it.
SELECT wanted.tenant_id, coalesce(last_leaf.log_index + 1, 0)::bigint AS leaves,
    coalesce(last_signed.tree_size, 0)::bigint AS signed_size, last_signed.root_hash
FROM unnest($1::uuid[]) AS wanted (tenant_id)
LEFT JOIN LATERAL (
    SELECT log_index FROM audit_leaves leaf WHERE leaf.tenant_id = wanted.tenant_id
    ORDER BY log_index DESC LIMIT 1) last_leaf ON true
LEFT JOIN LATERAL (
    SELECT tree_size, root_hash FROM audit_checkpoints point WHERE point.tenant_id = wanted.tenant_id
    ORDER BY tree_size DESC LIMIT 1) last_signed ON true;

--! frontier @sealer
-- The right edges of several trees: level 0 stands in audit_leaves, the rest in audit_tree.
SELECT wanted.tenant_id, wanted.level, wanted.node_index, coalesce(leaf.leaf_hash, node.hash) AS hash
FROM unnest($1::uuid[], $2::smallint[], $3::bigint[]) AS wanted (tenant_id, level, node_index)
LEFT JOIN audit_leaves leaf
    ON wanted.level = 0 AND leaf.tenant_id = wanted.tenant_id AND leaf.log_index = wanted.node_index
LEFT JOIN audit_tree node
    ON wanted.level > 0 AND node.tenant_id = wanted.tenant_id AND node.level = wanted.level
    AND node.node_index = wanted.node_index;

--! add_leaves @sealer
INSERT INTO audit_leaves (tenant_id, log_index, event_id, leaf_hash)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[]);

--! add_nodes @sealer
INSERT INTO audit_tree (tenant_id, level, node_index, hash)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[]);

--! add_checkpoints @sealer
INSERT INTO audit_checkpoints (tenant_id, tree_size, root_hash, note, signed_at)
SELECT tenant_id, tree_size, root_hash, note, $5::timestamptz
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::text[]) AS point (tenant_id, tree_size, root_hash, note);

--! waiting @sealer
-- For the alarm on the age of the inbox: event ids are ordered by time, so one
-- look into the index per tenant finds the oldest, and a stalled sealer does not
-- make its own measurement slow (the count stops at 100,000).
SELECT (SELECT count(*) FROM (SELECT 1 FROM audit_inbox LIMIT 100000) AS bounded)::bigint AS waiting,
    (SELECT head.event_id
     FROM tenants
     CROSS JOIN LATERAL (SELECT inbox.event_id FROM audit_inbox inbox WHERE inbox.tenant_id = tenants.id
                         ORDER BY inbox.event_id LIMIT 1) AS head
     ORDER BY head.event_id LIMIT 1) AS oldest;

--! log_key @sealer
SELECT log_key.key_id, log_key.key_name, log_key.epoch, log_key.kek_epoch, log_key.wrapped_seed,
    kek.key_id AS kek_id, kek.wrapped_key AS wrapped_kek
FROM audit_log_keys log_key
JOIN tenant_keks kek ON kek.tenant_id = log_key.tenant_id AND kek.purpose = log_key.kek_purpose
    AND kek.epoch = log_key.kek_epoch
WHERE log_key.tenant_id = $1::uuid AND log_key.status = 'active';
