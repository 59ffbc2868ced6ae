--! held_all
-- What customers hold together, by currency: double entry makes it the opposite of what
-- the bank's own accounts hold, and of those there are a handful, under an index of
-- their own. A million customers' rows are not touched.
SELECT currency, (-sum(balance))::bigint AS held
FROM ledger_accounts
WHERE tenant_id = $1::uuid AND class = 'internal'
GROUP BY currency
HAVING count(*) FILTER (WHERE entry_count > 0) > 0
ORDER BY abs(sum(balance)) DESC, currency;

--! statuses_all
-- Customers' accounts by status, of no more than $2 accounts: a large tenant's dashboard
-- says "at least" and does not read them all.
SELECT status, count(*) AS accounts
FROM (SELECT status FROM ledger_accounts WHERE tenant_id = $1::uuid AND class = 'customer' LIMIT $2::bigint) counted
GROUP BY status
ORDER BY status;

--! customers_all
-- Counted up to $2.
SELECT count(*) AS customers
FROM (SELECT 1 FROM customers WHERE tenant_id = $1::uuid LIMIT $2::bigint) counted;

--! movement_days
-- Movements a day by currency, of the newest $4. Ids are in the order of time, so the
-- primary key is walked backwards from the newest to the first of the day asked for ($2
-- is the smallest id of that instant); imported history lies in its own days ($3).
SELECT booking_date, currency, count(*) AS movements, sum(amount)::bigint AS volume
FROM (
    SELECT booking_date, currency, amount
    FROM transfers
    WHERE tenant_id = $1::uuid AND id >= $2::uuid
    ORDER BY id DESC
    LIMIT $4::bigint
) newest
WHERE booking_date >= $3::date
GROUP BY booking_date, currency
ORDER BY booking_date, currency;

--! latest_movements
-- The newest of the tenant, with the numbers of the accounts that have one.
SELECT newest.id, newest.kind, newest.status, newest.amount, newest.currency, newest.from_account_id,
    newest.to_account_id, newest.description, newest.reference, newest.value_date, newest.booking_date,
    newest.posted_at, newest.created_by, newest.reverses_transfer_id, newest.created_at,
    reversal.id AS reversed_by_transfer_id, approval.id AS approval_id, payer.account_number AS from_number, payee.account_number AS to_number
FROM (
    SELECT * FROM transfers WHERE tenant_id = $1::uuid ORDER BY id DESC LIMIT $2::bigint
) newest
LEFT JOIN transfers reversal ON reversal.tenant_id = $1::uuid AND reversal.reverses_transfer_id = newest.id
LEFT JOIN approvals approval ON approval.tenant_id = $1::uuid AND approval.object_id = newest.id
LEFT JOIN savings_accounts payer ON payer.tenant_id = $1::uuid AND payer.id = newest.from_account_id
LEFT JOIN savings_accounts payee ON payee.tenant_id = $1::uuid AND payee.id = newest.to_account_id
ORDER BY newest.id DESC;

--! latest_entries
-- The newest entries of all accounts that the actor is a party to: a few of each account
-- along its own order, then the newest of those.
SELECT entry.transaction_id, entry.account_id, entry.transfer_id, entry.account_sequence, entry.transaction_type,
    entry.amount, entry.balance_after, entry.description, entry.reference, entry.transaction_date, entry.posted_date,
    entry.status, entry.created_at, account.account_number, ledger.currency
FROM customers mine
JOIN account_parties party ON party.tenant_id = $1::uuid AND party.customer_id = mine.id
JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = party.account_id
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
CROSS JOIN LATERAL (
    SELECT * FROM transactions
    WHERE tenant_id = $1::uuid AND account_id = account.id
    ORDER BY account_sequence DESC
    LIMIT $3::bigint
) entry
WHERE mine.tenant_id = $1::uuid AND mine.user_id = $2::uuid
ORDER BY entry.posted_date DESC, entry.transaction_id DESC
LIMIT $3::bigint;

--! own_days
-- What came and went a day in each account that the actor is a party to, since a day;
-- of the newest $4 days of each. The index by value date carries the amounts.
SELECT account.id AS account_id, day.transaction_date, day.change
FROM customers mine
JOIN account_parties party ON party.tenant_id = $1::uuid AND party.customer_id = mine.id
JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = party.account_id
CROSS JOIN LATERAL (
    SELECT transaction_date, sum(amount)::bigint AS change
    FROM transactions
    WHERE tenant_id = $1::uuid AND account_id = account.id AND transaction_date >= $3::date
    GROUP BY transaction_date
    ORDER BY transaction_date DESC
    LIMIT $4::bigint
) day
WHERE mine.tenant_id = $1::uuid AND mine.user_id = $2::uuid
ORDER BY account.id, day.transaction_date DESC;

--! last_proof
SELECT finished_at, last_success_at, accounts, transfers, entries, fault_count
FROM ledger_proofs
WHERE tenant_id = $1::uuid;

--! payee
-- The account that a number names, for whoever may order transfers: nothing of it but
-- what the order needs, and whether the actor is a party to it.
SELECT account.id, account.account_number, ledger.currency,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id AND customer.user_id = $2::uuid) AS owned
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.account_number = $3::text;

--! payment_sides
-- The accounts of a payment that is to be proven: what the order needs, and whether the
-- actor is a party.
SELECT account.id, account.account_number, ledger.currency,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = account.id AND customer.user_id = $2::uuid) AS owned
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.id IN ($3::uuid, $4::uuid);

--! sides
-- The accounts that a movement touched: by number, or by name where they are the bank's.
SELECT ledger.id AS account_id, account.account_number, ledger.code,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = ledger.id AND customer.user_id = $3::uuid) AS owned
FROM transactions entry
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = entry.account_id
LEFT JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = ledger.id
WHERE entry.tenant_id = $1::uuid AND entry.transfer_id = $2::uuid
ORDER BY entry.amount, ledger.id;
