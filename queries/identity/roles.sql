--! list
-- By name, behind $2.
SELECT role.id, role.name, role.role_type, role.version, role.created_at, role.updated_at, custom.definition,
    (SELECT count(*) FROM user_roles held
     WHERE held.tenant_id = role.tenant_id AND held.role = role.name) AS holders
FROM roles role
LEFT JOIN custom_roles custom ON custom.tenant_id = role.tenant_id AND custom.id = role.id
WHERE role.tenant_id = $1::uuid AND ($2::text IS NULL OR role.name > $2)
ORDER BY role.name LIMIT $3::bigint;

--! one
SELECT role.id, role.name, role.role_type, role.version, role.created_at, role.updated_at, custom.definition,
    (SELECT count(*) FROM user_roles held
     WHERE held.tenant_id = role.tenant_id AND held.role = role.name) AS holders
FROM roles role
LEFT JOIN custom_roles custom ON custom.tenant_id = role.tenant_id AND custom.id = role.id
WHERE role.tenant_id = $1::uuid AND role.id = $2::uuid;

--! definitions
-- Of those among the names that are custom roles.
SELECT name, definition FROM custom_roles WHERE tenant_id = $1::uuid AND name = ANY ($2::text[]);

--! count
SELECT count(*) AS roles FROM roles WHERE tenant_id = $1::uuid AND role_type = 'custom';

--! create
INSERT INTO roles (tenant_id, id, name, role_type) VALUES ($1::uuid, $2::uuid, $3::text, 'custom');

--! lock
-- Whoever changes it waits here for whoever changes it already.
SELECT version FROM roles WHERE tenant_id = $1::uuid AND id = $2::uuid FOR NO KEY UPDATE;

--! raise_version
UPDATE roles SET version = version + 1 WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! forget_permissions
DELETE FROM role_permissions WHERE tenant_id = $1::uuid AND role_id = $2::uuid;

--! permit
-- $3 is the list as the engine reads it.
INSERT INTO role_permissions (tenant_id, role_id, position, resource, action, scope, conditions)
SELECT $1::uuid, $2::uuid, (given.position - 1)::smallint, split_part(given.one ->> 'permission', ':', 1),
    split_part(given.one ->> 'permission', ':', 2), nullif(split_part(given.one ->> 'permission', ':', 3), ''),
    given.one -> 'conditions'
FROM jsonb_array_elements($3::jsonb) WITH ORDINALITY AS given (one, position);

--! end_sessions_of_holders
-- A session was begun with what its owner could do then: they begin another.
SELECT revoke_user_sessions(held.user_id, 'role_changed', NULL) AS ended
FROM user_roles held
WHERE held.tenant_id = $1::uuid AND held.role = $2::text
ORDER BY held.user_id;

--! delete
DELETE FROM roles WHERE tenant_id = $1::uuid AND id = $2::uuid;
