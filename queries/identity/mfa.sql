--! methods
SELECT held.method, held.config_id, held.name, held.confirmed_at, held.last_used_at, held.remaining, config.version
FROM get_user_mfa_methods($1::uuid) WITH ORDINALITY
    AS held (method, config_id, name, confirmed_at, last_used_at, remaining, place)
LEFT JOIN mfa_configs config ON config.id = held.config_id
ORDER BY held.place;

--! tenant_name
-- What authenticator apps show where the policy names no issuer.
SELECT name FROM tenants WHERE id = $1::uuid;

--! configs
-- What somebody enrolled, confirmed or not, with the key that opens it.
SELECT config.id, config.method, config.name, config.secret_sealed, config.period_s, config.confirmed_at,
    subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM mfa_configs config
LEFT JOIN subject_keys subject ON subject.tenant_id = config.tenant_id AND subject.subject_id = config.user_id
WHERE config.tenant_id = $1::uuid AND config.user_id = $2::uuid;

--! enrol
-- Again before it was confirmed: the earlier secret was never any good.
INSERT INTO mfa_configs AS config (tenant_id, id, user_id, method, name, secret_sealed, device_fingerprint,
    period_s)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::bytea, $7::bytea, $8::smallint)
ON CONFLICT (tenant_id, user_id, method) DO UPDATE
SET name = EXCLUDED.name, secret_sealed = EXCLUDED.secret_sealed, device_fingerprint = EXCLUDED.device_fingerprint,
    period_s = EXCLUDED.period_s
WHERE config.id = EXCLUDED.id AND config.confirmed_at IS NULL
RETURNING config.id;

--! waiting
SELECT method FROM mfa_configs WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND confirmed_at IS NULL;

--! confirm
UPDATE mfa_configs SET confirmed_at = app_now(), last_used_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid AND confirmed_at IS NULL
RETURNING id;

--! enable
UPDATE users SET mfa_enabled = true, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND NOT mfa_enabled;

--! accept_step
-- Accepts a time step once, ever: of parallel uses of one code one gets the row.
UPDATE mfa_configs SET last_step = $4::bigint, last_used_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid AND (last_step IS NULL OR last_step < $4)
RETURNING id;

--! note_use
UPDATE mfa_configs SET last_used_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND method = $3::text;

--! lock_own
-- Whoever removes it locks its owner's row before.
SELECT version FROM mfa_configs
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid AND confirmed_at IS NOT NULL FOR UPDATE;

--! rename
-- The table's trigger counts the version up.
UPDATE mfa_configs SET name = $4::text
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id = $3::uuid
RETURNING version;

--! disable
SELECT disable_mfa_method($1::uuid, $2::text::varchar) AS removed;

--! use_backup_code
UPDATE mfa_backup_codes SET used_at = app_now()
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND code_hash = $3::bytea AND used_at IS NULL
RETURNING id;

--! backup_codes_left
SELECT count(*) AS remaining FROM mfa_backup_codes
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND used_at IS NULL;

--! forget_backup_codes
DELETE FROM mfa_backup_codes WHERE tenant_id = $1::uuid AND user_id = $2::uuid;

--! store_backup_codes
INSERT INTO mfa_backup_codes (tenant_id, user_id, id, code_hash)
SELECT $1::uuid, $2::uuid, code.id, code.code_hash FROM unnest($3::uuid[], $4::bytea[]) AS code (id, code_hash);

--! begin_challenge
-- $11 to $14 are the payment that it is bound to; NULL, and so is its hash, for everything else.
INSERT INTO mfa_challenges (tenant_id, id, user_id, purpose, token_hash, session_id, session_for, device_fingerprint,
    password_changed_at, expires_at, payment_hash)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::bytea, $6::uuid, $7::text, $8::bytea, $9::timestamptz,
    $10::timestamptz, payment_hash($11::uuid, $12::uuid, $13::bigint, $14::text));

--! forget_challenges
-- Somebody's own that ended a day ago: nothing is asked of them any more.
DELETE FROM mfa_challenges
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND created_at < app_now() - interval '1 day';

