--! demanded
-- How many others policy asks for, read with what it decides about: a demand that was made is
-- obeyed at once.
SELECT coalesce((policy ->> $2::text)::smallint, 0::smallint) AS required
FROM security_policies
WHERE tenant_id = $1::uuid;

--! kind
-- Whose desk an order belongs to; it never changes.
SELECT kind FROM approvals WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! insert
INSERT INTO approvals (tenant_id, id, kind, payload, payload_hash, object_id, requested_by, requested_at, expires_at,
    required)
VALUES ($1::uuid, $2::uuid, $3::text, $4::jsonb, $5::bytea, $6::uuid, $7::uuid, $8::timestamptz, $9::timestamptz,
    $10::smallint);

--! person
-- Whom a grant of roles is about.
SELECT object_id FROM approvals WHERE tenant_id = $1::uuid AND id = $2::uuid AND kind = 'role_grant';

--! pending_of_makers
-- How much of each maker's waits. Asked only where something has to wait; the index holds
-- no more than what is pending.
SELECT requested_by, count(*)::bigint AS pending
FROM approvals
WHERE tenant_id = $1::uuid AND requested_by = ANY ($2::uuid[]) AND status = 'pending' AND expires_at > app_now()
GROUP BY requested_by;

--! lock
-- Whoever decides waits here for whoever decides already, and then sees what they
-- decided. The approval is locked before any account; nobody locks them the other way
-- round (a new approval is inserted, and waited for by nobody). Who has agreed is asked behind
-- the lock: in this statement they would be those of the moment before it waited.
SELECT id, kind, status, payload, payload_hash, object_id, from_account_id, to_account_id, amount, currency,
    requested_by, requested_at, expires_at, decided_by, decided_at, decision_note, result_id, version, required,
    '{}'::uuid[] AS approved_by, '{}'::timestamptz[] AS approved_at
FROM approvals
WHERE tenant_id = $1::uuid AND id = $2::uuid AND kind = $3::text
FOR UPDATE;

--! maker
-- Who has asked for it, as they are now: what they may has to be asked again. A row that
-- the actor may not see is answered as nobody, and nobody may order anything. A machine
-- is its API key.
SELECT person.is_active AND person.deleted_at IS NULL AND person.staff_locked_at IS NULL AS is_active, person.organization_id, person.department,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = $1::uuid AND held.user_id = person.id
          ORDER BY held.role) AS roles, NULL::text[] AS scopes,
    ARRAY(SELECT custom.definition FROM user_roles held
          JOIN custom_roles custom ON custom.tenant_id = held.tenant_id AND custom.name = held.role
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role) AS custom_roles
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid
UNION ALL
SELECT key.revoked_at IS NULL AND key.expires_at > app_now(), NULL, NULL, ARRAY[key.role], key.scopes, '{}'
FROM api_keys key
WHERE key.tenant_id = $1::uuid AND key.id = $2::uuid;

--! agreed
SELECT decided_by, decided_at FROM approval_decisions
WHERE tenant_id = $1::uuid AND approval_id = $2::uuid AND verdict = 'approve'
ORDER BY decided_at, decided_by;

--! dependent
-- Whether the actor depends on any of the others.
SELECT bool_or(depend_on_each_other($1::uuid, other, $3::uuid)) AS dependent FROM unnest($2::uuid[]) AS other;

--! insert_decision
INSERT INTO approval_decisions (tenant_id, approval_id, decided_by, verdict, note, decided_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::timestamptz);

--! agree
-- One more has agreed, and more are needed.
UPDATE approvals SET version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'pending'
RETURNING version;

--! decide
UPDATE approvals
SET status = $3::text, decided_by = $4::uuid, decided_at = $5::timestamptz, decision_note = $6::text,
    result_id = $7::uuid, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'pending'
RETURNING version;
