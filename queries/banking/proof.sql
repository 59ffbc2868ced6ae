--! sub_ledger
-- One page of customers' accounts, taken from both sides: savings accounts and the
-- ledger accounts of customers have to be the same set. One statement, one snapshot: an
-- account that is being opened is in both or in neither.
WITH page AS MATERIALIZED (
    SELECT id FROM (
        (SELECT id FROM savings_accounts WHERE tenant_id = $1::uuid AND id > $2::uuid ORDER BY id LIMIT $3::bigint)
        UNION
        (SELECT id FROM ledger_accounts WHERE tenant_id = $1::uuid AND id > $2::uuid AND class = 'customer'
         ORDER BY id LIMIT $3::bigint)
    ) either
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, account.id IS NOT NULL AS has_account, ledger.class, ledger.status, account.closed_date,
    EXISTS (
        SELECT 1 FROM account_parties party
        WHERE party.tenant_id = $1::uuid AND party.account_id = page.id AND party.customer_id = account.customer_id
          AND party.party_role = 'owner') AS has_owner
FROM page
LEFT JOIN savings_accounts account ON account.tenant_id = $1::uuid AND account.id = page.id
LEFT JOIN ledger_accounts ledger ON ledger.tenant_id = $1::uuid AND ledger.id = page.id
ORDER BY page.id;

--! claim
-- Whoever moves the start does the proof: nodes share the work, and one that dies in the
-- middle leaves a tenant that is due again a period later. The lock is tried and not
-- awaited: who comes second has nothing to wait for.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(hashtextextended('ledger_proofs/' || $1::uuid::text, 0)) AS taken
)
INSERT INTO ledger_proofs (tenant_id, started_at)
SELECT $1::uuid, app_now() FROM turn WHERE turn.taken
ON CONFLICT (tenant_id) DO UPDATE
SET started_at = app_now(), finished_at = NULL, version = ledger_proofs.version + 1
WHERE ledger_proofs.started_at <= app_now() - $2::bigint * interval '1 second'
RETURNING started_at;

--! record
UPDATE ledger_proofs
SET finished_at = app_now(), last_success_at = CASE WHEN $5::bigint = 0 THEN app_now() ELSE last_success_at END,
    accounts = $2::bigint, transfers = $3::bigint, entries = $4::bigint, fault_count = $5::bigint, version = version + 1
WHERE tenant_id = $1::uuid;

--! latest
-- Until a first proof succeeds, what counts is since when there has been none.
SELECT fault_count, coalesce(last_success_at, created_at) AS good_until
FROM ledger_proofs
WHERE tenant_id = $1::uuid;
