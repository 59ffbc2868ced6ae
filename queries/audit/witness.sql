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
