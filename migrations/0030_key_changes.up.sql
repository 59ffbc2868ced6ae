-- Generations of keys change hands: when one was retired, and guards that hold for everybody.

-- Since when a key seals and wraps nothing new. A node may use the one that it has read a
-- moment longer, so a key is not destroyed right after it was retired.
ALTER TABLE tenant_keks ADD COLUMN retired_at timestamptz;
ALTER TABLE data_keys ADD COLUMN retired_at timestamptz;

CREATE FUNCTION note_key_retired() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.retired_at := app_now();
    RETURN NEW;
END $$;
CREATE TRIGGER note_key_retired BEFORE UPDATE ON tenant_keks
    FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status = 'retired') EXECUTE FUNCTION note_key_retired();
CREATE TRIGGER note_key_retired BEFORE UPDATE ON data_keys
    FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status = 'retired') EXECUTE FUNCTION note_key_retired();

-- What still waits for the newest KEK, and whether an old one may be destroyed.
CREATE INDEX subject_keys_by_kek ON subject_keys (tenant_id, kek_epoch, subject_id) WHERE wrapped_key IS NOT NULL;

-- They guard what no backup brings back: session_replication_role = replica does not skip them.
ALTER TABLE tenant_keks ENABLE ALWAYS TRIGGER refuse_kek_revival;
ALTER TABLE tenant_keks ENABLE ALWAYS TRIGGER note_key_retired;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER refuse_data_key_revival;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER note_key_retired;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE data_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_updated;
ALTER TABLE subject_keys ENABLE ALWAYS TRIGGER only_shredded_or_rewrapped;
ALTER TABLE subject_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE subject_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_updated;
ALTER TABLE signing_keys ENABLE ALWAYS TRIGGER not_rewrapped;
ALTER TABLE signing_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE audit_log_keys ENABLE ALWAYS TRIGGER only_rewrapped;
ALTER TABLE audit_log_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_inserted;
ALTER TABLE audit_log_keys ENABLE ALWAYS TRIGGER refuse_destroyed_kek_updated;
