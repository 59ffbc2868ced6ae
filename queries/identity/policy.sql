--! current
SELECT policy, version FROM security_policies WHERE tenant_id = $1::uuid;

--! pending
-- How many of a maker's changes wait.
SELECT count(*)::bigint AS pending FROM policy_changes
WHERE tenant_id = $1::uuid AND requested_by = $2::uuid AND status = 'pending' AND expires_at > app_now();

--! insert
INSERT INTO policy_changes (tenant_id, id, policy, differences, payload_hash, base_version, note, requested_by,
    requested_at, expires_at)
VALUES ($1::uuid, $2::uuid, $3::jsonb, $4::jsonb, $5::bytea, $6::bigint, $7::text, $8::uuid, $9::timestamptz,
    $10::timestamptz);

--! facts
SELECT requested_by FROM policy_changes WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! lock
-- Whoever decides waits here for whoever decides already, and then sees what they decided.
SELECT id, status, policy, differences, payload_hash, base_version, note, requested_by, requested_at, expires_at,
    decided_by, decided_at, decision_note, version
FROM policy_changes WHERE tenant_id = $1::uuid AND id = $2::uuid FOR UPDATE;

--! maker
-- Who has asked for it, as they are now.
SELECT person.is_active AND person.deleted_at IS NULL AND person.staff_locked_at IS NULL AS is_active,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = $1::uuid AND held.user_id = person.id
          ORDER BY held.role) AS roles,
    ARRAY(SELECT custom.definition FROM user_roles held
          JOIN custom_roles custom ON custom.tenant_id = held.tenant_id AND custom.name = held.role
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role) AS custom_roles
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid;

--! dependent
SELECT depend_on_each_other($1::uuid, $2::uuid, $3::uuid) AS dependent;

--! decide
UPDATE policy_changes
SET status = $3::text, decided_by = $4::uuid, decided_at = $5::timestamptz, decision_note = $6::text,
    version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND status = 'pending'
RETURNING version;

--! due
-- Whether the clock has ended any that nobody has written so of.
SELECT id FROM policy_changes
WHERE tenant_id = $1::uuid AND status = 'pending' AND expires_at <= $2::timestamptz
LIMIT 1;

--! expire
-- What somebody is deciding just now is left to them: they find it expired themselves.
UPDATE policy_changes ended
SET status = 'expired', decided_at = $2::timestamptz, version = ended.version + 1
WHERE ended.tenant_id = $1::uuid
  AND ended.id IN (
    SELECT due.id FROM policy_changes due
    WHERE due.tenant_id = $1::uuid AND due.status = 'pending' AND due.expires_at <= $2::timestamptz
    ORDER BY due.expires_at, due.id
    LIMIT $3::bigint
    FOR UPDATE SKIP LOCKED)
RETURNING ended.id, ended.requested_by, ended.version;

--! apply
-- Only where nobody has changed it meanwhile: what was agreed to is the change from what was seen.
UPDATE security_policies SET policy = $2::jsonb, version = version + 1
WHERE tenant_id = $1::uuid AND version = $3::bigint
RETURNING version;

--! one
-- What the clock has ended says so.
SELECT id, CASE WHEN status = 'pending' AND expires_at <= app_now() THEN 'expired' ELSE status END AS status, policy,
    differences, payload_hash, base_version, note, requested_by, requested_at, expires_at, decided_by, decided_at,
    decision_note, version
FROM policy_changes WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! list
-- Newest first by id, which is by time.
SELECT id, CASE WHEN status = 'pending' AND expires_at <= app_now() THEN 'expired' ELSE status END AS status, policy,
    differences, payload_hash, base_version, note, requested_by, requested_at, expires_at, decided_by, decided_at,
    decision_note, version
FROM policy_changes
WHERE tenant_id = $1::uuid AND ($2::uuid IS NULL OR id < $2)
  AND ($3::text IS NULL
       OR CASE WHEN status = 'pending' AND expires_at <= app_now() THEN 'expired' ELSE status END = $3)
ORDER BY id DESC LIMIT $4::bigint;
