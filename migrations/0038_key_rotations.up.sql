-- How far the values that belong to no person are sealed anew, after their key was rotated.
--
-- One row a sealed column, aimed anew at each later generation. Legal transitions of its
-- state: running → waiting → verifying → done, and from any of them to running where there is
-- a later generation. `running` is the first pass over the column; a node may seal under the
-- key that it read a moment ago meanwhile, so a second pass, `verifying`, follows as soon as
-- that is over (`waiting` until then).
CREATE TABLE key_rotations (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    table_name  text NOT NULL CONSTRAINT key_rotations_table CHECK (table_name ~ '^[a-z_]{1,63}$'),
    column_name text NOT NULL CONSTRAINT key_rotations_column CHECK (column_name ~ '^[a-z_]{1,63}$'),
    -- The generation of the field key that all of the column is to be under. Whatever is under
    -- another one, however old, is sealed anew.
    to_epoch    integer NOT NULL CONSTRAINT key_rotations_epoch CHECK (to_epoch > 1),
    state       text NOT NULL DEFAULT 'running' CONSTRAINT key_rotations_state
        CHECK (state IN ('running', 'waiting', 'verifying', 'done')),
    -- The last row that this pass has seen.
    cursor      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- Sealed anew; and what there was to do, as counted when a pass began.
    done        bigint NOT NULL DEFAULT 0 CONSTRAINT key_rotations_done CHECK (done >= 0),
    total       bigint NOT NULL DEFAULT 0 CONSTRAINT key_rotations_total CHECK (total >= 0),
    -- Values that this pass could not open, and left as they are.
    skipped     bigint NOT NULL DEFAULT 0 CONSTRAINT key_rotations_skipped CHECK (skipped >= 0),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    updated_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, table_name, column_name)
);
CALL secure_tenant_table('key_rotations', 'SELECT, INSERT, UPDATE', true);
