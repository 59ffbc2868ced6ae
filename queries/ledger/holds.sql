--! lock_accounts
-- A hold has no lock of its own: whoever changes one has locked its account, in the
-- one order of `posting.sql`: account ids. So captures, releases, expiry and plain
-- postings queue behind the same rows and can never deadlock. Which accounts a hold
-- concerns never changes, so an unlocked look at it says what to lock: both sides
-- of what may be captured ($3), the debited side alone of what is let go ($4).
-- The caller goes by the ids that come back: a hold that this snapshot did not see
-- has no lock and is not touched.
SELECT id FROM ledger_accounts
WHERE tenant_id = $1::uuid AND id = ANY (ARRAY(
    SELECT unnest($2::uuid[])
    UNION
    SELECT side.account_id
    FROM holds hold CROSS JOIN LATERAL (VALUES (hold.account_id), (hold.to_account_id)) AS side (account_id)
    WHERE hold.tenant_id = $1::uuid AND hold.id = ANY ($3::uuid[])
    UNION
    SELECT hold.account_id FROM holds hold WHERE hold.tenant_id = $1::uuid AND hold.id = ANY ($4::uuid[])))
ORDER BY id
FOR NO KEY UPDATE;

--! read_accounts
-- In a later statement of the same flush, as in `posting.sql`.
SELECT id, class, currency, balance, held, overdraft_limit, minimum_balance, status, entry_count, version
FROM ledger_accounts
WHERE tenant_id = $1::uuid AND id = ANY (ARRAY(
    SELECT unnest($2::uuid[])
    UNION
    SELECT side.account_id
    FROM holds hold CROSS JOIN LATERAL (VALUES (hold.account_id), (hold.to_account_id)) AS side (account_id)
    WHERE hold.tenant_id = $1::uuid AND hold.id = ANY ($3::uuid[])));

--! read_holds
-- Also behind the locks.
SELECT id, account_id, to_account_id, amount, captured_amount, remaining, currency, status, description, reference,
    expires_at, last_transfer_id, created_by, version, created_at, updated_at
FROM holds
WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[]);

--! insert_holds
INSERT INTO holds (tenant_id, id, account_id, to_account_id, amount, captured_amount, remaining, currency, status,
    description, reference, expires_at, last_transfer_id, created_by, version, created_at, updated_at)
SELECT $1::uuid, authorised.*
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::timestamptz[], $13::uuid[], $14::uuid[], $15::bigint[], $16::timestamptz[],
    $17::timestamptz[]) AS authorised;

--! update_holds
-- The accounts are locked, so what was computed in memory is what stands here.
UPDATE holds hold
SET captured_amount = changed.captured_amount, remaining = changed.remaining, status = changed.status,
    last_transfer_id = changed.last_transfer_id, version = changed.version
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::uuid[], $7::bigint[])
    AS changed (id, captured_amount, remaining, status, last_transfer_id, version)
WHERE hold.tenant_id = $1::uuid AND hold.id = changed.id
RETURNING hold.id, hold.updated_at;

--! due
-- Live holds whose time is over, the oldest first. No lock: the engine looks again
-- behind the accounts' locks, so a twin that was faster leaves nothing to do.
SELECT id FROM holds
WHERE tenant_id = $1::uuid AND remaining > 0 AND expires_at <= $2::timestamptz
ORDER BY expires_at, id
LIMIT $3::bigint;