--! forget_old_challenges
-- Anybody's that ended a day ago, so many at a time as one statement may take; what another
-- node is forgetting is left to it.
DELETE FROM mfa_challenges
WHERE tenant_id = $1::uuid AND id IN (
    SELECT old.id FROM mfa_challenges old
    WHERE old.tenant_id = $1::uuid AND old.expires_at < app_now() - interval '1 day'
    ORDER BY old.expires_at LIMIT 5000
    FOR UPDATE SKIP LOCKED);

--! find_by_token
-- The pending state of a sign-in, if its token is good for `$3` and comes from where it
-- was given out.
SELECT challenge.id, challenge.user_id, challenge.password_changed_at, person.username_key,
    is_account_locked(person.id) AS is_locked
FROM mfa_challenges challenge
JOIN users person ON person.tenant_id = challenge.tenant_id AND person.id = challenge.user_id
WHERE challenge.tenant_id = $1::uuid AND challenge.token_hash = $2::bytea AND challenge.purpose = $3::text
  AND challenge.session_for = $4::text AND challenge.device_fingerprint = $5::bytea
  AND challenge.consumed_at IS NULL AND challenge.expires_at > app_now()
  AND person.is_active AND person.deleted_at IS NULL
  AND person.password_changed_at IS NOT DISTINCT FROM challenge.password_changed_at;

--! find_by_session
-- The newest of a session, for one purpose.
SELECT id FROM mfa_challenges
WHERE tenant_id = $1::uuid AND session_id = $2::uuid AND user_id = $3::uuid AND purpose = $4::text
  AND consumed_at IS NULL AND expires_at > app_now()
ORDER BY created_at DESC, id DESC LIMIT 1;

--! find_by_payment
-- The newest of a session for exactly this payment.
SELECT id FROM mfa_challenges
WHERE tenant_id = $1::uuid AND session_id = $2::uuid AND user_id = $3::uuid AND purpose = 'payment'
  AND payment_hash = payment_hash($4::uuid, $5::uuid, $6::bigint, $7::text)
  AND consumed_at IS NULL AND expires_at > app_now()
ORDER BY created_at DESC, id DESC LIMIT 1;

--! void_payment
-- What was asked before for the same payment: two codes would be two payments.
UPDATE mfa_challenges SET consumed_at = app_now()
WHERE tenant_id = $1::uuid AND session_id = $2::uuid AND user_id = $3::uuid AND purpose = 'payment'
  AND payment_hash = payment_hash($4::uuid, $5::uuid, $6::bigint, $7::text) AND consumed_at IS NULL;

--! authorise_payment
-- It is used up by `banking/approvals.sql: consume_authorisations`.
INSERT INTO payment_authorisations (tenant_id, id, user_id, session_id, method, expires_at, payment_hash)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::timestamptz,
    payment_hash($7::uuid, $8::uuid, $9::bigint, $10::text));

--! forget_authorisations
-- Somebody's own that nothing was paid with; what was paid with one stands for good.
DELETE FROM payment_authorisations
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND consumed_at IS NULL AND created_at < app_now() - interval '1 day';

--! sent_lately
-- Codes sent to somebody within a quarter of an hour: messages cost money and patience.
SELECT coalesce(sum(codes_sent), 0)::bigint AS sent FROM mfa_challenges
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND created_at > app_now() - interval '15 minutes';

--! store_code
UPDATE mfa_challenges SET code_method = $3::text, code_hash = $4::bytea, code_expires_at = $5::timestamptz,
    codes_sent = codes_sent + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND consumed_at IS NULL AND expires_at > app_now()
RETURNING id;

--! use_sent_code
UPDATE mfa_challenges SET code_method = NULL, code_hash = NULL, code_expires_at = NULL
WHERE tenant_id = $1::uuid AND id = $2::uuid AND code_method = $3::text AND code_hash = $4::bytea
  AND code_expires_at > app_now() AND consumed_at IS NULL
RETURNING id;

