-- The audit log: what happened, the exact bytes that prove it, and one Merkle
-- tree per tenant over those bytes.
--
-- The way of a record: a business transaction INSERTs it into audit_log and its
-- leaf hash into audit_inbox; the sealer moves the hash from the inbox into
-- audit_leaves under the next index, extends audit_tree and signs a checkpoint.
-- Nothing of this is ever changed or removed afterwards, by anybody.

CREATE TYPE audit_severity AS ENUM ('low', 'medium', 'high', 'critical');
CREATE TYPE audit_result AS ENUM ('success', 'denied', 'failed', 'replayed');
-- The list of `audit::EventType`; a test compares the two.
CREATE TYPE audit_event_type AS ENUM (
    'auth_failure', 'privilege_escalation', 'data_breach', 'security_violation',
    'login', 'logout', 'role_change', 'data_export', 'permission_denied', 'account_lockout',
    'credential_change', 'session_revocation', 'key_management', 'admin_action',
    'api_access', 'prediction_request', 'user_creation', 'data_modification', 'ledger_posting',
    'configuration_change', 'request_flood',
    'data_query', 'report_generation', 'data_access', 'token_refresh', 'key_use', 'job_run');

-- `record` holds the canonical bytes; the columns beside it repeat them for
-- queries, and `audit verify` compares the two. No foreign key to tenants: row
-- security already ties the row to the transaction's tenant, and the share lock
-- on one tenants row would be the hottest lock of the system.
CREATE TABLE audit_log (
    tenant_id        uuid NOT NULL,
    event_id         uuid NOT NULL,
    occurred_at      timestamptz NOT NULL,
    event_type       audit_event_type NOT NULL,
    severity         audit_severity NOT NULL,
    result           audit_result NOT NULL,
    organization_id  uuid,
    user_id          uuid,
    session_id       uuid,
    resource_id      uuid,
    actor_kind       text NOT NULL,
    action           text NOT NULL,
    resource_type    text NOT NULL,
    ip_address       inet,
    user_agent       text,
    request_id       text,
    compliance_flags text[] NOT NULL DEFAULT '{}',
    old_values       jsonb,
    new_values       jsonb,
    details          jsonb,
    record           bytea NOT NULL,
    -- Event ids are version 7 of occurred_at: this is the index by time as well.
    PRIMARY KEY (tenant_id, event_id)
);
-- Narrow on purpose: this is the hottest insert path of all.
CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, event_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_by_resource ON audit_log (tenant_id, resource_id, event_id) WHERE resource_id IS NOT NULL;
CALL secure_tenant_table('audit_log', 'SELECT, INSERT', true);

-- What waits to be sealed. Late committers simply get later indices.
CREATE TABLE audit_inbox (
    tenant_id uuid NOT NULL,
    event_id  uuid NOT NULL,
    leaf_hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CALL secure_tenant_table('audit_inbox', 'SELECT, INSERT', true);

-- The leaves in the order of the log; kept for ever, also when the records they
-- stand for are dropped with their partition.
CREATE TABLE audit_leaves (
    tenant_id uuid NOT NULL,
    log_index bigint NOT NULL CHECK (log_index >= 0),
    event_id  uuid NOT NULL,
    leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
    PRIMARY KEY (tenant_id, log_index),
    CONSTRAINT audit_leaves_one_per_event UNIQUE (tenant_id, event_id)
);
CALL secure_tenant_table('audit_leaves', 'SELECT', true);

-- Complete subtrees above the leaves: node (level, index) covers the leaves
-- index * 2^level to (index + 1) * 2^level - 1 and never changes again. Levels
-- below 6 are not stored: they are computed from at most 63 leaves, which saves
-- one row here for each record there.
CREATE TABLE audit_tree (
    tenant_id  uuid NOT NULL,
    level      smallint NOT NULL CHECK (level BETWEEN 6 AND 62),
    node_index bigint NOT NULL CHECK (node_index >= 0),
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant_id, level, node_index)
);
CALL secure_tenant_table('audit_tree', 'SELECT', true);

