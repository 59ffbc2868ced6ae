-- What was signed over all tenants cannot be signed again: a schema without it would let a
-- checkpoint vanish that somebody outside may hold.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM audit_super_checkpoints) THEN
        RAISE EXCEPTION 'migration 0033 cannot be taken back: the super-log has signed checkpoints'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;
DROP FUNCTION audit_super_leaves_here();
DROP TABLE audit_super_checkpoints;
DROP TABLE audit_super_tree;
DROP TABLE audit_super_leaves;
