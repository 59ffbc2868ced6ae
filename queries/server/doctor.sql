--! server
-- What the server is and how careful it is with what it was told to keep. The
-- clock is asked of the server's machine, not of the transaction.
SELECT clock_timestamp() AS clock,
    current_setting('server_version_num')::integer AS version_number,
    current_setting('server_version') AS version,
    current_setting('TimeZone') AS time_zone,
    pg_encoding_to_char(database.encoding)::text AS encoding,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    (SELECT setting.source FROM pg_settings setting WHERE setting.name = 'synchronous_commit') AS commit_source,
    quote_ident(current_database()) AS database_name,
    current_setting('data_checksums') AS data_checksums,
    current_setting('listen_addresses') AS listen_addresses,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('superuser_reserved_connections')::integer
        + coalesce(nullif(current_setting('reserved_connections', true), '')::integer, 0) AS reserved_connections,
    current_setting('autovacuum') AS autovacuum,
    pg_is_in_recovery() AS in_recovery,
    coalesce((SELECT wire.ssl FROM pg_stat_ssl wire WHERE wire.pid = pg_backend_pid()), false) AS encrypted,
    pg_database_size(database.oid)::bigint AS database_bytes
FROM pg_database database
WHERE database.datname = current_database();

--! data_directory
-- No row where this login may not know it.
SELECT setting FROM pg_settings WHERE name = 'data_directory';

--! roles
-- The four roles: whether they exist, and what they could do that they must not.
SELECT wanted.name, role.oid IS NOT NULL AS is_there, coalesce(role.rolsuper, false) AS is_superuser,
    coalesce(role.rolbypassrls, false) AS bypasses_row_security, coalesce(role.rolcreaterole, false) AS creates_roles,
    coalesce(role.rolcanlogin, false) AS logs_in,
    EXISTS (SELECT 1 FROM pg_class relation JOIN pg_namespace space ON space.oid = relation.relnamespace
            WHERE space.nspname = 'public' AND relation.relkind IN ('r', 'p')
              AND relation.relowner = role.oid) AS owns_tables,
    coalesce(pg_has_role(role.oid, owner.oid, 'MEMBER'), false) AS may_become_owner
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (name, position)
LEFT JOIN pg_roles role ON role.rolname = wanted.name
LEFT JOIN pg_roles owner ON owner.rolname = 'strongroom_owner'
ORDER BY wanted.position;

