-- The audit log in partitions: by how long records are kept (security, access, system) and by
-- month. What has to go goes by partition, without a DELETE, which the log knows for nobody;
-- its leaves stay, so that what is left is proven as before. One tree a tenant covers all.
--
-- Takes the log's records into new tables, byte for byte: until it is done nothing is written.
-- Some 50,000 records a second.

-- The first id of an instant: ids of records are UUIDs of version 7, which begin with
-- milliseconds.
CREATE FUNCTION event_id_at(p_at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT encode(substring(int8send((extract(epoch FROM p_at) * 1000)::bigint) FROM 3) || '\x00000000000000000000', 'hex')::uuid $$;

ALTER TABLE audit_log RENAME TO audit_log_whole;
ALTER TABLE audit_log_whole NO FORCE ROW LEVEL SECURITY;

-- Without a partition for all else: an event type is given a class with the migration that
-- brings it (`audit::EventType::retention_class`; a test compares the two).
CREATE TABLE audit_log (LIKE audit_log_whole INCLUDING DEFAULTS) PARTITION BY LIST (event_type);

-- Who did what to what: rights, secrets, money, settings, data.
CREATE TABLE audit_log_security PARTITION OF audit_log FOR VALUES IN (
    'auth_failure', 'privilege_escalation', 'data_breach', 'security_violation',
    'login', 'logout', 'role_change', 'data_export', 'permission_denied', 'account_lockout',
    'credential_change', 'session_revocation', 'key_management', 'admin_action',
    'user_creation', 'data_modification', 'ledger_posting', 'configuration_change')
    PARTITION BY RANGE (event_id);
-- Who read what.
CREATE TABLE audit_log_access PARTITION OF audit_log FOR VALUES IN (
    'api_access', 'prediction_request', 'data_query', 'report_generation', 'data_access')
    PARTITION BY RANGE (event_id);
-- What the system did of itself, and what only counts.
CREATE TABLE audit_log_system PARTITION OF audit_log FOR VALUES IN (
    'request_flood', 'token_refresh', 'key_use', 'job_run')
    PARTITION BY RANGE (event_id);

-- What all tables of the log are: closed to whoever acts for no tenant, and to every change,
-- also by the owner and also where a partition is named instead of the log. Statement triggers
-- are not inherited, and neither are policies. Nobody is granted anything but on the log.
CREATE PROCEDURE secure_audit_partition(p_table regclass)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s TO strongroom_owner, strongroom_app, strongroom_auditor '
        || 'USING (tenant_id = nullif(current_setting(''app.current_tenant'', true), '''')::uuid) '
        || 'WITH CHECK (tenant_id = nullif(current_setting(''app.current_tenant'', true), '''')::uuid)', p_table);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format(
        'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        || 'FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()', p_table);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', p_table);
END $$;

