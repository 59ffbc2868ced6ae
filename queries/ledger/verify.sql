--! totals
-- The trial balance: over all accounts of a currency the balances sum to zero. One pass
-- over the accounts, because only one snapshot sums to zero while money moves.
SELECT currency, count(*)::bigint AS accounts, sum(balance)::text AS balance, sum(entry_count)::bigint AS entries
FROM ledger_accounts
WHERE tenant_id = $1::uuid
GROUP BY currency
ORDER BY currency;

--! accounts
-- One page of accounts with what their live holds keep back and the number of their last
-- entry. One statement, one snapshot: what happens meanwhile is wholly in it or not at all.
WITH page AS MATERIALIZED (
    SELECT id, balance, held, entry_count FROM ledger_accounts
    WHERE tenant_id = $1::uuid AND id > $2::uuid
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, page.balance, page.entry_count, page.held, coalesce(promised.total, 0)::text AS promised,
    coalesce(newest.account_sequence, 0)::bigint AS last_sequence
FROM page
LEFT JOIN LATERAL (
    SELECT sum(hold.remaining) AS total FROM holds hold
    WHERE hold.tenant_id = $1::uuid AND hold.account_id = page.id AND hold.remaining > 0
) promised ON true
LEFT JOIN LATERAL (
    SELECT entry.account_sequence FROM transactions entry
    WHERE entry.tenant_id = $1::uuid AND entry.account_id = page.id
    ORDER BY entry.account_sequence DESC
    LIMIT 1
) newest ON true
ORDER BY page.id;

--! entries
-- One page of entries in the order of the primary key, behind entry $3 of account $2, whose
-- balance was $4: a row for each account that has any in it. Whose transfer or account is
-- missing is looked up entry by entry (a subquery of one value is never hashed): right after
-- a bulk load the planner has no statistics, and would read whole tables for every page.
WITH page AS MATERIALIZED (
    SELECT account_id, account_sequence, amount, balance_after, transaction_id, transfer_id
    FROM transactions
    WHERE tenant_id = $1::uuid AND (account_id, account_sequence) > ($2::uuid, $3::bigint)
    ORDER BY account_id, account_sequence
    LIMIT $5::bigint
),
link AS MATERIALIZED (
    SELECT page.*,
        lag(page.account_sequence, 1, CASE WHEN page.account_id = $2 THEN $3::bigint ELSE 0 END)
            OVER in_order AS sequence_before,
        lag(page.balance_after, 1, CASE WHEN page.account_id = $2 THEN $4::bigint ELSE 0 END)
            OVER in_order AS balance_before,
        (SELECT moved.amount FROM transfers moved
         WHERE moved.tenant_id = $1::uuid AND moved.id = page.transfer_id) IS NULL
        OR (SELECT owner.balance FROM ledger_accounts owner
            WHERE owner.tenant_id = $1::uuid AND owner.id = page.account_id) IS NULL AS is_orphan
    FROM page
    WINDOW in_order AS (PARTITION BY page.account_id ORDER BY page.account_sequence)
)
SELECT part.*, account.balance, account.entry_count
FROM (
    SELECT link.account_id, count(*)::bigint AS entries, sum(link.amount)::text AS total,
        max(link.account_sequence)::bigint AS last_sequence,
        (array_agg(link.balance_after ORDER BY link.account_sequence DESC))[1] AS last_balance,
        min(link.account_sequence) FILTER (
            WHERE link.account_sequence <> link.sequence_before + 1
               OR link.balance_after <> link.balance_before + link.amount) AS first_break,
        (array_agg(link.transaction_id ORDER BY link.account_sequence) FILTER (WHERE link.is_orphan))[1] AS orphan_id,
        (array_agg(link.transfer_id ORDER BY link.account_sequence) FILTER (WHERE link.is_orphan))[1]
            AS orphan_transfer_id
    FROM link
    GROUP BY link.account_id
) part
LEFT JOIN LATERAL (
    SELECT owner.balance, owner.entry_count FROM ledger_accounts owner
    WHERE owner.tenant_id = $1::uuid AND owner.id = part.account_id
    OFFSET 0
) account ON true
ORDER BY part.account_id;

--! transfers
-- One page of transfers against their entries: the sums; an entry's currency, which is its
-- account's; what both say of the movement; the accounts that it names; of a capture the
-- hold's; of a reversal that with its original it leaves every account where it was.
WITH page AS MATERIALIZED (
    SELECT id, kind, amount, currency, from_account_id, to_account_id, description, reference, value_date, posted_at,
        reverses_transfer_id, hold_id
    FROM transfers
    WHERE tenant_id = $1::uuid AND id > $2::uuid
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, page.amount, legs.entries, legs.total, legs.credited, legs.foreign_entries, legs.unlike_entries,
    legs.has_from AND legs.has_to
        AND (promise.id IS NULL OR (promise.account_id = page.from_account_id
            AND promise.to_account_id = page.to_account_id)) AS has_its_sides,
    (page.kind = 'reversal') = (page.reverses_transfer_id IS NOT NULL) AND NOT undone.is_uneven AS is_mirrored,
    CASE WHEN promise.id IS NULL THEN page.hold_id END AS missing_hold_id
FROM page
CROSS JOIN LATERAL (
    SELECT count(*)::bigint AS entries, coalesce(sum(entry.amount), 0)::text AS total,
        coalesce(sum(entry.amount) FILTER (WHERE entry.amount > 0), 0)::text AS credited,
        count(*) FILTER (WHERE account.currency IS DISTINCT FROM page.currency)::bigint AS foreign_entries,
        count(*) FILTER (
            WHERE entry.transaction_date <> page.value_date
               OR entry.posted_date <> page.posted_at
               OR entry.description <> page.description
               OR entry.reference IS DISTINCT FROM page.reference
               OR entry.transaction_type <> CASE page.kind
                    WHEN 'transfer' THEN CASE WHEN entry.amount < 0 THEN 'transfer_out' ELSE 'transfer_in' END
                    -- History has whatever type it had elsewhere.
                    WHEN 'import' THEN entry.transaction_type
                    ELSE page.kind END)::bigint AS unlike_entries,
        coalesce(bool_or(entry.account_id = page.from_account_id AND entry.amount < 0), false) AS has_from,
        coalesce(bool_or(entry.account_id = page.to_account_id AND entry.amount > 0), false) AS has_to
    FROM transactions entry
    LEFT JOIN ledger_accounts account ON account.tenant_id = $1::uuid AND account.id = entry.account_id
    WHERE entry.tenant_id = $1::uuid AND entry.transfer_id = page.id
) legs
LEFT JOIN LATERAL (
    SELECT hold.id, hold.account_id, hold.to_account_id FROM holds hold
    WHERE hold.tenant_id = $1::uuid AND hold.id = page.hold_id
    OFFSET 0
) promise ON true
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT 1 FROM transactions entry
        WHERE entry.tenant_id = $1::uuid AND page.reverses_transfer_id IS NOT NULL
          AND entry.transfer_id IN (page.id, page.reverses_transfer_id)
        GROUP BY entry.account_id
        HAVING sum(entry.amount) <> 0) AS is_uneven
) undone
ORDER BY page.id;

--! captures
-- One page of holds: what each says was captured of it, and what the transfers that name it
-- have paid. Transfers that name none that is there come to light in their own walk.
WITH page AS MATERIALIZED (
    SELECT id, captured_amount FROM holds
    WHERE tenant_id = $1::uuid AND id > $2::uuid
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, page.captured_amount, paid.total AS paid
FROM page
CROSS JOIN LATERAL (
    SELECT coalesce(sum(moved.amount), 0)::text AS total FROM transfers moved
    WHERE moved.tenant_id = $1::uuid AND moved.hold_id = page.id
) paid
ORDER BY page.id;