--! tenant_tables
-- Every table with a tenant, and whether anything keeps the tenants apart in it. Nothing has to
-- where the application has no right (the log over all tenants' logs).
SELECT relation.relname::text AS name, relation.relrowsecurity AS enabled, relation.relforcerowsecurity AS forced,
    EXISTS (SELECT 1 FROM pg_policy rule WHERE rule.polrelid = relation.oid AND rule.polname = 'tenant_isolation') AS isolated,
    pg_get_userbyid(relation.relowner)::text AS owner
FROM pg_class relation
JOIN pg_namespace space ON space.oid = relation.relnamespace
JOIN pg_attribute tenant ON tenant.attrelid = relation.oid AND tenant.attname = 'tenant_id' AND NOT tenant.attisdropped
WHERE space.nspname = 'public' AND relation.relkind IN ('r', 'p')
    AND (relation.relrowsecurity
        OR has_table_privilege('strongroom_app', relation.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
ORDER BY relation.relname;

--! triggers
-- How each is enabled: A always, O not where session_replication_role is replica, R only there, D never.
-- Of partitions the next statement.
SELECT relation.relname::text AS name, rule.tgname::text AS trigger, rule.tgenabled::text AS mode
FROM pg_trigger rule
JOIN pg_class relation ON relation.oid = rule.tgrelid
JOIN pg_namespace space ON space.oid = relation.relnamespace
WHERE space.nspname = 'public' AND NOT rule.tgisinternal AND NOT relation.relispartition
ORDER BY relation.relname, rule.tgname;

--! partitions
-- The partitions of the audit log and their one trigger.
SELECT relation.relname::text AS name, rule.tgenabled::text AS mode
FROM pg_partition_tree('audit_log') part
JOIN pg_class relation ON relation.oid = part.relid
LEFT JOIN pg_trigger rule ON rule.tgrelid = relation.oid AND rule.tgname = 'append_only'
WHERE relation.relispartition
ORDER BY relation.relname;

--! partitions_missing
-- Of this month and the next; what comes without one stands in the rest of its class for good.
SELECT wanted.name
FROM (SELECT format('audit_log_%s_%s', class,
          to_char((now() AT TIME ZONE 'UTC') + make_interval(months => ahead), 'YYYY_MM')) AS name
      FROM unnest(ARRAY['security', 'access', 'system']) AS class, generate_series(0, 1) AS ahead) wanted
WHERE to_regclass('public.' || wanted.name) IS NULL
ORDER BY wanted.name;

--! tables
-- The largest tables; estimates are the planner's.
SELECT relation.relname::text AS name, pg_total_relation_size(relation.oid)::bigint AS bytes,
    coalesce(usage.n_live_tup, 0)::bigint AS live_rows, coalesce(usage.n_dead_tup, 0)::bigint AS dead_rows,
    coalesce(usage.seq_scan, 0)::bigint AS sequential_scans,
    coalesce(usage.seq_tup_read, 0)::bigint AS sequential_rows
FROM pg_class relation
JOIN pg_namespace space ON space.oid = relation.relnamespace
LEFT JOIN pg_stat_user_tables usage ON usage.relid = relation.oid
WHERE space.nspname = 'public' AND relation.relkind IN ('r', 'p')
ORDER BY bytes DESC, name;

--! indexes
-- Unique indexes earn their keep without being read. Invalid ones cost and serve nothing.
SELECT entry.relname::text AS table_name, entry.indexrelname::text AS name,
    pg_relation_size(entry.indexrelid)::bigint AS bytes, entry.idx_scan::bigint AS scans,
    definition.indisunique AS is_unique, definition.indisvalid AS is_valid
FROM pg_stat_user_indexes entry
JOIN pg_index definition ON definition.indexrelid = entry.indexrelid
WHERE entry.schemaname = 'public'
ORDER BY bytes DESC, name;

--! long_transactions
-- They hold back vacuum and locks. A login without pg_monitor sees its own only.
SELECT activity.pid, coalesce(activity.usename::text, '') AS login, coalesce(activity.state, '') AS state,
    coalesce(activity.application_name, '') AS application,
    extract(epoch FROM clock_timestamp() - activity.xact_start)::bigint AS age_s
FROM pg_stat_activity activity
WHERE activity.datname = current_database() AND activity.pid <> pg_backend_pid()
  AND activity.backend_type = 'client backend' AND activity.xact_start < clock_timestamp() - $1::bigint * interval '1 second'
ORDER BY activity.xact_start;

--! row_estimates
-- How large the planner believes tables to be; -1 where it never looked.
SELECT relation.relname::text AS name, relation.reltuples::bigint AS live_rows
FROM pg_class relation
JOIN pg_namespace space ON space.oid = relation.relnamespace
WHERE space.nspname = 'public' AND relation.relkind IN ('r', 'p');

--! has_statement_statistics
SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements') AS present;

--! tenant
-- One look at a tenant. Event ids carry their time; the count stops at 100,000.
SELECT (SELECT policy FROM security_policies WHERE tenant_id = $1::uuid) AS policy,
    (SELECT count(*) FROM (SELECT 1 FROM audit_inbox WHERE tenant_id = $1::uuid LIMIT 100000) bounded)::bigint AS waiting,
    (SELECT event_id FROM audit_inbox WHERE tenant_id = $1::uuid ORDER BY event_id LIMIT 1) AS oldest_waiting,
    coalesce((SELECT log_index + 1 FROM audit_leaves WHERE tenant_id = $1::uuid
              ORDER BY log_index DESC LIMIT 1), 0)::bigint AS leaves,
    (SELECT count(*) FROM (SELECT 1 FROM idempotency_keys WHERE tenant_id = $1::uuid
                             AND created_at < app_now() - interval '8 days' LIMIT 100000) bounded)::bigint AS overdue_answers,
    proof.finished_at AS proof_finished_at, coalesce(proof.fault_count, 0)::bigint AS proof_fault_count
FROM (SELECT $1::uuid AS tenant_id) wanted
LEFT JOIN ledger_proofs proof ON proof.tenant_id = wanted.tenant_id AND proof.tenant_id = $1::uuid;

--! tenant_signing_keys
SELECT key_id, algorithm, derived, status, coalesce(activated_at, created_at) AS since
FROM signing_keys
WHERE tenant_id = $1::uuid AND status <> 'retired'
ORDER BY epoch DESC;
