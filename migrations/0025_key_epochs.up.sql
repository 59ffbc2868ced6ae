-- Several generations of a tenant's keys side by side.
--
-- Legal transitions of a KEK and of a data key: active → retired → destroyed, never back. A
-- retired key opens and wraps nothing new; of a destroyed one only its row is left, which says
-- since when what it opened is closed. A data key or a subject's key moves to a later KEK by
-- being wrapped anew, and to an earlier one never: the earlier one may be known to a backup.

ALTER TABLE tenant_keks
    ALTER COLUMN wrapped_key DROP NOT NULL,
    ADD COLUMN destroyed_at timestamptz,
    DROP CONSTRAINT tenant_keks_status_check,
    ADD CONSTRAINT tenant_keks_status CHECK (status IN ('active', 'retired', 'destroyed')),
    ADD CONSTRAINT tenant_keks_destroyed CHECK ((status = 'destroyed') = (wrapped_key IS NULL)
        AND (status = 'destroyed') = (destroyed_at IS NOT NULL));
GRANT UPDATE (status, wrapped_key, destroyed_at) ON tenant_keks TO strongroom_app;

ALTER TABLE data_keys
    ALTER COLUMN wrapped_key DROP NOT NULL,
    ADD COLUMN destroyed_at timestamptz,
    DROP CONSTRAINT data_keys_status_check,
    ADD CONSTRAINT data_keys_status CHECK (status IN ('active', 'retired', 'destroyed')),
    ADD CONSTRAINT data_keys_destroyed CHECK ((status = 'destroyed') = (wrapped_key IS NULL)
        AND (status = 'destroyed') = (destroyed_at IS NOT NULL));
GRANT UPDATE (status, kek_epoch, wrapped_key, destroyed_at) ON data_keys TO strongroom_app;

GRANT UPDATE (kek_epoch) ON subject_keys TO strongroom_app;

-- Signing keys name the KEK that wraps them, as checkpoint keys do.
ALTER TABLE signing_keys
    ADD COLUMN kek_purpose text NOT NULL DEFAULT 'tenant_kek'
        CONSTRAINT signing_keys_kek_purpose CHECK (kek_purpose = 'tenant_kek'),
    ADD COLUMN kek_epoch integer NOT NULL DEFAULT 1,
    ADD CONSTRAINT signing_keys_kek_known FOREIGN KEY (tenant_id, kek_purpose, kek_epoch)
        REFERENCES tenant_keks (tenant_id, purpose, epoch);
ALTER TABLE signing_keys ALTER COLUMN kek_epoch DROP DEFAULT;

-- What the key in the header of a sealed value is: whose, of which generation, and whether it
-- still opens. A subject's key has the generation and state of the KEK that wraps it.
CREATE VIEW key_standings WITH (security_invoker = true) AS
SELECT subject.tenant_id, subject.key_id, 'subject_data'::text AS purpose, subject.kek_epoch AS epoch,
    CASE WHEN subject.wrapped_key IS NULL THEN 'destroyed' ELSE kek.status END AS status
FROM subject_keys subject
JOIN tenant_keks kek ON kek.tenant_id = subject.tenant_id AND kek.purpose = subject.kek_purpose
    AND kek.epoch = subject.kek_epoch
UNION ALL
SELECT tenant_id, key_id, 'subject_data', NULL, 'destroyed' FROM shredded_subject_keys
UNION ALL
SELECT tenant_id, key_id, purpose, epoch, status FROM data_keys;
GRANT SELECT ON key_standings TO strongroom_app;

CREATE FUNCTION refuse_kek_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (NEW.tenant_id, NEW.purpose, NEW.epoch, NEW.key_id, NEW.created_at)
            IS DISTINCT FROM (OLD.tenant_id, OLD.purpose, OLD.epoch, OLD.key_id, OLD.created_at)
        OR OLD.status = 'destroyed'
        OR (OLD.status, NEW.status) IN (('retired', 'active'), ('active', 'destroyed')) THEN
        RAISE EXCEPTION 'a key goes from active to retired to destroyed, and never back'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.status <> 'destroyed' THEN
        RETURN NEW;
    END IF;
    -- Waits for whoever is storing a key under it (their foreign keys hold FOR KEY SHARE), so
    -- that what is looked for below is all there is. Who comes later finds it destroyed.
    PERFORM 1 FROM tenant_keks
    WHERE tenant_id = OLD.tenant_id AND purpose = OLD.purpose AND epoch = OLD.epoch FOR UPDATE;
    IF EXISTS (SELECT 1 FROM data_keys WHERE tenant_id = OLD.tenant_id AND kek_purpose = OLD.purpose
                   AND kek_epoch = OLD.epoch AND wrapped_key IS NOT NULL)
        OR EXISTS (SELECT 1 FROM subject_keys WHERE tenant_id = OLD.tenant_id AND kek_purpose = OLD.purpose
                   AND kek_epoch = OLD.epoch AND wrapped_key IS NOT NULL)
        OR EXISTS (SELECT 1 FROM signing_keys WHERE tenant_id = OLD.tenant_id AND kek_purpose = OLD.purpose
                   AND kek_epoch = OLD.epoch AND wrapped_key IS NOT NULL)
        OR EXISTS (SELECT 1 FROM audit_log_keys WHERE tenant_id = OLD.tenant_id AND kek_purpose = OLD.purpose
                   AND kek_epoch = OLD.epoch) THEN
        RAISE EXCEPTION 'a key that others are wrapped by is not destroyed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_kek_revival BEFORE UPDATE ON tenant_keks
    FOR EACH ROW EXECUTE FUNCTION refuse_kek_revival();

