-- The schema before 0025 does not say which KEK wraps a signing key, and knows one generation
-- alone: after a rotation the way back would lose what opens what. Tenant by tenant: forced row
-- security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        IF EXISTS (SELECT 1 FROM tenant_keks WHERE tenant_id = v_tenant AND epoch > 1) THEN
            RAISE EXCEPTION 'the KEKs of tenant % were rotated, and the schema before knows one generation', v_tenant
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;

ALTER TABLE tenant_keks ENABLE TRIGGER refuse_kek_revival;
ALTER TABLE data_keys ENABLE TRIGGER refuse_data_key_revival;
ALTER TABLE data_keys ENABLE TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE data_keys ENABLE TRIGGER refuse_destroyed_kek_updated;
ALTER TABLE subject_keys ENABLE TRIGGER only_shredded_or_rewrapped;
ALTER TABLE subject_keys ENABLE TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE subject_keys ENABLE TRIGGER refuse_destroyed_kek_updated;
ALTER TABLE signing_keys ENABLE TRIGGER not_rewrapped;
ALTER TABLE signing_keys ENABLE TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE audit_log_keys ENABLE TRIGGER only_rewrapped;
ALTER TABLE audit_log_keys ENABLE TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE audit_log_keys ENABLE TRIGGER refuse_destroyed_kek_updated;

DROP INDEX subject_keys_by_kek;
DROP TRIGGER note_key_retired ON data_keys;
DROP TRIGGER note_key_retired ON tenant_keks;
DROP FUNCTION note_key_retired();
ALTER TABLE data_keys DROP COLUMN retired_at;
ALTER TABLE tenant_keks DROP COLUMN retired_at;
