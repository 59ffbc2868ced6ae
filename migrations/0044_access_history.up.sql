-- Who was what to the policies at a moment that is past, so that a decision of then can be
-- explained now. What stands in the tables is what holds; a row here is what held until a
-- change: of one subject the earliest row that ends after a moment is what held at it, and
-- where there is none, what stands.
--
-- Triggers write it, so that a change by hand is remembered as well. Of several changes of one
-- subject in one transaction the first finds what held before it, and the rest find its row.
CREATE TABLE access_history (
    tenant_id    uuid NOT NULL REFERENCES tenants (id),
    -- person: standing and belonging; held_roles: by a person; role: a custom one's definition;
    -- customer: whose login it belongs to.
    subject_kind text NOT NULL CHECK (subject_kind IN ('person', 'held_roles', 'role', 'customer')),
    subject_id   uuid NOT NULL,
    valid_until  timestamptz NOT NULL,
    facts        jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    PRIMARY KEY (tenant_id, subject_kind, subject_id, valid_until)
);
CALL secure_tenant_table('access_history', 'SELECT', true);
CREATE INDEX access_history_of_roles ON access_history (tenant_id, (facts ->> 'name'), valid_until)
    WHERE subject_kind = 'role';

-- For the triggers below, which are in the tenant of the row. It follows from rows that are
-- recorded themselves. A transaction that began earlier and waited for a lock ends what it
-- found no earlier than what was ended meanwhile.
CREATE FUNCTION remember_access(p_tenant uuid, p_kind text, p_subject uuid, p_facts jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_operation text := coalesce(current_setting('app.operation', true), '');
BEGIN
    PERFORM set_config('app.operation', 'yes', true);
    INSERT INTO access_history (tenant_id, subject_kind, subject_id, valid_until, facts)
    SELECT p_tenant, p_kind, p_subject, greatest(app_now(), max(valid_until)), p_facts
    FROM access_history
    WHERE tenant_id = p_tenant AND subject_kind = p_kind AND subject_id = p_subject
    ON CONFLICT DO NOTHING;
    PERFORM set_config('app.operation', v_operation, true);
END $$;

-- SECURITY DEFINER, here and below: the application writes no history.
CREATE FUNCTION remember_person() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_operation text := coalesce(current_setting('app.operation', true), '');
BEGIN
    PERFORM set_config('app.current_tenant', OLD.tenant_id::text, true);
    PERFORM remember_access(OLD.tenant_id, 'person', OLD.id, jsonb_build_object(
        'is_active', OLD.is_active, 'role', OLD.role, 'organization_id', OLD.organization_id,
        'department', OLD.department, 'deleted', OLD.deleted_at IS NOT NULL));
    IF NEW.deleted_at IS NOT NULL THEN
        -- Shredded with the rest of them.
        PERFORM set_config('app.operation', 'yes', true);
        UPDATE access_history SET facts = facts || '{"department": null}'
        WHERE tenant_id = OLD.tenant_id AND subject_kind = 'person' AND subject_id = OLD.id;
        PERFORM set_config('app.operation', v_operation, true);
    END IF;
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN NULL;
END $$;
CREATE TRIGGER remember_person
    AFTER UPDATE OF is_active, role, organization_id, department, deleted_at ON users FOR EACH ROW
    WHEN ((OLD.is_active, OLD.role, OLD.organization_id, OLD.department, OLD.deleted_at)
        IS DISTINCT FROM (NEW.is_active, NEW.role, NEW.organization_id, NEW.department, NEW.deleted_at))
    EXECUTE FUNCTION remember_person();
ALTER TABLE users ENABLE ALWAYS TRIGGER remember_person;

CREATE FUNCTION remember_held_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_tenant uuid;
    v_user uuid;
BEGIN
    -- Two people where a row was moved from one to another, by hand.
    FOR v_tenant, v_user IN
        SELECT DISTINCT (given ->> 'tenant_id')::uuid, (given ->> 'user_id')::uuid
        FROM unnest(ARRAY[to_jsonb(OLD), to_jsonb(NEW)]) AS given WHERE given IS NOT NULL
    LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        PERFORM remember_access(v_tenant, 'held_roles', v_user, jsonb_build_object('roles', (
            SELECT coalesce(jsonb_agg(held.role ORDER BY held.role), '[]') FROM user_roles AS held
            WHERE held.tenant_id = v_tenant AND held.user_id = v_user)));
    END LOOP;
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER remember_held_roles BEFORE INSERT OR UPDATE OR DELETE ON user_roles
    FOR EACH ROW EXECUTE FUNCTION remember_held_roles();
ALTER TABLE user_roles ENABLE ALWAYS TRIGGER remember_held_roles;

-- Of `roles`, where a custom one ends, and of `role_permissions`, where its grants change. One
-- that has no grants yet is being made.
CREATE FUNCTION remember_role() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
    v_row jsonb := to_jsonb(coalesce(OLD, NEW));
    v_tenant uuid := v_row ->> 'tenant_id';
    v_role uuid := coalesce(v_row ->> 'role_id', v_row ->> 'id');
    v_facts jsonb;
BEGIN
    PERFORM set_config('app.current_tenant', v_tenant::text, true);
    SELECT jsonb_build_object('name', role.name, 'created_at', role.created_at, 'definition', custom.definition)
    INTO v_facts
    FROM custom_roles AS custom JOIN roles AS role ON role.tenant_id = custom.tenant_id AND role.id = custom.id
    WHERE custom.tenant_id = v_tenant AND custom.id = v_role
        AND EXISTS (SELECT FROM role_permissions WHERE tenant_id = v_tenant AND role_id = v_role);
    IF v_facts IS NOT NULL THEN
        PERFORM remember_access(v_tenant, 'role', v_role, v_facts);
    END IF;
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER remember_role BEFORE DELETE ON roles FOR EACH ROW
    WHEN (OLD.role_type = 'custom') EXECUTE FUNCTION remember_role();
CREATE TRIGGER remember_role BEFORE INSERT OR UPDATE OR DELETE ON role_permissions
    FOR EACH ROW EXECUTE FUNCTION remember_role();
ALTER TABLE roles ENABLE ALWAYS TRIGGER remember_role;
ALTER TABLE role_permissions ENABLE ALWAYS TRIGGER remember_role;

CREATE FUNCTION remember_customer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_before text := coalesce(current_setting('app.current_tenant', true), '');
BEGIN
    PERFORM set_config('app.current_tenant', OLD.tenant_id::text, true);
    PERFORM remember_access(OLD.tenant_id, 'customer', OLD.id, jsonb_build_object('user_id', OLD.user_id));
    PERFORM set_config('app.current_tenant', v_before, true);
    RETURN NULL;
END $$;
CREATE TRIGGER remember_customer AFTER UPDATE OF user_id ON customers FOR EACH ROW
    WHEN (OLD.user_id IS DISTINCT FROM NEW.user_id) EXECUTE FUNCTION remember_customer();
ALTER TABLE customers ENABLE ALWAYS TRIGGER remember_customer;

-- Whose login a customer belonged to.
CREATE FUNCTION login_of_customer(p_tenant uuid, p_customer uuid, p_at timestamptz) RETURNS uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT CASE WHEN was.facts IS NULL THEN customer.user_id ELSE (was.facts ->> 'user_id')::uuid END
    FROM customers AS customer
    LEFT JOIN LATERAL (
        SELECT facts FROM access_history
        WHERE tenant_id = p_tenant AND subject_kind = 'customer' AND subject_id = p_customer AND valid_until > p_at
        ORDER BY valid_until LIMIT 1
    ) AS was ON true
    WHERE customer.tenant_id = p_tenant AND customer.id = p_customer
$$;

REVOKE ALL ON FUNCTION remember_access(uuid, text, uuid, jsonb), remember_person(), remember_held_roles(),
    remember_role(), remember_customer(), login_of_customer(uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION login_of_customer(uuid, uuid, timestamptz) TO strongroom_app;

-- The policies that decided, from when on: files by name, as they were built into the binary
-- that started. Written at each start that changes them; nobody changes what is written.
CREATE TABLE policies_in_force (
    since timestamptz PRIMARY KEY DEFAULT app_now(),
    texts jsonb NOT NULL CHECK (jsonb_typeof(texts) = 'object')
);
GRANT SELECT, INSERT ON policies_in_force TO strongroom_app;
GRANT SELECT ON policies_in_force TO strongroom_auditor;
