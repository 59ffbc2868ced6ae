DROP PROCEDURE record_migration(text, integer, text);
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
END $$;
DROP PROCEDURE audit_rows(regclass, text);
DROP FUNCTION audit_row_change() CASCADE;
DROP FUNCTION audit_truncation() CASCADE;
DROP FUNCTION hand_for_audit();
DROP FUNCTION row_for_audit(regclass, jsonb);
