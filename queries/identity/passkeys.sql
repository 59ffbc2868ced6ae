--! forget_challenges
-- What nobody can answer any more; a few at a time, by whoever asks for a new one.
DELETE FROM webauthn_challenges
WHERE tenant_id = $1::uuid AND id IN (
    SELECT old.id FROM webauthn_challenges old
    WHERE old.tenant_id = $1::uuid AND old.expires_at < app_now() - interval '1 hour'
    ORDER BY old.expires_at LIMIT 20
    FOR UPDATE SKIP LOCKED);

--! forget_old_challenges
-- The rest of them, so many at a time as one statement may take; for a worker.
DELETE FROM webauthn_challenges
WHERE tenant_id = $1::uuid AND id IN (
    SELECT old.id FROM webauthn_challenges old
    WHERE old.tenant_id = $1::uuid AND old.expires_at < app_now() - interval '1 hour'
    ORDER BY old.expires_at LIMIT 5000
    FOR UPDATE SKIP LOCKED);

--! begin_challenge
INSERT INTO webauthn_challenges (tenant_id, id, challenge_hash, purpose, user_id, session_id, mfa_challenge_id, expires_at)
VALUES ($1::uuid, $2::uuid, $3::bytea, $4::text, $5::uuid, $6::uuid, $7::uuid, $8::timestamptz);

--! consume_challenge
-- Used up by whoever answers it first, rightly or wrongly; nobody else finds it again.
UPDATE webauthn_challenges SET consumed_at = app_now()
WHERE tenant_id = $1::uuid AND challenge_hash = $2::bytea AND purpose = $3::text
  AND user_id IS NOT DISTINCT FROM $4::uuid AND session_id IS NOT DISTINCT FROM $5::uuid
  AND mfa_challenge_id IS NOT DISTINCT FROM $6::uuid
  AND consumed_at IS NULL AND expires_at > app_now()
RETURNING id;

--! freshness
-- How lately the person of a session proved to be there.
SELECT session.created_at, session.mfa_at, person.mfa_enabled,
    session.suspicious_at IS NOT NULL AND (session.mfa_at IS NULL OR session.mfa_at < session.suspicious_at) AS step_up_due
FROM user_sessions session
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
WHERE session.tenant_id = $1::uuid AND session.id = $2::uuid AND session.user_id = $3::uuid
  AND session.revoked_at IS NULL;

--! name_user
-- The name by which authenticators know somebody; the first one given stays.
INSERT INTO webauthn_users (tenant_id, user_id, user_handle) VALUES ($1::uuid, $2::uuid, $3::bytea)
ON CONFLICT (tenant_id, user_id) DO NOTHING;

--! user_handle
SELECT user_handle FROM webauthn_users WHERE tenant_id = $1::uuid AND user_id = $2::uuid;

--! list
-- With the owner's key, which opens the names.
SELECT credential.id, credential.credential_id, credential.algorithm, credential.transports, credential.aaguid,
    credential.backup_eligible, credential.backed_up, credential.name_sealed, credential.last_used_at,
    credential.created_at, credential.updated_at, credential.version, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM webauthn_credentials credential
JOIN subject_keys subject ON subject.tenant_id = credential.tenant_id AND subject.subject_id = credential.user_id
WHERE credential.tenant_id = $1::uuid AND credential.user_id = $2::uuid
ORDER BY credential.id DESC;

--! descriptors
SELECT credential_id, transports FROM webauthn_credentials
WHERE tenant_id = $1::uuid AND user_id = $2::uuid
ORDER BY id DESC;

--! factor
-- The one factor that all of somebody's credentials belong to.
INSERT INTO mfa_configs AS config (tenant_id, id, user_id, method, name, device_fingerprint, confirmed_at, last_used_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, 'passkey', $4::text, $5::bytea, app_now(), app_now())
ON CONFLICT (tenant_id, user_id, method) DO UPDATE SET confirmed_at = coalesce(config.confirmed_at, app_now())
RETURNING config.id;

--! store
-- No row where the credential is somebody's already.
INSERT INTO webauthn_credentials (tenant_id, id, user_id, config_id, credential_id, public_key, algorithm, sign_count,
    transports, aaguid, backup_eligible, backed_up, name_sealed)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::bytea, $6::bytea, $7::smallint, $8::bigint, $9::text[], $10::uuid,
    $11::boolean, $12::boolean, $13::bytea)
ON CONFLICT (tenant_id, credential_id) DO NOTHING
RETURNING id;

--! owner
-- Whose credential it is: for whoever has nothing but a passkey to say who they are.
SELECT person.id, person.username_key
FROM webauthn_credentials credential
JOIN users person ON person.tenant_id = credential.tenant_id AND person.id = credential.user_id
WHERE credential.tenant_id = $1::uuid AND credential.credential_id = $2::bytea AND person.deleted_at IS NULL;

--! load
-- Under the lock on its owner's row, which whoever changes a credential holds.
SELECT credential.id, credential.credential_id, credential.public_key, credential.sign_count, credential.backup_eligible,
    known.user_handle
FROM webauthn_credentials credential
JOIN webauthn_users known ON known.tenant_id = credential.tenant_id AND known.user_id = credential.user_id
WHERE credential.tenant_id = $1::uuid AND credential.user_id = $2::uuid AND credential.credential_id = $3::bytea;

--! note_use
UPDATE webauthn_credentials SET sign_count = $3::bigint, backed_up = $4::boolean, last_used_at = app_now()
WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! note_factor_use
UPDATE mfa_configs SET last_used_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND method = 'passkey';

--! lock_own
-- Whoever removes it locks its owner's row before.
SELECT version FROM webauthn_credentials
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid FOR UPDATE;

--! rename
-- The table's trigger counts the version up.
UPDATE webauthn_credentials SET name_sealed = $4::bytea
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid
RETURNING id;

--! remove
DELETE FROM webauthn_credentials WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid
RETURNING id;

--! any_left
SELECT 1 AS one FROM webauthn_credentials WHERE tenant_id = $1::uuid AND user_id = $2::uuid LIMIT 1;