CREATE FUNCTION refuse_data_key_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (NEW.tenant_id, NEW.key_id, NEW.purpose, NEW.epoch, NEW.kek_purpose, NEW.created_at)
            IS DISTINCT FROM (OLD.tenant_id, OLD.key_id, OLD.purpose, OLD.epoch, OLD.kek_purpose, OLD.created_at)
        OR OLD.status = 'destroyed'
        OR (OLD.status, NEW.status) IN (('retired', 'active'), ('active', 'destroyed')) THEN
        RAISE EXCEPTION 'a key goes from active to retired to destroyed, and never back'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.status <> 'destroyed' AND (NEW.kek_epoch < OLD.kek_epoch
        OR (NEW.kek_epoch > OLD.kek_epoch) <> (NEW.wrapped_key <> OLD.wrapped_key)) THEN
        RAISE EXCEPTION 'a key is wrapped anew by a later key, and otherwise stays as it is'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_data_key_revival BEFORE UPDATE ON data_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_data_key_revival();

-- A subject's key is destroyed, or wrapped anew by a later KEK.
CREATE OR REPLACE FUNCTION refuse_subject_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a subject''s key may only be destroyed, or wrapped anew by a later key'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
DROP TRIGGER only_shredded ON subject_keys;
CREATE TRIGGER only_shredded_or_rewrapped BEFORE UPDATE ON subject_keys
    FOR EACH ROW WHEN (OLD.wrapped_key IS NULL
        OR (NEW.tenant_id, NEW.subject_id, NEW.key_id, NEW.kek_purpose, NEW.created_at)
            IS DISTINCT FROM (OLD.tenant_id, OLD.subject_id, OLD.key_id, OLD.kek_purpose, OLD.created_at)
        OR NEW.kek_epoch < OLD.kek_epoch
        OR (NEW.wrapped_key IS NOT NULL AND (NEW.kek_epoch = OLD.kek_epoch OR NEW.wrapped_key = OLD.wrapped_key)))
    EXECUTE FUNCTION refuse_subject_key_change();

-- The same of the keys that sign the log, which are never destroyed.
CREATE FUNCTION refuse_key_going_back() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a key is wrapped anew by a later key, and otherwise stays as it is'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER only_rewrapped BEFORE UPDATE ON audit_log_keys
    FOR EACH ROW WHEN (NEW.kek_purpose <> OLD.kek_purpose OR NEW.kek_epoch < OLD.kek_epoch
        OR (NEW.kek_epoch > OLD.kek_epoch) <> (NEW.wrapped_seed <> OLD.wrapped_seed))
    EXECUTE FUNCTION refuse_key_going_back();
-- Keys that sign tokens are replaced and never wrapped anew (`only_wiped` of 0016).
CREATE TRIGGER not_rewrapped BEFORE UPDATE ON signing_keys
    FOR EACH ROW WHEN ((NEW.kek_purpose, NEW.kek_epoch) IS DISTINCT FROM (OLD.kek_purpose, OLD.kek_epoch))
    EXECUTE FUNCTION refuse_key_going_back();

-- A node that read its keys a moment ago may wrap by a KEK that was destroyed since: what it
-- stored would never open. The transaction is run again, over keys that are read anew.
CREATE FUNCTION refuse_destroyed_kek() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT 1
               FROM (SELECT DISTINCT tenant_id, kek_purpose, kek_epoch FROM written) AS used
               JOIN tenant_keks kek ON kek.tenant_id = used.tenant_id AND kek.purpose = used.kek_purpose
                   AND kek.epoch = used.kek_epoch
               WHERE kek.status = 'destroyed') THEN
        RAISE EXCEPTION 'the key that wraps it was destroyed' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse_destroyed_kek_inserted AFTER INSERT ON subject_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_updated AFTER UPDATE ON subject_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_inserted AFTER INSERT ON data_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_updated AFTER UPDATE ON data_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_inserted AFTER INSERT ON signing_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_inserted AFTER INSERT ON audit_log_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
CREATE TRIGGER refuse_destroyed_kek_updated AFTER UPDATE ON audit_log_keys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_destroyed_kek();
