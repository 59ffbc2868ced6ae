-- The ground everything stands on: the clock, the tenant directory, the rules
-- every tenant table obeys, each tenant's policy and its wrapped keys, and the
-- memory that makes commands idempotent.
--
-- The four roles exist before the first migration (`migrate up` creates them or
-- prints the SQL an administrator has to run): roles belong to the cluster, a
-- migration belongs to one database.

CREATE EXTENSION IF NOT EXISTS citext;

GRANT USAGE ON SCHEMA public TO strongroom_app, strongroom_sealer, strongroom_auditor;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;

-- All time in SQL comes from here: tests and simulations set app.now, everybody
-- else gets the transaction's own time.
CREATE FUNCTION app_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT coalesce(nullif(current_setting('app.now', true), '')::timestamptz, transaction_timestamp()) $$;
GRANT EXECUTE ON FUNCTION app_now() TO strongroom_app, strongroom_sealer, strongroom_auditor;

-- pg_temp stands last in every function's search path: unnamed it would come
-- first, and a caller's temporary table could pass for one of ours.

-- The tenant of this transaction, or an error: for functions that must never
-- act without one. (A pooled connection's setting is '' after its first transaction.)
CREATE FUNCTION require_tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    tenant uuid := nullif(current_setting('app.current_tenant', true), '')::uuid;
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'no tenant is set for this transaction' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN tenant;
END $$;
GRANT EXECUTE ON FUNCTION require_tenant() TO strongroom_app, strongroom_sealer, strongroom_auditor;

CREATE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.updated_at := app_now();
    RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION touch_updated_at() TO strongroom_app, strongroom_sealer;

-- Makes a table a tenant table: row security forced on everybody (the owner
-- included), one policy on the tenant of the transaction, grants to the app role
-- and, where it holds no secrets, to the auditor.
CREATE PROCEDURE secure_tenant_table(table_name regclass, app_privileges text, auditor_reads boolean)
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

-- The directory of tenants. It has no tenant_id, no row security and no secrets:
-- it is what a request is routed by before its tenant is known.
CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{1,61}[a-z0-9]$'),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    blueprint  text NOT NULL CHECK (blueprint IN
        ('core-bank', 'equipment-erp', 'digital-bank', 'card-bank', 'credit-risk', 'standard', 'platform')),
    modules    text[] NOT NULL,
    time_zone  text NOT NULL DEFAULT 'UTC',
    status     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now()
);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
-- Slugs are part of issuers and of people's bookmarks: they never change.
CREATE FUNCTION refuse_slug_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a tenant''s id, slug and blueprint never change' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER refuse_slug_change BEFORE UPDATE OF id, slug, blueprint ON tenants
    FOR EACH ROW WHEN (OLD.id <> NEW.id OR OLD.slug <> NEW.slug OR OLD.blueprint <> NEW.blueprint)
    EXECUTE FUNCTION refuse_slug_change();
GRANT SELECT, INSERT ON tenants TO strongroom_app;
GRANT UPDATE (name, status, time_zone) ON tenants TO strongroom_app;
GRANT SELECT ON tenants TO strongroom_sealer, strongroom_auditor;

-- Security policy is data. The shape is `tenancy::policy::SecurityPolicy`; the
-- login functions read their thresholds from here as well.
CREATE TABLE security_policies (
    tenant_id  uuid PRIMARY KEY REFERENCES tenants (id),
    policy     jsonb NOT NULL,
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now()
);
CALL secure_tenant_table('security_policies', 'SELECT, INSERT, UPDATE', true);

