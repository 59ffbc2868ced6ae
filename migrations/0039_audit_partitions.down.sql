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

-- What was dropped stays dropped; that it was declared stands in the log alone then, and the
-- verifier of before misses it.
DROP TABLE audit_dropped;
DROP FUNCTION drop_audit_partition(text, text);
DROP FUNCTION make_audit_partitions(integer);
DROP FUNCTION make_audit_partition(text, date);
DROP PROCEDURE secure_audit_partition(regclass);

ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY;
CREATE TABLE audit_log_whole (LIKE audit_log INCLUDING DEFAULTS);
INSERT INTO audit_log_whole SELECT * FROM audit_log;
DROP TABLE audit_log;
DROP FUNCTION event_id_at(timestamptz);
ALTER TABLE audit_log_whole RENAME TO audit_log;
ALTER TABLE audit_log ADD PRIMARY KEY (tenant_id, event_id);
CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, event_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_by_resource ON audit_log (tenant_id, resource_id, event_id) WHERE resource_id IS NOT NULL;
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON audit_log TO strongroom_owner, strongroom_app, strongroom_auditor
    USING (tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid);
GRANT SELECT, INSERT ON audit_log TO strongroom_app;
GRANT SELECT ON audit_log TO strongroom_auditor;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only;
