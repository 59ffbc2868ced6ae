-- Keys that change: signing keys are rotated and revoked, machines get API keys.

-- A key verifies for as long as a token that it signed may live: `longest_lifetime_s` is
-- the longest lifetime that policy gave while the key could sign, `verify_until` what
-- follows from it once the key signs no more. A retired key holds no secret.
ALTER TABLE signing_keys
    ADD COLUMN longest_lifetime_s bigint CONSTRAINT signing_keys_lifetime CHECK (longest_lifetime_s > 0),
    ADD COLUMN verify_until timestamptz,
    ADD COLUMN revoked_at timestamptz,
    DROP CONSTRAINT signing_keys_derived_hs256;
-- Tenant by tenant: forced row security shows the owner nothing without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        UPDATE signing_keys SET longest_lifetime_s = (SELECT (policy #>> '{token,access_lifetime_s}')::bigint
            FROM security_policies WHERE tenant_id = v_tenant)
        WHERE tenant_id = v_tenant;
        UPDATE signing_keys SET verify_until = app_now() + make_interval(secs => longest_lifetime_s)
        WHERE tenant_id = v_tenant AND status = 'verify_only';
        UPDATE signing_keys SET wrapped_key = NULL WHERE tenant_id = v_tenant AND status = 'retired';
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
ALTER TABLE signing_keys
    ALTER COLUMN longest_lifetime_s SET NOT NULL,
    ADD CONSTRAINT signing_keys_derived_hs256 CHECK (NOT derived OR algorithm = 'HS256'),
    ADD CONSTRAINT signing_keys_wiped CHECK ((wrapped_key IS NULL) = (derived OR status = 'retired')),
    ADD CONSTRAINT signing_keys_verify_until CHECK (status <> 'verify_only' OR verify_until IS NOT NULL),
    ADD CONSTRAINT signing_keys_revoked_retired CHECK (revoked_at IS NULL OR status = 'retired');
-- Of two nodes that publish the next key at once, one finds that it is there.
CREATE UNIQUE INDEX signing_keys_one_pre_published ON signing_keys (tenant_id) WHERE status = 'pre_published';
GRANT UPDATE (wrapped_key, longest_lifetime_s, verify_until, revoked_at) ON signing_keys TO strongroom_app;
GRANT SELECT (verify_until, revoked_at) ON signing_keys TO strongroom_auditor;

-- A secret is destroyed and never put in another's place.
CREATE FUNCTION refuse_signing_key_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a signing key may only be destroyed, and stays retired'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER only_wiped BEFORE UPDATE ON signing_keys
    FOR EACH ROW WHEN ((OLD.wrapped_key IS DISTINCT FROM NEW.wrapped_key AND NEW.wrapped_key IS NOT NULL)
        OR (OLD.status = 'retired' AND NEW.status <> 'retired'))
    EXECUTE FUNCTION refuse_signing_key_change();

-- A policy that lengthens the life of tokens lengthens what their keys have to outlive,
-- and one that shortens it does not: tokens of before are still out there.
CREATE FUNCTION remember_longest_lifetime() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE signing_keys SET longest_lifetime_s = (NEW.policy #>> '{token,access_lifetime_s}')::bigint
    WHERE tenant_id = NEW.tenant_id AND status IN ('pre_published', 'active')
      AND longest_lifetime_s < (NEW.policy #>> '{token,access_lifetime_s}')::bigint;
    RETURN NULL;
END $$;
CREATE TRIGGER remember_longest_lifetime AFTER UPDATE ON security_policies
    FOR EACH ROW EXECUTE FUNCTION remember_longest_lifetime();

-- What machines present. `hint` is the start of the secret, by which people recognise
-- it; the secret itself was shown once and stands here as SHA-256 only. After a rotation
-- the secret before it is good until `previous_until`. A key acts in one role; `scopes`
-- names what of the role's permissions it may use, NULL all of them; no `networks` means
-- any. `created_by` and `rotated_by` were shown a secret of it and answer for it; NULL is
-- the operator at the command line.
CREATE TABLE api_keys (
    tenant_id      uuid NOT NULL REFERENCES tenants (id),
    id             uuid NOT NULL,
    name           text NOT NULL CONSTRAINT api_keys_name CHECK (length(name) BETWEEN 1 AND 100),
    hint           text NOT NULL CONSTRAINT api_keys_hint CHECK (length(hint) = 4),
    secret_hash    bytea NOT NULL CONSTRAINT api_keys_hash CHECK (length(secret_hash) = 32),
    previous_hash  bytea CONSTRAINT api_keys_previous_hash CHECK (length(previous_hash) = 32),
    previous_until timestamptz,
    role           text NOT NULL,
    scopes         text[] CONSTRAINT api_keys_scopes CHECK (cardinality(scopes) BETWEEN 1 AND 200),
    networks       cidr[] NOT NULL DEFAULT '{}' CONSTRAINT api_keys_networks CHECK (cardinality(networks) <= 50),
    created_by     uuid,
    expires_at     timestamptz NOT NULL,
    rotated_at     timestamptz,
    rotated_by     uuid,
    last_used_at   timestamptz,
    last_used_ip   inet,
    revoked_at     timestamptz,
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT app_now(),
    updated_at     timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_keys_hash_key UNIQUE (tenant_id, secret_hash),
    CONSTRAINT api_keys_role_known FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name),
    CONSTRAINT api_keys_created_by_known FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id),
    CONSTRAINT api_keys_rotated_by_known FOREIGN KEY (tenant_id, rotated_by) REFERENCES users (tenant_id, id),
    CONSTRAINT api_keys_previous_bounded CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
);
CREATE UNIQUE INDEX api_keys_previous_hash_key ON api_keys (tenant_id, previous_hash) WHERE previous_hash IS NOT NULL;
CALL secure_tenant_table('api_keys', 'SELECT, INSERT', false);
GRANT UPDATE (hint, secret_hash, previous_hash, previous_until, expires_at, rotated_at, rotated_by, last_used_at,
    last_used_ip, revoked_at, version) ON api_keys TO strongroom_app;
GRANT SELECT (tenant_id, id, name, hint, previous_until, role, scopes, networks, created_by, expires_at, rotated_at,
    rotated_by, last_used_at, revoked_at, version, created_at, updated_at) ON api_keys TO strongroom_auditor;

-- What is revoked stays so, and what it may was said when it was made.
CREATE FUNCTION refuse_api_key_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a revoked API key stays revoked' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER stays_revoked BEFORE UPDATE ON api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at
        OR NEW.secret_hash <> OLD.secret_hash))
    EXECUTE FUNCTION refuse_api_key_revival();
