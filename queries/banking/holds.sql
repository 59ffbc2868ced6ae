--! facts
-- The facts of decisions on holds, one row for each that exists: whether the actor
-- is a party to the account that the money is kept back on (owned), and to the one
-- that it is promised to (held).
SELECT wanted.position - 1 AS position,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = hold.account_id
          AND customer.user_id = wanted.user_id) AS owned,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = hold.to_account_id
          AND customer.user_id = wanted.user_id) AS held
FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS wanted (hold_id, user_id, position)
JOIN holds hold ON hold.tenant_id = $1::uuid AND hold.id = wanted.hold_id;

--! facts_at
-- The facts of one hold at a moment that is past; nothing of one that was not there yet.
SELECT EXISTS (
        SELECT 1 FROM account_parties party
        WHERE party.tenant_id = $1::uuid AND party.account_id = hold.account_id AND party.created_at <= $4::timestamptz
          AND login_of_customer($1::uuid, party.customer_id, $4::timestamptz) = $3::uuid) AS owned,
    EXISTS (
        SELECT 1 FROM account_parties party
        WHERE party.tenant_id = $1::uuid AND party.account_id = hold.to_account_id AND party.created_at <= $4::timestamptz
          AND login_of_customer($1::uuid, party.customer_id, $4::timestamptz) = $3::uuid) AS held
FROM holds hold
WHERE hold.tenant_id = $1::uuid AND hold.id = $2::uuid AND hold.created_at <= $4::timestamptz;

--! sides
-- What an authorisation needs to know before anything is locked: the account's
-- currency, and the bank's settlement account of it where it exists already. Neither
-- ever changes.
SELECT account.id, account.currency, settlement.id AS settlement_id
FROM ledger_accounts account
LEFT JOIN ledger_accounts settlement ON settlement.tenant_id = $1::uuid AND settlement.class = 'internal'
    AND settlement.code = 'settlement' AND settlement.currency = account.currency
WHERE account.tenant_id = $1::uuid AND account.id = ANY ($2::uuid[]) AND account.class = 'customer';

--! hold
-- One hold with what policy needs to know.
SELECT hold.id, hold.account_id, hold.to_account_id, hold.amount, hold.captured_amount, hold.remaining, hold.currency,
    hold.status, hold.description, hold.reference, hold.expires_at, hold.last_transfer_id, hold.created_by, hold.version,
    hold.created_at, hold.updated_at,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = hold.account_id AND customer.user_id = $3::uuid) AS owned
FROM holds hold
WHERE hold.tenant_id = $1::uuid AND hold.id = $2::uuid;

--! list_all
-- Newest first, then by id; the bound is always given, so that the index is entered
-- at it (the first page's lies beyond every hold).
SELECT id, account_id, to_account_id, amount, captured_amount, remaining, currency, status, description, reference,
    expires_at, last_transfer_id, created_by, version, created_at, updated_at
FROM holds
WHERE tenant_id = $1::uuid
  AND (created_at, id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR status = $4)
ORDER BY created_at DESC, id DESC
LIMIT $5::bigint;

--! list_of_account
-- One account's; with an actor ($6), only where the actor is a party to it.
SELECT id, account_id, to_account_id, amount, captured_amount, remaining, currency, status, description, reference,
    expires_at, last_transfer_id, created_by, version, created_at, updated_at
FROM holds
WHERE tenant_id = $1::uuid AND account_id = $7::uuid
  AND (created_at, id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR status = $4)
  AND ($6::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = $7::uuid AND customer.user_id = $6::uuid))
ORDER BY created_at DESC, id DESC
LIMIT $5::bigint;

--! list_own
-- From the actor's customer through their accounts, of each no more than a page:
-- the cost follows how many accounts they have, not how many holds there ever were.
SELECT own.*
FROM customers mine
JOIN account_parties party ON party.tenant_id = $1::uuid AND party.customer_id = mine.id
CROSS JOIN LATERAL (
    SELECT hold.id, hold.account_id, hold.to_account_id, hold.amount, hold.captured_amount, hold.remaining,
        hold.currency, hold.status, hold.description, hold.reference, hold.expires_at, hold.last_transfer_id,
        hold.created_by, hold.version, hold.created_at, hold.updated_at
    FROM holds hold
    WHERE hold.tenant_id = $1::uuid AND hold.account_id = party.account_id
      AND (hold.created_at, hold.id) < ($2::timestamptz, $3::uuid)
      AND ($4::text IS NULL OR hold.status = $4)
    ORDER BY hold.created_at DESC, hold.id DESC
    LIMIT $5::bigint
) own
WHERE mine.tenant_id = $1::uuid AND mine.user_id = $6::uuid
ORDER BY own.created_at DESC, own.id DESC
LIMIT $5::bigint;
