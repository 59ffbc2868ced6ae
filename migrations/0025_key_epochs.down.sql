-- Refused by NOT NULL where a key was destroyed: the schema before has no word for that.
DROP VIEW key_standings;

DROP TRIGGER refuse_destroyed_kek_updated ON audit_log_keys;
DROP TRIGGER refuse_destroyed_kek_inserted ON audit_log_keys;
DROP TRIGGER refuse_destroyed_kek_inserted ON signing_keys;
DROP TRIGGER refuse_destroyed_kek_updated ON data_keys;
DROP TRIGGER refuse_destroyed_kek_inserted ON data_keys;
DROP TRIGGER refuse_destroyed_kek_updated ON subject_keys;
DROP TRIGGER refuse_destroyed_kek_inserted ON subject_keys;
DROP FUNCTION refuse_destroyed_kek();

DROP TRIGGER not_rewrapped ON signing_keys;
DROP TRIGGER only_rewrapped ON audit_log_keys;
DROP FUNCTION refuse_key_going_back();

DROP TRIGGER only_shredded_or_rewrapped ON subject_keys;
CREATE OR REPLACE FUNCTION refuse_subject_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a subject''s key may only be destroyed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER only_shredded BEFORE UPDATE ON subject_keys
    FOR EACH ROW WHEN (NEW.wrapped_key IS NOT NULL OR OLD.wrapped_key IS NULL)
    EXECUTE FUNCTION refuse_subject_key_change();

DROP TRIGGER refuse_data_key_revival ON data_keys;
DROP FUNCTION refuse_data_key_revival();
DROP TRIGGER refuse_kek_revival ON tenant_keks;
DROP FUNCTION refuse_kek_revival();

ALTER TABLE signing_keys
    DROP CONSTRAINT signing_keys_kek_known,
    DROP COLUMN kek_epoch,
    DROP COLUMN kek_purpose;

REVOKE UPDATE (kek_epoch) ON subject_keys FROM strongroom_app;

REVOKE UPDATE (status, kek_epoch, wrapped_key, destroyed_at) ON data_keys FROM strongroom_app;
ALTER TABLE data_keys
    DROP CONSTRAINT data_keys_destroyed,
    DROP CONSTRAINT data_keys_status,
    ADD CONSTRAINT data_keys_status_check CHECK (status IN ('active', 'retired')),
    DROP COLUMN destroyed_at,
    ALTER COLUMN wrapped_key SET NOT NULL;

REVOKE UPDATE (status, wrapped_key, destroyed_at) ON tenant_keks FROM strongroom_app;
ALTER TABLE tenant_keks
    DROP CONSTRAINT tenant_keks_destroyed,
    DROP CONSTRAINT tenant_keks_status,
    ADD CONSTRAINT tenant_keks_status_check CHECK (status IN ('active', 'retired')),
    DROP COLUMN destroyed_at,
    ALTER COLUMN wrapped_key SET NOT NULL;
