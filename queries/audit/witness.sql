--! target @sealer
-- The checkpoint that every witness is asked for now: the newest that was signed before a moment
-- which all of them share, so that under load they cosign one and not each another. With it how
-- far this witness is, and since when something waits for it.
SELECT target.tree_size, target.note, coalesce(last.tree_size, 0)::bigint AS cosigned, (
        SELECT waiting.signed_at FROM audit_super_checkpoints waiting
        WHERE waiting.tree_size > coalesce(last.tree_size, 0) ORDER BY waiting.tree_size LIMIT 1) AS waiting_since
FROM (SELECT tree_size, note FROM audit_super_checkpoints WHERE signed_at <= $2::timestamptz
      ORDER BY tree_size DESC LIMIT 1) target
LEFT JOIN LATERAL (SELECT tree_size FROM audit_super_cosignatures WHERE witness = $1::text
                   ORDER BY tree_size DESC LIMIT 1) last ON true;

--! signed_size @sealer
SELECT coalesce(max(tree_size), 0)::bigint AS signed_size FROM audit_super_checkpoints;

--! keep @sealer
INSERT INTO audit_super_cosignatures (tree_size, witness, line, cosigned_at)
VALUES ($1::bigint, $2::text, $3::text, $4::timestamptz)
ON CONFLICT (tree_size, witness) DO NOTHING;

--! standings @auditor
-- How far each of these witnesses is.
SELECT asked.witness, last.tree_size, last.cosigned_at, (
        SELECT waiting.signed_at FROM audit_super_checkpoints waiting
        WHERE waiting.tree_size > coalesce(last.tree_size, 0) ORDER BY waiting.tree_size LIMIT 1) AS waiting_since
FROM unnest($1::text[]) WITH ORDINALITY AS asked (witness, place)
LEFT JOIN LATERAL (
    SELECT tree_size, cosigned_at FROM audit_super_cosignatures kept WHERE kept.witness = asked.witness
    ORDER BY tree_size DESC LIMIT 1) last ON true
ORDER BY asked.place;

--! keys @auditor
SELECT tenant_id, public_key FROM audit_super_keys();

--! checkpoint
-- The checkpoint of the super-log to show: the one most witnesses cosigned lately, else the newest.
SELECT tree_size, root_hash, note, signed_at, cosignatures FROM audit_super_checkpoint_over(-1);

--! public_keys
SELECT tenant_id, public_key FROM audit_super_keys();

--! place
-- Where the tenant's checkpoint over a record stands in the super-log; nothing where it was signed
-- before there was one.
SELECT place.tree_size, place.root_hash, place.note, place.signed_at, place.cosignatures, place.log_index,
    point.tree_size AS tenant_size, point.root_hash AS tenant_root, point.note AS tenant_note,
    point.signed_at AS tenant_signed_at
FROM audit_leaves leaf
CROSS JOIN LATERAL audit_super_place(leaf.log_index) place
JOIN audit_checkpoints point ON point.tenant_id = leaf.tenant_id AND point.tree_size = place.tenant_size
WHERE leaf.tenant_id = $1::uuid AND leaf.event_id = $2::uuid;

--! hashes
SELECT level, node_index, hash FROM audit_super_hashes($1::smallint[], $2::bigint[]);
