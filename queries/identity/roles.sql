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

--! lock_all
-- One creation of a tenant at a time, so that its bound holds.
SELECT pg_advisory_xact_lock(hashtextextended('custom roles ' || $1::uuid::text, 0));

--! share
-- Whoever gives these roles waits for whoever changes them, and the other way round. What
-- they hold is asked behind the lock.
SELECT name FROM roles
WHERE tenant_id = $1::uuid AND name = ANY ($2::text[]) AND role_type = 'custom'
ORDER BY name FOR SHARE;

--! roles_of_holders
-- What else the holders of a role hold.
SELECT DISTINCT other.role
FROM user_roles held
JOIN user_roles other ON other.tenant_id = held.tenant_id AND other.user_id = held.user_id AND other.role <> held.role
WHERE held.tenant_id = $1::uuid AND held.role = $2::text;

--! remember_hands
-- Whoever says what a role may do has a hand in the access of all who hold it.
INSERT INTO access_hands (tenant_id, subject_id, held_by, reason)
SELECT $1::uuid, held.user_id, $3::uuid, 'role' FROM user_roles held
WHERE held.tenant_id = $1::uuid AND held.role = $2::text AND held.user_id <> $3::uuid AND NOT $4::boolean
ON CONFLICT (tenant_id, subject_id, held_by) DO NOTHING;

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
-- A session was begun with what its owner could do then: they begin another. Of more holders
-- than $3 none ends, so that a role that very many hold can be narrowed within the time of a
-- statement: what it may do is read anew in any case, by writes at once and by reads within
-- a second.
SELECT revoke_user_sessions(held.user_id, 'role_changed', NULL) AS ended
FROM user_roles held
WHERE held.tenant_id = $1::uuid AND held.role = $2::text
  AND (SELECT count(*) FROM user_roles all_held
       WHERE all_held.tenant_id = $1::uuid AND all_held.role = $2::text) <= $3::bigint
ORDER BY held.user_id;

--! delete
DELETE FROM roles WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! is_ordered
-- Whether somebody is about to be given the role: asked behind its lock, which whoever orders
-- it shares.
SELECT EXISTS (
    SELECT 1 FROM approvals
    WHERE tenant_id = $1::uuid AND kind = 'role_grant' AND status = 'pending' AND expires_at > app_now()
      AND payload -> 'roles' ? $2::text) AS is_ordered;
