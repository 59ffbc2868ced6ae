--! lock_accounts
-- Every writer takes the locks of all its accounts here, in id order, before it
-- reads anything: two batches over the same accounts queue, they never deadlock.
-- NO KEY, because ids never change: the foreign-key checks of other tables (a new
-- party, a new card) pass through while still every writer of balances waits.
SELECT id FROM ledger_accounts
WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

--! read_accounts
-- A statement of its own, sent in the same flush: under READ COMMITTED its
-- snapshot is taken after the locks were granted, so it sees what the writer we
-- waited for has left behind. The locking statement's own snapshot may be older.
SELECT id, class, currency, balance, held, overdraft_limit, minimum_balance, status, entry_count, version
FROM ledger_accounts
WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[]);

--! name_record
-- The record that tells of a whole batch of movements: those that have none of their own are
-- looked for in it (refuse_unrecorded_transfers).
SELECT set_config('app.posting_record', $1::text, true);

--! insert_transfers
INSERT INTO transfers (tenant_id, id, kind, amount, currency, from_account_id, to_account_id, description, reference,
    value_date, booking_date, posted_at, created_by, reverses_transfer_id, hold_id)
SELECT $1::uuid, posted.*
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::text[], $9::text[],
    $10::date[], $11::date[], $12::timestamptz[], $13::uuid[], $14::uuid[], $15::uuid[]) AS posted;

--! insert_transactions
INSERT INTO transactions (tenant_id, transaction_id, account_id, transfer_id, account_sequence, transaction_type,
    amount, balance_after, description, reference, transaction_date, posted_date)
SELECT $1::uuid, entry.*
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
    $10::text[], $11::date[], $12::timestamptz[]) AS entry;

--! update_accounts
-- The accounts are locked, so what was computed in memory is what stands here. The
-- ids stand here twice: with the join alone the planner may read the whole table.
UPDATE ledger_accounts account
SET balance = posted.balance, entry_count = posted.entry_count, held = posted.held
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[]) AS posted (id, balance, entry_count, held)
WHERE account.tenant_id = $1::uuid AND account.id = ANY ($2::uuid[]) AND account.id = posted.id;
