-- Without the roles nobody can hold them: whoever has one as the first gets the least of the
-- blueprint's, and the rest fall away.
DROP VIEW custom_roles;
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE user_roles NO FORCE ROW LEVEL SECURITY;
ALTER TABLE roles NO FORCE ROW LEVEL SECURITY;
INSERT INTO user_roles (tenant_id, user_id, role)
SELECT person.tenant_id, person.id, least.name
FROM users person
JOIN roles role ON role.tenant_id = person.tenant_id AND role.name = person.role AND role.role_type = 'custom'
CROSS JOIN LATERAL (SELECT known.name FROM roles known
    WHERE known.tenant_id = person.tenant_id ORDER BY known.rank DESC NULLS LAST LIMIT 1) least
ON CONFLICT (tenant_id, user_id, role) DO NOTHING;
UPDATE users person SET role = (SELECT known.name FROM roles known
    WHERE known.tenant_id = person.tenant_id ORDER BY known.rank DESC NULLS LAST LIMIT 1)
FROM roles role
WHERE role.tenant_id = person.tenant_id AND role.name = person.role AND role.role_type = 'custom';
DELETE FROM user_roles held USING roles role
WHERE role.tenant_id = held.tenant_id AND role.name = held.role AND role.role_type = 'custom';
DROP TABLE role_permissions;
DELETE FROM roles WHERE role_type = 'custom';
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE user_roles FORCE ROW LEVEL SECURITY;
ALTER TABLE roles FORCE ROW LEVEL SECURITY;
DROP POLICY custom_changes ON roles;
DROP POLICY custom_ends ON roles;
REVOKE UPDATE (version), DELETE ON roles FROM strongroom_app;
DROP TRIGGER touch_updated_at ON roles;
ALTER TABLE roles
    DROP CONSTRAINT roles_id_key,
    DROP CONSTRAINT roles_ranked,
    DROP CONSTRAINT roles_known_type,
    ALTER COLUMN rank SET NOT NULL,
    DROP COLUMN id,
    DROP COLUMN role_type,
    DROP COLUMN version,
    DROP COLUMN updated_at;
