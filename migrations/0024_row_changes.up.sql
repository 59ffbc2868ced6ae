-- What an operation changes, its own record tells. What is changed past the operations (psql
-- as the owner, a script, the app's login in somebody's hands) leaves a record of its own.
--
-- Operations are told apart by `app.operation`, which `TenantTx` sets with the tenant.
-- Whoever may write may set that as well: this finds the hasty and the careless, and `audit
-- verify` and the ledger's proofs find what remains.

-- A row as its record may tell it. Bytes (ciphertext, hashes, wrapped keys), hashes that are
-- kept as text, people's names and what they write are told by their SHA-256: that they
-- changed is seen, what they are is not, and a record outlives the person.
CREATE FUNCTION row_for_audit(p_table regclass, p_row jsonb) RETURNS jsonb
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(a.attname, CASE
        WHEN field.value <> 'null' AND (a.atttypid = 'bytea'::regtype OR a.attname LIKE '%\_hash'
                OR a.attname IN ('username', 'username_key', 'description', 'reference'))
            THEN to_jsonb('sha256:' || encode(sha256(convert_to(field.value #>> '{}', 'UTF8')), 'hex'))
        ELSE field.value END), '{}')
    FROM jsonb_each(p_row) AS field
    JOIN pg_attribute AS a ON a.attrelid = p_table AND a.attname = field.key AND NOT a.attisdropped
$$;

-- Who is at the other end of a connection, as far as PostgreSQL knows.
CREATE FUNCTION hand_for_audit() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'login', session_user, 'application', nullif(current_setting('application_name'), '')))
$$;

-- Of the triggers that `audit_rows` makes; their argument is the column that names the tenant.
-- The record belongs to the tenant of the row, whoever the transaction is for. No role may
-- call it: triggers do not ask.
CREATE FUNCTION audit_row_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_old jsonb := to_jsonb(OLD);
    v_new jsonb := to_jsonb(NEW);
    v_row jsonb := coalesce(v_new, v_old);
    v_tenants text[] := ARRAY[v_old ->> TG_ARGV[0], v_new ->> TG_ARGV[0]];
    v_key jsonb;
    v_id uuid;
    v_tenant text;
BEGIN
    SELECT jsonb_object_agg(a.attname, v_row -> a.attname) INTO v_key
    FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = TG_RELID AND i.indisprimary;
    SELECT (v_row ->> 'id')::uuid INTO v_id
    FROM pg_attribute WHERE attrelid = TG_RELID AND attname = 'id' AND atttypid = 'uuid'::regtype;
    IF TG_OP = 'UPDATE' THEN
        -- The columns that differ, and no others.
        SELECT jsonb_object_agg(field.key, field.value) INTO v_old
        FROM jsonb_each(v_old) AS field WHERE field.value IS DISTINCT FROM v_new -> field.key;
        SELECT jsonb_object_agg(field.key, field.value) INTO v_new
        FROM jsonb_each(v_new) AS field WHERE v_old ? field.key;
    END IF;
    -- Two where a row was moved from one tenant to another.
    FOR v_tenant IN SELECT DISTINCT given FROM unnest(v_tenants) AS given WHERE given IS NOT NULL LOOP
        PERFORM set_config('app.current_tenant', v_tenant, true);
        PERFORM audit_append('data_modification', 'high', 'row.' || lower(TG_OP), TG_TABLE_NAME, v_id, 'success',
            row_for_audit(TG_RELID, v_old), row_for_audit(TG_RELID, v_new),
            hand_for_audit() || jsonb_build_object('key', row_for_audit(TG_RELID, v_key)));
    END LOOP;
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN NULL;
END $$;

-- What a TRUNCATE takes, counted tenant by tenant (as somebody who may see all of a tenant).
CREATE FUNCTION audit_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_user text := coalesce(current_setting('app.current_user_id', true), '');
    v_tenant uuid;
    v_rows bigint;
BEGIN
    PERFORM set_config('app.current_user_id', '*', true);
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        EXECUTE format('SELECT count(*) FROM %s WHERE %I = $1', TG_RELID::regclass, TG_ARGV[0])
            INTO v_rows USING v_tenant;
        IF v_rows > 0 THEN
            PERFORM audit_append('data_modification', 'critical', 'row.truncate', TG_TABLE_NAME, NULL, 'success',
                NULL, NULL, hand_for_audit() || jsonb_build_object('rows', v_rows));
        END IF;
    END LOOP;
    PERFORM set_config('app.current_tenant', v_before, true), set_config('app.current_user_id', v_user, true);
    RETURN NULL;
END $$;

-- With a false WHEN no row is remembered for the trigger: an operation pays for a comparison.
-- ALWAYS, because session_replication_role = replica would skip them otherwise.
CREATE PROCEDURE audit_rows(table_name regclass, tenant_column text)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER audit_row_change AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
        || 'WHEN (current_setting(''app.operation'', true) IS DISTINCT FROM ''yes'') '
        || 'EXECUTE FUNCTION audit_row_change(%L)', table_name, tenant_column);
    EXECUTE format(
        'CREATE TRIGGER audit_truncation BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
        || 'EXECUTE FUNCTION audit_truncation(%L)', table_name, tenant_column);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row_change', table_name);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_truncation', table_name);
END $$;

-- As in 0001, and with the triggers: a new tenant table has them unless its migration drops
-- them and says why.
CREATE OR REPLACE PROCEDURE secure_tenant_table(table_name regclass, app_privileges text, auditor_reads boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s TO strongroom_owner, strongroom_app, strongroom_auditor '
        || 'USING (tenant_id = nullif(current_setting(''app.current_tenant'', true), '''')::uuid) '
        || 'WITH CHECK (tenant_id = nullif(current_setting(''app.current_tenant'', true), '''')::uuid)',
        table_name);
    IF app_privileges <> '' THEN
        EXECUTE format('GRANT %s ON %s TO strongroom_app', app_privileges, table_name);
    END IF;
    IF auditor_reads THEN
        EXECUTE format('GRANT SELECT ON %s TO strongroom_auditor', table_name);
    END IF;
    IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = table_name AND attname = 'updated_at' AND NOT attisdropped) THEN
        EXECUTE format(
            'CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION touch_updated_at()',
            table_name);
    END IF;
    CALL audit_rows(table_name, 'tenant_id');
END $$;

-- Exempt: the log's own tables, which refuse changes themselves and would record each record;
-- and answers kept for repeated commands, which may tell what is sealed everywhere else.
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relrowsecurity
            AND relname NOT IN ('audit_log', 'audit_inbox', 'audit_leaves', 'audit_tree', 'audit_checkpoints',
                'idempotency_keys')
        ORDER BY relname
    LOOP
        CALL audit_rows(v_table, 'tenant_id');
    END LOOP;
    CALL audit_rows('tenants', 'id');
END $$;

-- A step of the schema is an operation: instead of each row that it changed, every tenant's
-- log tells of the step. Called by the runner of migrations.
CREATE PROCEDURE record_migration(p_direction text, p_version integer, p_name text)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        PERFORM audit_append('configuration_change', 'medium', 'migration.' || p_direction, 'migration', NULL, 'success',
            NULL, NULL, hand_for_audit() || jsonb_build_object('version', p_version, 'name', p_name));
    END LOOP;
    PERFORM set_config('app.current_tenant', v_before, true);
END $$;