-- Wrapped keys. The root key that opens a KEK never enters the database; a KEK
-- opens that tenant's data keys, one per class and epoch.
-- `purpose` is `vault::Purpose`: a tenant has one KEK under each of the two roots.
CREATE TABLE tenant_keks (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    purpose     text NOT NULL CHECK (purpose IN ('tenant_kek', 'field_kek')),
    epoch       integer NOT NULL CHECK (epoch > 0),
    key_id      uuid NOT NULL,
    wrapped_key bytea NOT NULL,
    status      text NOT NULL CHECK (status IN ('active', 'retired')),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, purpose, epoch)
);
CREATE UNIQUE INDEX tenant_keks_one_active ON tenant_keks (tenant_id, purpose) WHERE status = 'active';
CALL secure_tenant_table('tenant_keks', 'SELECT, INSERT', false);
GRANT SELECT ON tenant_keks TO strongroom_sealer;
CREATE POLICY sealer_reads ON tenant_keks FOR SELECT TO strongroom_sealer USING (true);

CREATE TABLE data_keys (
    tenant_id   uuid NOT NULL,
    key_id      uuid NOT NULL,
    purpose     text NOT NULL CHECK (purpose IN
        ('field_data', 'audit_data', 'blind_index', 'refresh_successor', 'cursor', 'session')),
    epoch       integer NOT NULL CHECK (epoch > 0),
    kek_purpose text NOT NULL,
    kek_epoch   integer NOT NULL,
    wrapped_key bytea NOT NULL,
    status      text NOT NULL CHECK (status IN ('active', 'retired')),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, key_id),
    UNIQUE (tenant_id, purpose, epoch),
    FOREIGN KEY (tenant_id, kek_purpose, kek_epoch) REFERENCES tenant_keks (tenant_id, purpose, epoch)
);
CREATE UNIQUE INDEX data_keys_one_active ON data_keys (tenant_id, purpose) WHERE status = 'active';
CALL secure_tenant_table('data_keys', 'SELECT, INSERT', false);
GRANT SELECT ON data_keys TO strongroom_sealer;
CREATE POLICY sealer_reads ON data_keys FOR SELECT TO strongroom_sealer USING (true);

-- One key per data subject: everything personal about them is sealed under it,
-- so destroying it is erasure. Only its wrapped bytes may ever be changed, to NULL.
CREATE TABLE subject_keys (
    tenant_id   uuid NOT NULL,
    subject_id  uuid NOT NULL,
    key_id      uuid NOT NULL,
    kek_purpose text NOT NULL DEFAULT 'field_kek' CHECK (kek_purpose = 'field_kek'),
    kek_epoch   integer NOT NULL,
    wrapped_key bytea,
    shredded_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, subject_id),
    UNIQUE (tenant_id, key_id),
    FOREIGN KEY (tenant_id, kek_purpose, kek_epoch) REFERENCES tenant_keks (tenant_id, purpose, epoch),
    CHECK ((wrapped_key IS NULL) = (shredded_at IS NOT NULL))
);
CALL secure_tenant_table('subject_keys', 'SELECT, INSERT', false);
GRANT UPDATE (wrapped_key, shredded_at) ON subject_keys TO strongroom_app;
CREATE FUNCTION refuse_subject_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a subject''s key may only be destroyed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER only_shredded BEFORE UPDATE ON subject_keys
    FOR EACH ROW WHEN (NEW.wrapped_key IS NOT NULL OR OLD.wrapped_key IS NULL)
    EXECUTE FUNCTION refuse_subject_key_change();

-- Finished commands by key. The row is written with the change it answers for,
-- so a key is either unknown or has the one true answer. Claims of keys in flight
-- are transaction-level advisory locks and need no row. No foreign key to tenants:
-- row security ties the row to the transaction's tenant, and every writer of the
-- tenant would share-lock that one row.
CREATE TABLE idempotency_keys (
    tenant_id       uuid NOT NULL,
    principal_id    uuid NOT NULL,
    command         text NOT NULL,
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    request_hash    bytea NOT NULL CHECK (length(request_hash) = 32),
    status          smallint NOT NULL,
    response        jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, principal_id, command, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (tenant_id, created_at);
CALL secure_tenant_table('idempotency_keys', 'SELECT, INSERT, DELETE', false);