--! consume_challenge
-- The one consuming primitive: of any number of parallel uses exactly one gets the row.
UPDATE mfa_challenges SET consumed_at = app_now()
WHERE tenant_id = $1::uuid AND id = $2::uuid AND consumed_at IS NULL AND expires_at > app_now()
RETURNING id;

--! charge
-- Commits on its own before the code is looked at. Seed 002's two functions: the first
-- locks the person's row, so that the second counts what all before it did. A lock, which
-- strangers' codes can bring about, never keeps out a passkey.
SELECT allowed.may_attempt, checked.locked_to, checked.retry_at, recorded.failures, recorded.locks
FROM check_mfa_rate_limit($1::uuid, $2::inet, $3::integer, 1) checked
CROSS JOIN LATERAL (SELECT checked.may_attempt OR ($6::text = 'passkey' AND checked.retry_at IS NULL)) AS allowed (may_attempt)
CROSS JOIN LATERAL record_mfa_attempt($4::uuid, $1::uuid, $5::uuid, $6::text::varchar,
    CASE WHEN allowed.may_attempt THEN 'charged' WHEN checked.locked_to IS NOT NULL THEN 'locked' ELSE 'rate_limited'
    END::varchar, $2::inet, $7::text) recorded;

--! count_attempt
UPDATE mfa_challenges SET attempts = attempts + 1 WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! record
SELECT failures, locks FROM record_mfa_attempt($1::uuid, $2::uuid, $3::uuid, $4::text::varchar, $5::text::varchar,
    $6::inet, $7::text);

--! take_back_login
SELECT 1 AS done FROM (SELECT take_back_login_charges($1::uuid)) AS called;

--! request_reset
INSERT INTO mfa_reset_requests (tenant_id, id, user_id, requested_by, expires_at, factors, payload_hash)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::timestamptz, $6::uuid[], $7::bytea);

--! factors_to_reset
-- Ids of what a reset takes: every factor and every passkey, under the lock on the person.
SELECT ARRAY(
    SELECT config.id FROM mfa_configs config
    WHERE config.tenant_id = $1::uuid AND config.user_id = $2::uuid AND config.confirmed_at IS NOT NULL
    UNION ALL
    SELECT credential.id FROM webauthn_credentials credential
    WHERE credential.tenant_id = $1::uuid AND credential.user_id = $2::uuid
    ORDER BY 1) AS factors;

--! pending_reset
SELECT id, user_id, requested_by, expires_at, factors, payload_hash FROM mfa_reset_requests
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND confirmed_at IS NULL AND rejected_at IS NULL
  AND expires_at > app_now()
ORDER BY created_at DESC, id DESC LIMIT 1;

--! waiting_resets
-- Newest first by id, which is by time. Those of the deleted wait for nobody.
SELECT request.id, request.user_id, request.requested_by, request.expires_at, request.factors, request.payload_hash
FROM mfa_reset_requests request
JOIN users person ON person.tenant_id = request.tenant_id AND person.id = request.user_id
WHERE request.tenant_id = $1::uuid AND request.confirmed_at IS NULL AND request.rejected_at IS NULL
  AND request.expires_at > app_now() AND person.deleted_at IS NULL
  AND ($2::uuid IS NULL OR request.id < $2)
ORDER BY request.id DESC LIMIT $3::bigint;

--! dependent
SELECT depend_on_each_other($1::uuid, $2::uuid, $3::uuid) AS dependent;

--! confirm_reset
UPDATE mfa_reset_requests SET confirmed_by = $3::uuid, confirmed_at = app_now()
WHERE tenant_id = $1::uuid AND id = $2::uuid AND confirmed_at IS NULL AND rejected_at IS NULL
  AND expires_at > app_now() AND requested_by <> $3 AND user_id <> $3
RETURNING id;

--! reject_reset
UPDATE mfa_reset_requests SET rejected_by = $3::uuid, rejected_at = app_now()
WHERE tenant_id = $1::uuid AND id = $2::uuid AND confirmed_at IS NULL AND rejected_at IS NULL
  AND expires_at > app_now() AND requested_by <> $3 AND user_id <> $3
RETURNING id;
