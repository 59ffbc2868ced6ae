-- Roles that a tenant's administrators make for themselves, beside those of its blueprint. What
-- one may do stands in rows that were checked before they were written; policies are made of
-- them anew by whoever reads them, so that a change takes effect with its transaction.
ALTER TABLE roles
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN role_type text NOT NULL DEFAULT 'system',
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT app_now(),
    -- Custom roles have no rank: who may give one is asked of each permission.
    ALTER COLUMN rank DROP NOT NULL,
    ADD CONSTRAINT roles_known_type CHECK (role_type IN ('system', 'custom')),
    ADD CONSTRAINT roles_ranked CHECK ((role_type = 'system') = (rank IS NOT NULL)),
    ADD CONSTRAINT roles_id_key UNIQUE (tenant_id, id);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- The blueprint's roles are nobody's to change; a custom one keeps its name, by which people
-- hold it.
GRANT UPDATE (version), DELETE ON roles TO strongroom_app;
CREATE POLICY custom_changes ON roles AS RESTRICTIVE FOR UPDATE TO strongroom_app USING (role_type = 'custom');
CREATE POLICY custom_ends ON roles AS RESTRICTIVE FOR DELETE TO strongroom_app USING (role_type = 'custom');

CREATE TABLE role_permissions (
    tenant_id  uuid NOT NULL,
    role_id    uuid NOT NULL,
    position   smallint NOT NULL CHECK (position BETWEEN 0 AND 63),
    -- What only the platform may is in no role, whatever becomes of the application.
    resource   text NOT NULL CHECK (resource ~ '^[a-z]{2,30}$' AND resource NOT IN ('system', 'tenant')),
    action     text NOT NULL CHECK (action = '*' OR action ~ '^[a-z]{2,30}$'),
    scope      text CHECK (scope IN ('own', 'own_tenant', 'own_org', 'assigned_companies')),
    conditions jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(conditions) = 'object'),
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, role_id, position),
    CONSTRAINT role_permissions_role_known FOREIGN KEY (tenant_id, role_id)
        REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);
CALL secure_tenant_table('role_permissions', 'SELECT, INSERT, DELETE', true);

-- A custom role as the engine reads it.
CREATE VIEW custom_roles WITH (security_invoker = true) AS
SELECT role.tenant_id, role.id, role.name,
    jsonb_build_object('name', role.name, 'permissions', (
        SELECT jsonb_agg(jsonb_build_object(
            'permission', concat_ws(':', granted.resource, granted.action, granted.scope),
            'conditions', granted.conditions) ORDER BY granted.position)
        FROM role_permissions granted
        WHERE granted.tenant_id = role.tenant_id AND granted.role_id = role.id))::text AS definition
FROM roles role
WHERE role.role_type = 'custom';
GRANT SELECT ON custom_roles TO strongroom_app;
