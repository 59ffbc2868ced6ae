--! account
-- One account with what policy needs to know: whether the actor is a party to it. The
-- customer is a scalar subquery, which cannot be joined the other way round: before the
-- tables were ever analysed, a join read all customers of the tenant.
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate, ledger.status,
    account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at,
    EXISTS (
        SELECT 1 FROM account_parties party
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id
          AND (SELECT customer.user_id FROM customers customer
               WHERE customer.tenant_id = $1::uuid AND customer.id = party.customer_id) = $3::uuid) AS owned
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid;

--! accounts
-- The same for several who ask at the same moment, each as another actor. LATERAL with
-- OFFSET 0 makes it an index lookup for each, whatever the planner believes of the tables.
SELECT wanted.position - 1 AS position, found.*
FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS wanted (account_id, user_id, position)
CROSS JOIN LATERAL (
    SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency,
        ledger.balance, ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate,
        ledger.status, account.opened_date, account.closed_date, account.version, account.created_at,
        greatest(account.updated_at, ledger.updated_at) AS updated_at,
        EXISTS (
            SELECT 1 FROM account_parties party
            WHERE party.tenant_id = $1::uuid AND party.account_id = account.id
              AND (SELECT customer.user_id FROM customers customer
                   WHERE customer.tenant_id = $1::uuid AND customer.id = party.customer_id) = wanted.user_id) AS owned
    FROM savings_accounts account
    JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
    WHERE account.tenant_id = $1::uuid AND account.id = wanted.account_id
    OFFSET 0
) found;

--! facts
-- The facts of decisions on a batch of accounts, one row for each that exists.
-- LATERAL with OFFSET 0 makes it an index lookup for each, whatever the planner
-- believes of the tables: joined freely, a batch of sixty read all accounts of the
-- tenant (28 ms instead of 0.3).
SELECT wanted.position - 1 AS position, found.owned
FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS wanted (account_id, user_id, position)
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT 1 FROM account_parties party
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id
          AND (SELECT customer.user_id FROM customers customer
               WHERE customer.tenant_id = $1::uuid AND customer.id = party.customer_id) = wanted.user_id) AS owned
    FROM savings_accounts account
    WHERE account.tenant_id = $1::uuid AND account.id = wanted.account_id
    OFFSET 0
) found;

--! facts_at
-- The facts of one account at a moment that is past; nothing of one that was not there yet.
SELECT EXISTS (
    SELECT 1 FROM account_parties party
    WHERE party.tenant_id = $1::uuid AND party.account_id = account.id AND party.created_at <= $4::timestamptz
      AND login_of_customer($1::uuid, party.customer_id, $4::timestamptz) = $3::uuid) AS owned
FROM savings_accounts account
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid AND account.created_at <= $4::timestamptz;

--! path_facts
-- The facts of a decision on one account that the path names.
SELECT ledger.currency, ledger.status,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = party.tenant_id AND customer.id = party.customer_id
        WHERE party.tenant_id = account.tenant_id AND party.account_id = account.id
          AND customer.user_id = $3::uuid) AS owned
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = account.tenant_id AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid;

--! counter
-- What a deposit or withdrawal needs to know before it is posted; neither ever changes.
SELECT ledger.currency, account.opened_date
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid;

--! list_all
-- Newest first, then by id; the bound is always given, so that the index is
-- entered at it (the first page's lies beyond every account).
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate, ledger.status,
    account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid
  AND (account.created_at, account.id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR ledger.status = $4)
  AND ($6::text IS NULL OR account.account_type = $6)
  AND ($7::text IS NULL OR ledger.currency = $7)
ORDER BY account.created_at DESC, account.id DESC
LIMIT $5::bigint;

--! list_of_customer
-- One customer's accounts; with an actor ($6), only those the actor is a party to.
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate, ledger.status,
    account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid
  AND (account.created_at, account.id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR ledger.status = $4)
  AND ($8::text IS NULL OR account.account_type = $8)
  AND ($9::text IS NULL OR ledger.currency = $9)
  AND account.customer_id = $7::uuid
  AND ($6::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id AND customer.user_id = $6::uuid))
ORDER BY account.created_at DESC, account.id DESC
LIMIT $5::bigint;

--! list_own
-- From the actor's customer through their parties: the cost follows what they own.
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate, ledger.status,
    account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM customers mine
JOIN account_parties party ON party.tenant_id = $1::uuid AND party.customer_id = mine.id
JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = party.account_id
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE mine.tenant_id = $1::uuid AND mine.user_id = $6::uuid
  AND (account.created_at, account.id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR ledger.status = $4)
  AND ($7::text IS NULL OR account.account_type = $7)
  AND ($8::text IS NULL OR ledger.currency = $8)
ORDER BY account.created_at DESC, account.id DESC
LIMIT $5::bigint;

--! list_by_number
-- At most one account; the other filters and the actor still apply.
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, account.interest_rate, ledger.status,
    account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid
  AND (account.created_at, account.id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL OR ledger.status = $4)
  AND ($9::text IS NULL OR account.account_type = $9)
  AND ($10::text IS NULL OR ledger.currency = $10)
  AND ($7::uuid IS NULL OR account.customer_id = $7)
  AND account.account_number = $8::text
  AND ($6::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id AND customer.user_id = $6::uuid))
LIMIT $5::bigint;

--! insert_accounts
-- A number that is taken inserts nothing and returns nothing: the caller draws another.
INSERT INTO savings_accounts (tenant_id, id, customer_id, account_number, account_type, interest_rate, opened_date)
SELECT $1::uuid, opened.*
FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::numeric[], $7::date[]) AS opened
ON CONFLICT (tenant_id, account_number) DO NOTHING
RETURNING id;

--! insert_parties
INSERT INTO account_parties (tenant_id, account_id, customer_id, party_role)
SELECT $1::uuid, party.* FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS party;

--! customers_status
-- Locked against being made inactive while an account is opened for them.
SELECT id, status FROM customers WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[]) ORDER BY id FOR SHARE;

--! any_own_customer
-- Whether one of these is the actor's own record: a login is at most one customer.
SELECT id FROM customers WHERE tenant_id = $1::uuid AND user_id = $3::uuid AND id = ANY ($2::uuid[]);

--! save_account
-- Whoever changes an account holds its ledger account's lock; settings of either
-- row count this version, which is the object's ETag.
UPDATE savings_accounts
SET interest_rate = $3::numeric, closed_date = $4::date, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;
