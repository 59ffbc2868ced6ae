--! parties_of_account
-- Who may act on an account; with an actor ($3), only where the actor is one of them.
SELECT party.customer_id, party.party_role
FROM account_parties party
WHERE party.tenant_id = $1::uuid AND party.account_id = $2::uuid
  AND ($3::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties mine
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = mine.customer_id
        WHERE mine.tenant_id = $1::uuid AND mine.account_id = $2::uuid AND customer.user_id = $3))
ORDER BY party.party_role = 'owner' DESC, party.created_at, party.customer_id;

--! accounts_of_party
-- The accounts that a customer has a part in, as owner or otherwise; with an actor ($3),
-- only those that the actor has a part in too.
SELECT party.party_role, account.id, account.account_number, account.customer_id, account.account_type,
    ledger.currency, ledger.balance, ledger.held, ledger.overdraft_limit, ledger.minimum_balance,
    account.interest_rate, ledger.status, account.opened_date, account.closed_date, account.version,
    account.created_at, greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM account_parties party
JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = party.account_id
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = party.account_id
WHERE party.tenant_id = $1::uuid AND party.customer_id = $2::uuid
  AND ($3::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties mine
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = mine.customer_id
        WHERE mine.tenant_id = $1::uuid AND mine.account_id = party.account_id AND customer.user_id = $3))
ORDER BY account.created_at DESC, account.id DESC
LIMIT $4::bigint;

--! customers_by_id
-- To be opened for their names; with an actor ($3), only the actor's own record.
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id = ANY ($2::uuid[])
  AND ($3::uuid IS NULL OR customer.user_id = $3);
