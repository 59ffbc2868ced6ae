-- Second factors and passkeys count their changes, so that whoever changes one names the
-- version they have seen (`If-Match`). The database counts, whichever statement changes
-- them. Using one changes nothing that its owner decides about: it leaves the version, or
-- the step-up that precedes a removal would make every removal stale.
ALTER TABLE mfa_configs ADD COLUMN version bigint NOT NULL DEFAULT 1
    CONSTRAINT mfa_configs_version_positive CHECK (version > 0);
ALTER TABLE webauthn_credentials ADD COLUMN version bigint NOT NULL DEFAULT 1
    CONSTRAINT webauthn_credentials_version_positive CHECK (version > 0);
GRANT SELECT (version) ON mfa_configs, webauthn_credentials TO strongroom_auditor;

-- Columns that are added later count as changes until they are named here.
CREATE FUNCTION count_factor_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    uses constant text[] := ARRAY['last_used_at', 'last_step', 'sign_count', 'updated_at', 'version'];
BEGIN
    NEW.version := OLD.version + (to_jsonb(NEW) - uses IS DISTINCT FROM to_jsonb(OLD) - uses)::integer;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION count_factor_change() FROM PUBLIC;
CREATE TRIGGER count_change BEFORE UPDATE ON mfa_configs
    FOR EACH ROW EXECUTE FUNCTION count_factor_change();
CREATE TRIGGER count_change BEFORE UPDATE ON webauthn_credentials
    FOR EACH ROW EXECUTE FUNCTION count_factor_change();
