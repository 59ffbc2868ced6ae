-- The row of an account by tenant and id; nobody's rights are looked at.
SELECT account.id, account.account_number, account.customer_id, account.account_type, ledger.currency, ledger.balance,
    ledger.held, ledger.overdraft_limit, ledger.minimum_balance, trim_scale(account.interest_rate)::text AS interest_rate,
    ledger.status, account.opened_date, account.closed_date, account.version, account.created_at,
    greatest(account.updated_at, ledger.updated_at) AS updated_at
FROM savings_accounts account
JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = account.id
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid
