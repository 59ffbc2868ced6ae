-- As 0024 made it.
CREATE OR REPLACE FUNCTION row_for_audit(p_table regclass, p_row jsonb) RETURNS jsonb
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(a.attname, CASE
        WHEN field.value <> 'null' AND (a.atttypid = 'bytea'::regtype OR a.attname LIKE '%\_hash'
                OR a.attname IN ('username', 'username_key', 'description', 'reference'))
            THEN to_jsonb('sha256:' || encode(sha256(convert_to(field.value #>> '{}', 'UTF8')), 'hex'))
        ELSE field.value END), '{}')
    FROM jsonb_each(p_row) AS field
    JOIN pg_attribute AS a ON a.attrelid = p_table AND a.attname = field.key AND NOT a.attisdropped
$$;
DROP FUNCTION columns_told(regclass);
DROP TRIGGER audit_digest_key ON tenants;
DROP FUNCTION make_audit_digest_key();
DROP TABLE audit_digest_keys;
DROP FUNCTION hmac_pad(bytea, integer);
