-- What a record of a row changed past the operations may tell. 0024 named the columns whose
-- values it hides, and told of all others; a column that comes is told until somebody thinks
-- of it. Here it is the other way round, and a digest is keyed: a short text or an address
-- is not found by trying.

-- HMAC-SHA256 (RFC 2104) needs the key padded and combined with two constants; kept so,
-- since PostgreSQL has SHA-256 and no XOR of bytes. Read by the owner's functions alone.
-- Whoever has the database has the key beside it: it keeps what leaves with the log.
CREATE TABLE audit_digest_keys (
    tenant_id  uuid PRIMARY KEY REFERENCES tenants (id),
    inner_pad  bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad  bytea NOT NULL CHECK (length(outer_pad) = 64),
    created_at timestamptz NOT NULL DEFAULT app_now()
);
CALL secure_tenant_table('audit_digest_keys', '', false);

-- A key that is taken away or exchanged would make old digests nobody's.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_digest_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_digest_keys ENABLE ALWAYS TRIGGER append_only;
-- A record of it would be a digest under itself.
DROP TRIGGER audit_row_change ON audit_digest_keys;
DROP TRIGGER audit_truncation ON audit_digest_keys;

-- A block of HMAC: the key, filled up with zeros, each byte XOR the constant.
CREATE FUNCTION hmac_pad(p_key bytea, p_constant integer) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT string_agg(set_byte('\x00', 0, p_constant # CASE WHEN place < length(p_key)
        THEN get_byte(p_key, place) ELSE 0 END), '' ORDER BY place)
    FROM generate_series(0, 63) AS place
$$;

-- 244 bits from PostgreSQL's strong source, which it tells only as version 4 UUIDs.
CREATE FUNCTION make_audit_digest_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_key bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
BEGIN
    PERFORM set_config('app.current_tenant', NEW.id::text, true);
    INSERT INTO audit_digest_keys (tenant_id, inner_pad, outer_pad)
        VALUES (NEW.id, hmac_pad(v_key, 54), hmac_pad(v_key, 92));
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN NULL;
END $$;
-- Before `audit_row_change` in the order of names: its record of the row needs the key.
CREATE TRIGGER audit_digest_key AFTER INSERT ON tenants
    FOR EACH ROW EXECUTE FUNCTION make_audit_digest_key();
ALTER TABLE tenants ENABLE ALWAYS TRIGGER audit_digest_key;

DO $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_tenant uuid;
    v_key bytea;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        v_key := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
        INSERT INTO audit_digest_keys (tenant_id, inner_pad, outer_pad)
            VALUES (v_tenant, hmac_pad(v_key, 54), hmac_pad(v_key, 92));
    END LOOP;
    PERFORM set_config('app.current_tenant', v_before, true);
END $$;

-- Columns of a table that nobody's words or secrets can stand in: ids, numbers, times, and
-- text where a constraint lists the words or another table does, or which is a currency.
-- Beside them what an institution sets for all: its policy, its modules.
CREATE FUNCTION columns_told(p_table regclass) RETURNS TABLE (attname name)
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT a.attname FROM pg_attribute AS a
    WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped AND (
        a.atttypid IN ('uuid'::regtype, 'uuid[]'::regtype, 'boolean'::regtype, 'smallint'::regtype,
            'integer'::regtype, 'bigint'::regtype, 'numeric'::regtype, 'timestamptz'::regtype,
            'date'::regtype, 'interval'::regtype)
        OR EXISTS (
            SELECT FROM pg_constraint AS k
            WHERE k.conrelid = p_table AND a.attnum = ANY (k.conkey) AND a.atttypid = 'text'::regtype
                AND (k.contype = 'f' OR k.contype = 'c' AND cardinality(k.conkey) = 1
                    AND pg_get_constraintdef(k.oid) ~ ('^CHECK \(\(' || a.attname
                        || ' (= ANY \(ARRAY\[|= ''[a-z_]+''::text\)\)$|~ ''\^\[A-Z\]\{3\}\$''::text\)\)$)')))
        OR (p_table::text, a.attname) IN (('security_policies', 'policy'), ('policy_changes', 'policy'),
            ('policy_changes', 'differences'), ('tenants', 'slug'), ('tenants', 'modules'),
            ('tenants', 'time_zone'), ('roles', 'name'), ('api_keys', 'scopes')))
$$;

-- As 0024 names it: of anything else, that it changed is seen, and who has the key can prove
-- what it was; what it was does not stand there. Without a key not even that.
CREATE OR REPLACE FUNCTION row_for_audit(p_table regclass, p_row jsonb) RETURNS jsonb
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(field.key, CASE
        WHEN field.value = 'null' OR told.attname IS NOT NULL THEN field.value
        ELSE to_jsonb(coalesce('hmac-sha256:' || encode(sha256(keys.outer_pad
            || sha256(keys.inner_pad || convert_to(field.value #>> '{}', 'UTF8'))), 'hex'), 'hidden'))
        END), '{}')
    FROM jsonb_each(p_row) AS field
    LEFT JOIN columns_told(p_table) AS told ON told.attname = field.key
    LEFT JOIN audit_digest_keys AS keys
        ON keys.tenant_id = nullif(current_setting('app.current_tenant', true), '')::uuid
$$;
