--! insert
INSERT INTO notices (tenant_id, id, user_id, channel, template, recipient_sealed, values_sealed, expires_at)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::bytea, $7::bytea, $8::timestamptz);

--! any_due
-- Asked every second of every tenant, so it is one probe of the index and locks nothing.
SELECT EXISTS (
    SELECT 1 FROM notices
    WHERE tenant_id = $1::uuid AND channel = $2::text AND state IN ('queued', 'sending')
      AND next_attempt_at <= app_now() AND expires_at > app_now()) AS any_due;

--! claim
-- A lease: what another node holds is skipped, what it let run out is taken over. Committed
-- before anything is sent, so that no lock waits for a mail server.
WITH due AS (
    SELECT id FROM notices
    WHERE tenant_id = $1::uuid AND channel = $2::text AND state IN ('queued', 'sending')
      AND next_attempt_at <= app_now() AND expires_at > app_now()
    ORDER BY next_attempt_at, id
    LIMIT $3::bigint
    FOR UPDATE SKIP LOCKED
)
UPDATE notices notice
SET state = 'sending', attempts = notice.attempts + 1,
    next_attempt_at = app_now() + make_interval(secs => $4::double precision)
FROM due
WHERE notice.tenant_id = $1::uuid AND notice.id = due.id
RETURNING notice.id, notice.user_id, notice.template, notice.recipient_sealed, notice.values_sealed,
    notice.attempts, notice.expires_at, notice.created_at;

--! branding
SELECT tenant.name, look.display_name, look.logo_text, look.brand_colour, look.support_address
FROM tenants tenant
LEFT JOIN tenant_branding look ON look.tenant_id = $1::uuid
WHERE tenant.id = $1::uuid;

--! defer
-- Of the lease that it was tried under, and no later one.
UPDATE notices notice
SET state = 'queued', next_attempt_at = tried.next_attempt_at, last_error = tried.error
FROM unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::text[]) AS tried (id, attempts, next_attempt_at, error)
WHERE notice.tenant_id = $1::uuid AND notice.id = tried.id AND notice.state = 'sending'
  AND notice.attempts = tried.attempts;

--! finish
-- Sent (no error) or given up: what it said and to whom is wiped.
UPDATE notices notice
SET state = CASE WHEN tried.error IS NULL THEN 'sent' ELSE 'failed' END,
    sent_at = CASE WHEN tried.error IS NULL THEN app_now() END,
    last_error = coalesce(tried.error, notice.last_error), recipient_sealed = NULL, values_sealed = NULL
FROM unnest($2::uuid[], $3::integer[], $4::text[]) AS tried (id, attempts, error)
WHERE notice.tenant_id = $1::uuid AND notice.id = tried.id AND notice.state = 'sending'
  AND notice.attempts = tried.attempts
RETURNING notice.id, notice.user_id, notice.channel, notice.template, notice.attempts, tried.error;

--! any_expired
SELECT EXISTS (
    SELECT 1 FROM notices
    WHERE tenant_id = $1::uuid AND state IN ('queued', 'sending') AND expires_at <= app_now()
      AND (state = 'queued' OR next_attempt_at <= app_now())) AS any_expired;

--! expire
-- What is being sent at this moment is left to whoever sends it, until the lease is over.
WITH expired AS (
    SELECT id FROM notices
    WHERE tenant_id = $1::uuid AND state IN ('queued', 'sending') AND expires_at <= app_now()
      AND (state = 'queued' OR next_attempt_at <= app_now())
    ORDER BY expires_at, id
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
)
UPDATE notices notice
SET state = 'failed', last_error = 'expired', recipient_sealed = NULL, values_sealed = NULL
FROM expired
WHERE notice.tenant_id = $1::uuid AND notice.id = expired.id
RETURNING notice.id, notice.user_id, notice.channel, notice.template, notice.attempts, notice.last_error AS error;

--! waiting
SELECT channel, count(*)::bigint AS waiting, min(created_at) AS oldest_at
FROM notices
WHERE tenant_id = $1::uuid AND state IN ('queued', 'sending')
GROUP BY channel;

--! forget
-- The audit log keeps that it was sent; a thousand at a time, so that no backlog outlasts a statement.
DELETE FROM notices
WHERE tenant_id = $1::uuid AND id IN (
    SELECT id FROM notices
    WHERE tenant_id = $1::uuid AND created_at < app_now() - interval '90 days' AND state IN ('sent', 'failed')
    ORDER BY created_at
    LIMIT 1000);