-- Signed tree heads; `note` is the C2SP signed note as handed to auditors.
CREATE TABLE audit_checkpoints (
    tenant_id uuid NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    root_hash bytea NOT NULL CHECK (length(root_hash) = 32),
    note      text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, tree_size)
);
CALL secure_tenant_table('audit_checkpoints', 'SELECT', true);

-- The keys that sign checkpoints. The private seed is wrapped by the tenant's
-- KEK; the auditor sees public halves only. Keys are never retired
-- out of sight: old checkpoints are verified with the key that signed them.
CREATE TABLE audit_log_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    key_id      uuid NOT NULL,
    key_name    text NOT NULL CHECK (key_name ~ '^[^ +]+$'),
    public_key  bytea NOT NULL CHECK (length(public_key) = 32),
    epoch       integer NOT NULL CHECK (epoch > 0),
    kek_purpose text NOT NULL DEFAULT 'tenant_kek' CHECK (kek_purpose = 'tenant_kek'),
    kek_epoch   integer NOT NULL,
    wrapped_seed bytea NOT NULL,
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'retired')),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, key_id),
    FOREIGN KEY (tenant_id, kek_purpose, kek_epoch) REFERENCES tenant_keks (tenant_id, purpose, epoch)
);
CREATE UNIQUE INDEX audit_log_keys_one_active ON audit_log_keys (tenant_id) WHERE status = 'active';
CALL secure_tenant_table('audit_log_keys', 'SELECT, INSERT', false);
GRANT SELECT (tenant_id, key_id, key_name, public_key, status, created_at) ON audit_log_keys TO strongroom_auditor;

-- The sealer works for all tenants at once, on hashes only: it never reads a
-- record. FOR UPDATE SKIP LOCKED asks for UPDATE on one column; the trigger
-- below still refuses every UPDATE.
GRANT SELECT, DELETE, UPDATE (event_id) ON audit_inbox TO strongroom_sealer;
GRANT SELECT, INSERT ON audit_leaves, audit_tree, audit_checkpoints TO strongroom_sealer;
GRANT SELECT ON audit_log_keys TO strongroom_sealer;
CREATE POLICY sealer_moves ON audit_inbox TO strongroom_sealer USING (true);
CREATE POLICY sealer_appends ON audit_leaves TO strongroom_sealer USING (true) WITH CHECK (true);
CREATE POLICY sealer_appends ON audit_tree TO strongroom_sealer USING (true) WITH CHECK (true);
CREATE POLICY sealer_appends ON audit_checkpoints TO strongroom_sealer USING (true) WITH CHECK (true);
CREATE POLICY sealer_reads ON audit_log_keys FOR SELECT TO strongroom_sealer USING (true);

-- Append-only for everyone. Statement triggers, because row triggers never fire
-- on rows that row security hides; ENABLE ALWAYS, because otherwise
-- session_replication_role = replica would skip them. Disabling a trigger is DDL
-- by the owner: not prevented, but `audit verify` finds what was done meanwhile.
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: the audit log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
GRANT EXECUTE ON FUNCTION refuse_audit_change() TO strongroom_app, strongroom_sealer, strongroom_auditor;

-- Only the sealer may take rows out of the inbox.
CREATE FUNCTION refuse_audit_inbox_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF current_user <> 'strongroom_sealer' THEN
        RAISE EXCEPTION 'DELETE on audit_inbox refused: only the sealer takes records out'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION refuse_audit_inbox_delete() TO strongroom_app, strongroom_sealer, strongroom_auditor;

DO $$
DECLARE
    append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['audit_log', 'audit_leaves', 'audit_tree', 'audit_checkpoints'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            || 'FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()', append_only);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', append_only);
    END LOOP;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON audit_inbox
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER only_sealer_deletes BEFORE DELETE ON audit_inbox
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_inbox_delete();
ALTER TABLE audit_inbox ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit_inbox ENABLE ALWAYS TRIGGER only_sealer_deletes;
-- A signing key may be retired and its seed wrapped anew, never altered, removed
-- or brought back.
CREATE FUNCTION refuse_audit_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (OLD.status = 'retired' AND NEW.status <> 'retired')
        OR (NEW.tenant_id, NEW.key_id, NEW.key_name, NEW.public_key, NEW.epoch, NEW.created_at)
            IS DISTINCT FROM (OLD.tenant_id, OLD.key_id, OLD.key_name, OLD.public_key, OLD.epoch, OLD.created_at) THEN
        RAISE EXCEPTION '% on audit_log_keys refused: a signing key may only be retired or rewrapped', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION refuse_audit_key_change() TO strongroom_app, strongroom_sealer, strongroom_auditor;
