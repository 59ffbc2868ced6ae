-- What witnesses said of the super-log: a cosignature is a statement of somebody else's, at a
-- moment, that no other history of this log was shown to them. It is kept as it came, once it
-- was verified, and never changed.
CREATE TABLE audit_super_cosignatures (
    tree_size   bigint NOT NULL CHECK (tree_size > 0),
    -- The name of the witness' key.
    witness     text NOT NULL CHECK (length(witness) BETWEEN 1 AND 255),
    -- The signature line, without its newline.
    line        text NOT NULL CHECK (length(line) BETWEEN 1 AND 1024 AND line !~ '[[:cntrl:]]'),
    -- By the witness' clock; the line signs it.
    cosigned_at timestamptz NOT NULL,
    PRIMARY KEY (tree_size, witness)
);
-- How far each witness is.
CREATE INDEX audit_super_cosignatures_by_witness ON audit_super_cosignatures (witness, tree_size);

GRANT SELECT, INSERT ON audit_super_cosignatures TO strongroom_sealer;
GRANT SELECT ON audit_super_cosignatures TO strongroom_auditor;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_super_cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_super_cosignatures ENABLE ALWAYS TRIGGER append_only;

-- The checkpoint to prove a leaf by: of the last quarter of an hour the one that most witnesses
-- cosigned, else the newest. It tells how many checkpoints were signed for everybody, and
-- nothing of whose they are.
CREATE FUNCTION audit_super_checkpoint_over(p_log_index bigint)
RETURNS TABLE (tree_size bigint, root_hash bytea, note text, signed_at timestamptz, cosignatures text[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH newest AS (
        SELECT point.tree_size, point.signed_at FROM audit_super_checkpoints point
        WHERE point.tree_size > p_log_index ORDER BY point.tree_size DESC LIMIT 1
    ), cosigned AS (
        SELECT recent.tree_size
        FROM (SELECT line.tree_size FROM audit_super_cosignatures line
              WHERE line.tree_size > p_log_index ORDER BY line.tree_size DESC LIMIT 64) recent
        JOIN audit_super_checkpoints point ON point.tree_size = recent.tree_size
        WHERE point.signed_at > (SELECT newest.signed_at FROM newest) - interval '15 minutes'
        GROUP BY recent.tree_size ORDER BY count(*) DESC, recent.tree_size DESC LIMIT 1
    )
    SELECT point.tree_size, point.root_hash, point.note, point.signed_at,
        ARRAY(SELECT line.line FROM audit_super_cosignatures line
              WHERE line.tree_size = point.tree_size ORDER BY line.witness)
    FROM audit_super_checkpoints point
    WHERE point.tree_size = coalesce((SELECT cosigned.tree_size FROM cosigned),
                                     (SELECT newest.tree_size FROM newest))
$$;

-- Where a record of the tenant's log stands in the super-log: the first checkpoint that covers it
-- says which checkpoint of the super-log it is proven by, and of the tenant's checkpoints that one
-- covers the newest is taken. A tenant is told of its own leaves alone.
CREATE FUNCTION audit_super_place(p_record_index bigint)
RETURNS TABLE (tenant_size bigint, log_index bigint, tree_size bigint, root_hash bytea, note text,
    signed_at timestamptz, cosignatures text[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT own.tree_size, own.log_index, point.*
    FROM (SELECT leaf.log_index FROM audit_super_leaves leaf
          WHERE leaf.tenant_id = require_tenant() AND leaf.tree_size > p_record_index
          ORDER BY leaf.tree_size LIMIT 1) first
    CROSS JOIN LATERAL audit_super_checkpoint_over(first.log_index) point
    CROSS JOIN LATERAL (
        SELECT leaf.tree_size, leaf.log_index FROM audit_super_leaves leaf
        WHERE leaf.tenant_id = require_tenant() AND leaf.log_index < point.tree_size
        ORDER BY leaf.tree_size DESC LIMIT 1) own
$$;

-- The hashes that a proof consists of. A hash says nothing of what it is over.
CREATE FUNCTION audit_super_hashes(p_levels smallint[], p_indices bigint[])
RETURNS TABLE (level smallint, node_index bigint, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT wanted.level, wanted.node_index, coalesce(leaf.leaf_hash, node.hash)
    FROM unnest(p_levels, p_indices) AS wanted (level, node_index)
    LEFT JOIN audit_super_leaves leaf ON wanted.level = 0 AND leaf.log_index = wanted.node_index
    LEFT JOIN audit_super_tree node
        ON wanted.level > 0 AND node.level = wanted.level AND node.node_index = wanted.node_index
$$;

-- The key that the super-log is signed with, under the name of the platform's log: it is the
-- same key, and a public one.
CREATE FUNCTION audit_super_keys() RETURNS TABLE (tenant_id uuid, public_key bytea)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    caller text := coalesce(current_setting('app.current_tenant', true), '');
    platform uuid := (SELECT id FROM tenants WHERE blueprint = 'platform' ORDER BY id LIMIT 1);
BEGIN
    -- Row security binds the owner as well: the platform's rows are read as the platform's.
    PERFORM set_config('app.current_tenant', coalesce(platform::text, ''), true);
    RETURN QUERY SELECT log_key.tenant_id, log_key.public_key FROM audit_log_keys log_key
        WHERE log_key.tenant_id = platform ORDER BY log_key.created_at, log_key.key_id;
    PERFORM set_config('app.current_tenant', caller, true);
END $$;

REVOKE EXECUTE ON FUNCTION audit_super_checkpoint_over(bigint), audit_super_place(bigint),
    audit_super_hashes(smallint[], bigint[]), audit_super_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_super_checkpoint_over(bigint), audit_super_place(bigint),
    audit_super_hashes(smallint[], bigint[]) TO strongroom_app;
GRANT EXECUTE ON FUNCTION audit_super_keys() TO strongroom_app, strongroom_auditor;
