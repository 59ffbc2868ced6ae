--! lock_person
-- Taken before anything of a person's tokens changes, so that tokens are made and used
-- one after another: user's row first, then tokens.
SELECT person.username, person.is_active, person.self_registered,
    person.password_hash, person.password_changed_at,
    person.email_sealed, person.phone_sealed, person.email_verified_at, subject.key_id, subject.kek_epoch, subject.wrapped_key,
    person.staff_locked_at IS NOT NULL AS locked_by_staff,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles
FROM users person
LEFT JOIN subject_keys subject ON subject.tenant_id = person.tenant_id AND subject.subject_id = person.id
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NULL
FOR UPDATE OF person;

--! sent_lately
-- Counted up to what is allowed and no further.
SELECT count(*) AS sent FROM (
    SELECT 1 FROM one_time_tokens
    WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND purpose = $3::text
      AND created_at > app_now() - interval '1 hour'
    LIMIT $4::bigint) AS lately;

--! void
UPDATE one_time_tokens SET voided_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND purpose = ANY ($3::text[])
  AND used_at IS NULL AND voided_at IS NULL;

--! insert
INSERT INTO one_time_tokens (tenant_id, id, user_id, purpose, token_hash, code_hash, payload_sealed, payload_index,
    expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::bytea, $6::bytea, $7::bytea, $8::bytea, $9::timestamptz);

--! find
-- Whose token this is while it is good, and what it carries, with the key that opens it; it
-- is judged again when it is consumed.
SELECT token.user_id, token.id, token.payload_sealed, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM one_time_tokens token
LEFT JOIN subject_keys subject ON subject.tenant_id = token.tenant_id AND subject.subject_id = token.user_id
WHERE token.tenant_id = $1::uuid AND token.token_hash = $2::bytea AND token.purpose = $3::text
  AND token.used_at IS NULL AND token.voided_at IS NULL AND token.expires_at > app_now();

--! consume
-- The one consuming primitive: of any number of parallel uses exactly one gets a row that
-- is used. Asks for everything that makes the token good. Where a code is due, a wrong one
-- costs an attempt, and the fifth is the last.
UPDATE one_time_tokens token SET
    attempts = CASE WHEN token.code_hash IS NULL THEN token.attempts ELSE token.attempts + 1 END,
    used_at = CASE WHEN token.code_hash IS NOT DISTINCT FROM $5::bytea THEN app_now() END
WHERE token.tenant_id = $1::uuid AND token.token_hash = $2::bytea AND token.purpose = $3::text
  AND token.user_id = $4::uuid
  AND token.used_at IS NULL AND token.voided_at IS NULL AND token.expires_at > app_now() AND token.attempts < 5
RETURNING token.id, token.used_at IS NOT NULL AS used, token.payload_sealed, token.payload_index;

--! forget_old
-- A day after their end, so many at a time as one statement may take; what another node is
-- forgetting is left to it.
DELETE FROM one_time_tokens
WHERE tenant_id = $1::uuid AND id IN (
    SELECT old.id FROM one_time_tokens old
    WHERE old.tenant_id = $1::uuid AND old.expires_at < app_now() - interval '1 day'
    ORDER BY old.expires_at
    LIMIT 5000
    FOR UPDATE SKIP LOCKED);

--! set_email
UPDATE users SET email_sealed = $3::bytea, email_index = $4::bytea, email_verified_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! set_phone
UPDATE users SET phone_sealed = $3::bytea, phone_index = $4::bytea, phone_verified_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! email_proven
UPDATE users SET email_verified_at = coalesce(email_verified_at, app_now()) WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! clear_lock
SELECT 1 AS done FROM (SELECT clear_account_lock($1::uuid)) AS called;

--! referrals
-- `$1` is the tenant, which the function takes from the transaction.
SELECT referral.id, referral.is_active, referral.created_at
FROM own_referrals($2::uuid, $3::uuid, $4::bigint) referral
WHERE $1::uuid IS NOT NULL;