CREATE TRIGGER only_retired BEFORE UPDATE ON audit_log_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_key_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit_log_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_log_keys ENABLE ALWAYS TRIGGER only_retired;
ALTER TABLE audit_log_keys ENABLE ALWAYS TRIGGER append_only;
GRANT UPDATE (status, kek_epoch, wrapped_seed) ON audit_log_keys TO strongroom_app;

-- For functions and triggers written in SQL: one record of the current tenant,
-- with the actor out of the transaction's settings. The bytes are JSON with the
-- same members as the records written by `audit::AuditEvent` (the order and the
-- white space are jsonb's: a verifier hashes bytes as they are).
CREATE FUNCTION audit_append(
    p_event_type audit_event_type, p_severity audit_severity, p_action text, p_resource_type text,
    p_resource_id uuid, p_result audit_result, p_old_values jsonb, p_new_values jsonb, p_details jsonb
) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant_id uuid := require_tenant();
    v_at timestamptz := app_now();
    v_micros bigint := (extract(epoch FROM v_at) * 1000000)::bigint;
    v_bytes bytea := uuid_send(gen_random_uuid());
    v_user text := nullif(nullif(current_setting('app.current_user_id', true), ''), '*');
    v_event_id uuid;
    v_fraction integer;
    v_record bytea;
BEGIN
    -- UUID version 7, RFC 9562 method 3: milliseconds, then 12 bits of fraction.
    v_fraction := ((v_micros % 1000) * 4096 / 1000)::integer;
    v_bytes := overlay(v_bytes PLACING substring(int8send(v_micros / 1000) FROM 3) FROM 1 FOR 6);
    v_bytes := set_byte(v_bytes, 6, 112 | (v_fraction >> 8));
    v_bytes := set_byte(v_bytes, 7, v_fraction & 255);
    v_event_id := encode(v_bytes, 'hex')::uuid;
    v_record := convert_to(jsonb_strip_nulls(jsonb_build_object(
        'action', p_action, 'actor_kind', 'database', 'event_id', v_event_id, 'event_type', p_event_type,
        'occurred_at', to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'resource_id', p_resource_id, 'resource_type', p_resource_type, 'result', p_result,
        'severity', p_severity, 'tenant_id', v_tenant_id, 'user_id', v_user, 'v', 1))::text, 'UTF8');
    -- The values join afterwards, so that the nulls inside them stay.
    v_record := convert_to((convert_from(v_record, 'UTF8')::jsonb
        || CASE WHEN p_old_values IS NULL THEN '{}' ELSE jsonb_build_object('old_values', p_old_values) END
        || CASE WHEN p_new_values IS NULL THEN '{}' ELSE jsonb_build_object('new_values', p_new_values) END
        || CASE WHEN p_details IS NULL THEN '{}' ELSE jsonb_build_object('details', p_details) END)::text, 'UTF8');
    INSERT INTO audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, user_id, resource_id,
        actor_kind, action, resource_type, old_values, new_values, details, record)
    VALUES (v_tenant_id, v_event_id, v_at, p_event_type, p_severity, p_result, v_user::uuid, p_resource_id,
        'database', p_action, p_resource_type, p_old_values, p_new_values, p_details, v_record);
    INSERT INTO audit_inbox (tenant_id, event_id, leaf_hash)
    VALUES (v_tenant_id, v_event_id, sha256('\x00'::bytea || v_record));
    RETURN v_event_id;
END $$;
GRANT EXECUTE ON FUNCTION audit_append(audit_event_type, audit_severity, text, text, uuid, audit_result, jsonb, jsonb, jsonb)
    TO strongroom_app;
