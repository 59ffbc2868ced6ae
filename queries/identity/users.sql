--! create
INSERT INTO users (tenant_id, id, username, username_key, email_sealed, email_index, phone_sealed, phone_index,
    full_name_sealed, password_hash, password_changed_at, role, department, organization_id, referral_code, referred_by, self_registered)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::bytea, $7::bytea, $8::bytea, $9::bytea, $10::text,
    app_now(), $11::text, $12::text, $13::uuid, $14::text, $15::uuid, $16::boolean);

--! grant_role
INSERT INTO user_roles (tenant_id, user_id, role, granted_by)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid)
ON CONFLICT (tenant_id, user_id, role) DO NOTHING;

--! grant_roles
INSERT INTO user_roles (tenant_id, user_id, role, granted_by)
SELECT $1::uuid, $2::uuid, given.role, $4::uuid FROM unnest($3::text[]) AS given (role)
ON CONFLICT (tenant_id, user_id, role) DO NOTHING;

--! withdraw_roles
DELETE FROM user_roles WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND role <> ALL ($3::text[]);

--! lock_administrators
-- Who takes one administrator away waits for whoever takes another: each counts those that
-- the other leaves.
SELECT pg_advisory_xact_lock(hashtextextended('administrators ' || $1::uuid, 0));

--! other_administrator
-- Somebody else who holds one of these roles and may use it.
SELECT EXISTS (
    SELECT 1 FROM user_roles held
    JOIN users person ON person.tenant_id = held.tenant_id AND person.id = held.user_id
    WHERE held.tenant_id = $1::uuid AND held.role = ANY ($2::text[]) AND held.user_id <> $3::uuid
      AND person.is_active AND person.deleted_at IS NULL AND person.staff_locked_at IS NULL) AS exists;

--! remember_password
INSERT INTO password_history (tenant_id, user_id, id, password_hash)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text);

--! by_referral_code
SELECT id FROM users WHERE tenant_id = $1::uuid AND referral_code = $2::text AND deleted_at IS NULL;

--! facts
-- What a decision on a person needs.
SELECT person.id, person.organization_id, person.department,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NULL;

--! facts_of_deleted
SELECT person.id, person.organization_id, person.department,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NOT NULL;

--! name_taken
-- Of whoever was deleted as well: the name stays theirs. $3 is who may have it already.
SELECT 1 AS one FROM users WHERE tenant_id = $1::uuid AND username_key = $2::text AND id <> $3::uuid;

--! adopt
-- What somebody who signed up wished for is theirs.
UPDATE users SET username = $3::text, username_key = $4::text, full_name_sealed = $5::bytea, referred_by = $6::uuid,
    version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! one
-- With the subject's key, so that opening the sealed fields costs no round trip.
SELECT person.id, person.username, person.email_sealed, person.phone_sealed, person.full_name_sealed, person.role,
    person.email_verified_at, person.phone_verified_at, person.is_active, person.mfa_enabled, person.department, person.organization_id, person.referral_code,
    person.password_changed_at, person.last_login_at, person.locked_until, person.staff_lock_reason,
    person.created_at, person.updated_at, person.version, subject.key_id, subject.kek_epoch, subject.wrapped_key,
    person.password_hash IS NOT NULL AS has_password,
    ARRAY(SELECT held.method FROM get_user_mfa_methods(person.id) held) AS factors,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles,
    asked.id AS pending_approval_id, ARRAY(SELECT jsonb_array_elements_text(asked.payload -> 'roles')) AS pending_roles
FROM users person
LEFT JOIN subject_keys subject ON subject.tenant_id = person.tenant_id AND subject.subject_id = person.id
LEFT JOIN LATERAL (
    SELECT approval.id, approval.payload FROM approvals approval
    WHERE approval.tenant_id = person.tenant_id AND approval.object_id = person.id AND approval.kind = 'role_grant'
      AND approval.status = 'pending' AND approval.expires_at > app_now()
    ORDER BY approval.requested_at DESC, approval.id DESC
    LIMIT 1
) asked ON true
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NULL;

--! list
-- Newest first by id, which is by time. $2 asks for all, otherwise for $3, oneself, and for
-- those of the organisation $8, each where it is given.
SELECT person.id, person.username, person.role, person.is_active, person.mfa_enabled, person.department,
    person.organization_id, person.last_login_at, person.locked_until, person.staff_lock_reason, person.deleted_at,
    person.created_at, person.updated_at, person.version
