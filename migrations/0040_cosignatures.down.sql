-- What a witness said at a moment cannot be asked for again.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM audit_super_cosignatures) THEN
        RAISE EXCEPTION 'migration 0040 cannot be taken back: witnesses have cosigned the super-log'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;
DROP FUNCTION audit_super_keys();
DROP FUNCTION audit_super_hashes(smallint[], bigint[]);
DROP FUNCTION audit_super_place(bigint);
DROP FUNCTION audit_super_checkpoint_over(bigint);
DROP TABLE audit_super_cosignatures;
