--! open_accounts
INSERT INTO ledger_accounts (tenant_id, id, class, currency, overdraft_limit, minimum_balance)
SELECT $1::uuid, opened.id, 'customer', opened.currency, opened.overdraft_limit, opened.minimum_balance
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[])
    AS opened (id, currency, overdraft_limit, minimum_balance);

--! find_internal
SELECT id FROM ledger_accounts
WHERE tenant_id = $1::uuid AND class = 'internal' AND code = $2::text AND currency = $3::text;

--! make_internal
-- Two first postings of a currency may race: one of them makes the account.
INSERT INTO ledger_accounts (tenant_id, id, class, code, currency)
VALUES ($1::uuid, $2::uuid, 'internal', $3::text, $4::text)
ON CONFLICT (tenant_id, code, currency) WHERE class = 'internal' DO NOTHING;

--! save_settings
-- The caller holds the lock of the posting engine on this row.
UPDATE ledger_accounts
SET overdraft_limit = $3::bigint, minimum_balance = $4::bigint, status = $5::text, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid;