FROM users person
WHERE person.tenant_id = $1::uuid AND person.deleted_at IS NULL
  AND ($2::boolean OR person.id = $3::uuid OR person.organization_id = $8::uuid)
  AND ($4::uuid IS NULL OR person.id < $4)
  AND ($5::text IS NULL OR person.role = $5)
  AND ($6::boolean IS NULL OR person.is_active = $6)
ORDER BY person.id DESC LIMIT $7::bigint;

--! list_deleted
-- The same of those who were deleted. They belong to nobody's own view.
SELECT person.id, person.username, person.role, person.is_active, person.mfa_enabled, person.department,
    person.organization_id, person.last_login_at, person.locked_until, person.staff_lock_reason, person.deleted_at,
    person.created_at, person.updated_at, person.version
FROM users person
WHERE person.tenant_id = $1::uuid AND person.deleted_at IS NOT NULL AND $2::boolean
  AND ($3::uuid IS NULL OR person.id < $3)
  AND ($4::text IS NULL OR person.role = $4)
  AND ($5::boolean IS NULL OR person.is_active = $5)
ORDER BY person.id DESC LIMIT $6::bigint;

--! by_email
-- At most one: an address belongs to one person of a tenant. $2, $3 and $7 are the scope, as
-- in the whole list.
SELECT person.id, person.username, person.role, person.is_active, person.mfa_enabled, person.department,
    person.organization_id, person.last_login_at, person.locked_until, person.staff_lock_reason, person.deleted_at,
    person.created_at, person.updated_at, person.version
FROM users person
WHERE person.tenant_id = $1::uuid AND person.deleted_at IS NULL AND person.email_index = ANY ($4::bytea[])
  AND ($2::boolean OR person.id = $3::uuid OR person.organization_id = $7::uuid)
  AND ($5::text IS NULL OR person.role = $5)
  AND ($6::boolean IS NULL OR person.is_active = $6);

--! by_username
-- Those whose name begins so: from $4 up to, and not including, $5, in the order of bytes.
-- Newest first like the whole list; $8 asks for the deleted. $2, $3 and $11 are the scope.
SELECT person.id, person.username, person.role, person.is_active, person.mfa_enabled, person.department,
    person.organization_id, person.last_login_at, person.locked_until, person.staff_lock_reason, person.deleted_at,
    person.created_at, person.updated_at, person.version
FROM users person
WHERE person.tenant_id = $1::uuid AND person.username_key ~>=~ $4::text AND person.username_key ~<~ $5::text
  AND (person.deleted_at IS NOT NULL) = $8::boolean
  AND ($2::boolean OR (NOT $8 AND (person.id = $3::uuid OR person.organization_id = $11::uuid)))
  AND ($6::text IS NULL OR person.role = $6)
  AND ($7::boolean IS NULL OR person.is_active = $7)
  AND ($9::uuid IS NULL OR person.id < $9)
ORDER BY person.id DESC LIMIT $10::bigint;

--! lock
SELECT version FROM users
WHERE tenant_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL FOR UPDATE;

--! update
UPDATE users SET
    is_active = coalesce($3::boolean, is_active),
    role = coalesce($4::text, role),
    department = CASE WHEN $5::boolean THEN $6::text ELSE department END,
    email_sealed = CASE WHEN $7::boolean THEN $8::bytea ELSE email_sealed END,
    email_index = CASE WHEN $7::boolean THEN $9::bytea ELSE email_index END,
    email_verified_at = CASE WHEN $7::boolean THEN NULL ELSE email_verified_at END,
    phone_sealed = CASE WHEN $10::boolean THEN $11::bytea ELSE phone_sealed END,
    phone_index = CASE WHEN $10::boolean THEN $12::bytea ELSE phone_index END,
    phone_verified_at = CASE WHEN $10::boolean THEN NULL ELSE phone_verified_at END,
    full_name_sealed = CASE WHEN $13::boolean THEN $14::bytea ELSE full_name_sealed END,
    -- What staff write about somebody who signed up is not written over by a form.
    self_registered = self_registered AND NOT $13::boolean,
    version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! names
-- User names by id, and ids by user name; $2, $3 and $6 are the scope, as in the list.
-- Those who were removed keep the name under which they acted.
SELECT person.id, person.username
FROM users person
WHERE person.tenant_id = $1::uuid
  AND ($2::boolean OR person.id = $3::uuid OR person.organization_id = $6::uuid)
  AND (person.id = ANY ($4::uuid[]) OR person.username_key = ANY ($5::text[]));

--! staff_lock
UPDATE users SET staff_locked_at = app_now(), staff_lock_reason = $3::text, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

--! unlock
SELECT unlock_account($1::uuid) AS unlocked;

--! shred
SELECT shred_user($1::uuid) AS shredded;

--! lock_deleted
SELECT version FROM users
WHERE tenant_id = $1::uuid AND id = $2::uuid AND deleted_at IS NOT NULL FOR UPDATE;

--! restore
-- The name and the roles are there still; nothing else is.
UPDATE users SET deleted_at = NULL, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND deleted_at IS NOT NULL;

--! remember_hand
INSERT INTO access_hands (tenant_id, subject_id, held_by, reason) VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text)
ON CONFLICT (tenant_id, subject_id, held_by) DO NOTHING;

--! capacity
-- Who somebody is to the policies; an inactive person has no roles.
SELECT person.organization_id, person.department,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id AND person.is_active
          ORDER BY held.role <> person.role, held.role) AS roles,
    ARRAY(SELECT custom.definition FROM user_roles held
          JOIN custom_roles custom ON custom.tenant_id = held.tenant_id AND custom.name = held.role
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id AND person.is_active
          ORDER BY held.role) AS custom_roles
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NULL;

--! capacity_at
-- The same at a moment that is past: what was changed since then tells what it was. Nobody who
-- was not there yet, or was deleted then.
SELECT former.organization_id, former.department,
    ARRAY(SELECT held FROM unnest(former.roles) AS held ORDER BY held <> former.role, held) AS roles,
    ARRAY(SELECT coalesce(was.definition, custom.definition)
          FROM unnest(former.roles) AS held
          LEFT JOIN LATERAL (
              SELECT facts ->> 'definition' AS definition FROM access_history
              WHERE tenant_id = $1::uuid AND subject_kind = 'role' AND facts ->> 'name' = held
                AND valid_until > $3::timestamptz AND (facts ->> 'created_at')::timestamptz <= $3::timestamptz
              ORDER BY valid_until LIMIT 1) was ON true
          LEFT JOIN roles role ON role.tenant_id = $1::uuid AND role.name = held AND role.created_at <= $3::timestamptz
          LEFT JOIN custom_roles custom ON custom.tenant_id = $1::uuid AND custom.id = role.id
          WHERE coalesce(was.definition, custom.definition) IS NOT NULL ORDER BY held) AS custom_roles
FROM (
    SELECT coalesce(stood.facts ->> 'role', person.role) AS role,
        CASE WHEN stood.facts IS NULL THEN person.organization_id
            ELSE (stood.facts ->> 'organization_id')::uuid END AS organization_id,
        CASE WHEN stood.facts IS NULL THEN person.department ELSE stood.facts ->> 'department' END AS department,
        CASE WHEN NOT coalesce((stood.facts ->> 'is_active')::boolean, person.is_active) THEN '{}'
            WHEN held.facts IS NULL THEN ARRAY(SELECT holding.role FROM user_roles holding
                WHERE holding.tenant_id = person.tenant_id AND holding.user_id = person.id)
            ELSE ARRAY(SELECT jsonb_array_elements_text(held.facts -> 'roles')) END AS roles
    FROM users person
    LEFT JOIN LATERAL (
        SELECT facts FROM access_history
        WHERE tenant_id = $1::uuid AND subject_kind = 'person' AND subject_id = person.id AND valid_until > $3::timestamptz
        ORDER BY valid_until LIMIT 1) stood ON true
    LEFT JOIN LATERAL (
        SELECT facts FROM access_history
        WHERE tenant_id = $1::uuid AND subject_kind = 'held_roles' AND subject_id = person.id AND valid_until > $3::timestamptz
        ORDER BY valid_until LIMIT 1) held ON true
    WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.created_at <= $3::timestamptz
      AND NOT coalesce((stood.facts ->> 'deleted')::boolean, person.deleted_at IS NOT NULL)
) former;

--! is_known
-- Whether there is, or was, such a person.
SELECT FROM users WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! claim_email
SELECT claim_email($1::uuid, $2::bytea[]);