-- One class's partition of the month that begins then (UTC); says whether it was made. It is
-- made beside the log and joined to it afterwards, because joining asks for a weaker lock of
-- it. Where the month's records are in the rest already they stay there: they may not be
-- moved.
CREATE FUNCTION make_audit_partition(p_class text, p_month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_parent text := format('audit_log_%s', p_class);
    v_name text := format('%s_%s', v_parent, to_char(p_month, 'YYYY_MM'));
    v_from uuid := event_id_at(p_month::timestamp AT TIME ZONE 'UTC');
    v_to uuid := event_id_at((p_month + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE %I INCLUDING DEFAULTS)', v_name, v_parent);
    CALL secure_audit_partition(v_name::regclass);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_parent, v_name, v_from, v_to);
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END $$;

DO $$
DECLARE
    v_class text;
    v_month date;
BEGIN
    FOREACH v_class IN ARRAY ARRAY['security', 'access', 'system'] LOOP
        EXECUTE format('CREATE TABLE audit_log_%1$s_rest PARTITION OF audit_log_%1$s DEFAULT', v_class);
        FOR v_month IN
            SELECT date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date FROM audit_log_whole GROUP BY 1
            UNION
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date
            FROM generate_series(0, 2) AS ahead
            ORDER BY 1
        LOOP
            PERFORM make_audit_partition(v_class, v_month);
        END LOOP;
    END LOOP;
END $$;

INSERT INTO audit_log SELECT * FROM audit_log_whole;
DROP TABLE audit_log_whole;

-- The type is in the key because a partition's key is; that an id is there once is said by
-- the inbox and by the leaves.
ALTER TABLE audit_log ADD PRIMARY KEY (tenant_id, event_id, event_type);
CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, event_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_by_resource ON audit_log (tenant_id, resource_id, event_id) WHERE resource_id IS NOT NULL;

DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT relid FROM pg_partition_tree('audit_log')
        WHERE relid NOT IN (SELECT tgrelid FROM pg_trigger WHERE tgname = 'append_only')
    LOOP
        CALL secure_audit_partition(v_table);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON audit_log TO strongroom_app;
GRANT SELECT ON audit_log TO strongroom_auditor;

-- Partitions of this month and the next ones, for each class; says how many it made. For the
-- app's worker: it owns no tables, so it asks the owner of the schema. It gives up rather than
-- let records wait behind it for a lock.
CREATE FUNCTION make_audit_partitions(p_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    v_made integer := 0;
    v_class text;
    v_month date;
BEGIN
    IF p_ahead NOT BETWEEN 0 AND 12 THEN
        RAISE EXCEPTION 'partitions are made for 0 to 12 months ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Nodes ask at the same time.
    PERFORM pg_advisory_xact_lock(hashtextextended('make_audit_partitions', 0));
    FOREACH v_class IN ARRAY ARRAY['security', 'access', 'system'] LOOP
        FOR v_month IN
            SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date
            FROM generate_series(0, p_ahead) AS ahead
        LOOP
            v_made := v_made + make_audit_partition(v_class, v_month)::integer;
        END LOOP;
    END LOOP;
    RETURN v_made;
END $$;
GRANT EXECUTE ON FUNCTION make_audit_partitions(integer) TO strongroom_app;

-- Which leaves have no record any more, in runs of places, and the record of the log that says
-- so (`audit.drop`). Whatever else has none was removed.
CREATE TABLE audit_dropped (
    tenant_id   uuid NOT NULL,
    first_index bigint NOT NULL CONSTRAINT audit_dropped_first CHECK (first_index >= 0),
    last_index  bigint NOT NULL CONSTRAINT audit_dropped_last CHECK (last_index >= first_index),
    drop_id     uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, first_index)
);
GRANT SELECT ON audit_dropped TO strongroom_app, strongroom_auditor;
CALL secure_audit_partition('audit_dropped');

-- Takes one month of a class away; for the owner alone, and behind the records that declare it.
CREATE FUNCTION drop_audit_partition(p_class text, p_month text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_parent text := format('audit_log_%s', p_class);
    v_name text := format('%s_%s', v_parent, p_month);
BEGIN
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', v_parent, v_name);
    EXECUTE format('DROP TABLE %I', v_name);
END $$;

-- A movement's record goes in ahead of it, in the same transaction: of the log only what is
-- that young is asked, and so one month, or two.
CREATE OR REPLACE FUNCTION refuse_unrecorded_transfers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    whole uuid := nullif(current_setting('app.posting_record', true), '')::uuid;
BEGIN
    IF EXISTS (
        SELECT 1 FROM posted
        WHERE NOT coalesce((SELECT true FROM audit_log log
                            WHERE log.tenant_id = posted.tenant_id AND log.resource_id = posted.id
                              AND log.event_type = 'ledger_posting'
                              AND log.event_id >= event_id_at(app_now() - interval '1 day')
                              AND log.event_id < event_id_at(app_now() + interval '1 day')
                            LIMIT 1), false)
          AND (whole IS NULL OR posted.id NOT IN (
              SELECT (digest ->> 0)::uuid
              FROM audit_log log, jsonb_array_elements(log.details -> 'digests') digest
              WHERE log.tenant_id = require_tenant() AND log.event_id = whole
                AND log.event_type = 'ledger_posting')))
    THEN
        RAISE EXCEPTION 'a movement of the ledger has no record in the audit log'
            USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its record is written first, in the same transaction.';
    END IF;
    RETURN NULL;
END $$;
