-- The roles stay: they belong to the cluster and other databases may use them.
DROP TABLE idempotency_keys;
DROP TABLE subject_keys;
DROP FUNCTION refuse_subject_key_change();
DROP TABLE data_keys;
DROP TABLE tenant_keks;
DROP TABLE security_policies;
DROP TABLE tenants;
DROP FUNCTION refuse_slug_change();
DROP PROCEDURE secure_tenant_table(regclass, text, boolean);
DROP FUNCTION touch_updated_at();
DROP FUNCTION require_tenant();
DROP FUNCTION app_now();
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO PUBLIC;
REVOKE USAGE ON SCHEMA public FROM strongroom_app, strongroom_sealer, strongroom_auditor;
GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP EXTENSION citext;
