-- One log over all tenants' logs: each checkpoint that the sealer signs for a tenant is a
-- leaf of it, and each pass ends with one checkpoint over them all. Who removes a tenant's
-- checkpoint from the middle, where no later tree misses it, leaves its leaf behind.
--
-- No row security and no right for the application: how large the logs of others are, and
-- when they grew, is their business. A tenant reads its own leaves by a function.
CREATE TABLE audit_super_leaves (
    log_index bigint PRIMARY KEY CHECK (log_index >= 0),
    tenant_id uuid NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    -- Over the bytes of the tenant's note: SHA-256(0x00 || note).
    leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
    CONSTRAINT audit_super_leaves_one_per_checkpoint UNIQUE (tenant_id, tree_size)
);

-- As audit_tree: complete subtrees of level 6 and above.
CREATE TABLE audit_super_tree (
    level      smallint NOT NULL CHECK (level BETWEEN 6 AND 62),
    node_index bigint NOT NULL CHECK (node_index >= 0),
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, node_index)
);

CREATE TABLE audit_super_checkpoints (
    tree_size bigint PRIMARY KEY CHECK (tree_size > 0),
    root_hash bytea NOT NULL CHECK (length(root_hash) = 32),
    note      text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT app_now()
);

GRANT SELECT, INSERT ON audit_super_leaves, audit_super_tree, audit_super_checkpoints TO strongroom_sealer;
GRANT SELECT ON audit_super_leaves, audit_super_tree, audit_super_checkpoints TO strongroom_auditor;

DO $$
DECLARE
    append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['audit_super_leaves', 'audit_super_tree', 'audit_super_checkpoints'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            || 'FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()', append_only);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', append_only);
    END LOOP;
END $$;

CREATE FUNCTION audit_super_leaves_here() RETURNS TABLE (log_index bigint, tree_size bigint, leaf_hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT leaf.log_index, leaf.tree_size, leaf.leaf_hash
    FROM audit_super_leaves leaf WHERE leaf.tenant_id = require_tenant()
$$;
REVOKE EXECUTE ON FUNCTION audit_super_leaves_here() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_super_leaves_here() TO strongroom_app, strongroom_auditor;
