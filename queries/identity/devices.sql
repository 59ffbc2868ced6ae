--! seen
-- Notes the device of a sign-in, under the lock on its owner's row. New is one that was
-- never seen, or was revoked since; the first that somebody ever has is no news to them.
INSERT INTO user_devices AS device (tenant_id, id, user_id, fingerprint, name, trusted_until)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::bytea, $5::text,
    CASE WHEN $6::boolean THEN app_now() + interval '30 days' END)
ON CONFLICT (tenant_id, user_id, fingerprint) DO UPDATE SET
    first_seen_at = CASE WHEN device.revoked_at IS NULL THEN device.first_seen_at ELSE app_now() END,
    last_seen_at = app_now(),
    trusted_until = CASE WHEN $6 THEN app_now() + interval '30 days'
        WHEN device.revoked_at IS NULL THEN device.trusted_until END,
    revoked_at = NULL
RETURNING id, name, first_seen_at = app_now() AS is_new,
    EXISTS (SELECT 1 FROM user_devices other
            WHERE other.tenant_id = $1 AND other.user_id = $3 AND other.fingerprint <> $4) AS has_others;

--! is_new
-- Asked before anything is noted.
SELECT coalesce(bool_or(device.fingerprint <> $3::bytea), false)
    AND NOT coalesce(bool_or(device.fingerprint = $3 AND device.revoked_at IS NULL), false) AS is_new,
    coalesce(bool_or(device.revoked_at IS NULL), false) AS has_known
FROM user_devices device
WHERE device.tenant_id = $1::uuid AND device.user_id = $2::uuid;

--! detect
-- Seed 002's function; marks the session as well.
SELECT score, reasons, demands_step_up
FROM detect_suspicious_session($1::uuid, $2::inet, $3::text, $4::text::varchar);

--! contact
-- Where somebody is told of something, with the key that opens it.
SELECT person.email_sealed, person.phone_sealed, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM users person
JOIN subject_keys subject ON subject.tenant_id = person.tenant_id AND subject.subject_id = person.id
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.deleted_at IS NULL;

--! list_own
SELECT id, name, first_seen_at, last_seen_at, trusted_until, fingerprint, version
FROM user_devices
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND revoked_at IS NULL AND ($3::uuid IS NULL OR id < $3)
ORDER BY id DESC LIMIT $4::bigint;

--! lock_own
SELECT version FROM user_devices
WHERE tenant_id = $1::uuid AND id = $2::uuid AND user_id = $3::uuid AND revoked_at IS NULL FOR UPDATE;

--! rename
UPDATE user_devices SET name = $3::text, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING id, name, first_seen_at, last_seen_at, trusted_until, fingerprint, version;

--! revoke
UPDATE user_devices SET revoked_at = app_now(), trusted_until = NULL, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! end_sessions
UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = 'device_revoked'
WHERE tenant_id = $1::uuid AND device_id = $2::uuid AND revoked_at IS NULL
RETURNING id;

--! end_families
UPDATE refresh_tokens token SET revoked_at = app_now()
FROM user_sessions session
WHERE session.tenant_id = $1::uuid AND session.device_id = $2::uuid
  AND token.tenant_id = session.tenant_id AND token.session_id = session.id AND token.revoked_at IS NULL;
