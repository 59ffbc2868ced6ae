--! totals
-- The trial balance: over all accounts of a currency the balances sum to zero.
SELECT currency, count(*)::bigint AS accounts, sum(balance)::text AS balance, sum(entry_count)::text AS entries
FROM ledger_accounts
WHERE tenant_id = $1::uuid
GROUP BY currency
ORDER BY currency;

--! accounts
-- One page of accounts with what their entries say. One statement, one snapshot:
-- postings that happen meanwhile are either wholly in it or not at all.
WITH page AS MATERIALIZED (
    SELECT id, currency, balance, held, entry_count FROM ledger_accounts
    WHERE tenant_id = $1::uuid AND id > $2::uuid
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, page.currency, page.balance, page.entry_count,
    coalesce(chain.entries, 0)::bigint AS entries,
    coalesce(chain.total, 0)::text AS total,
    coalesce(chain.last_sequence, 0)::bigint AS last_sequence,
    chain.first_break,
    page.held, coalesce(promised.total, 0)::text AS promised
FROM page
LEFT JOIN LATERAL (
    SELECT sum(hold.remaining) AS total FROM holds hold
    WHERE hold.tenant_id = $1::uuid AND hold.account_id = page.id AND hold.remaining > 0
) promised ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS entries, sum(link.amount) AS total, max(link.account_sequence) AS last_sequence,
        min(link.account_sequence) FILTER (
            WHERE link.account_sequence <> link.position
               OR link.balance_after <> link.balance_before + link.amount) AS first_break
    FROM (
        SELECT entry.account_sequence, entry.amount, entry.balance_after,
            row_number() OVER in_order AS position,
            coalesce(lag(entry.balance_after) OVER in_order, 0) AS balance_before
        FROM transactions entry
        WHERE entry.tenant_id = $1::uuid AND entry.account_id = page.id
        WINDOW in_order AS (ORDER BY entry.account_sequence)
    ) link
) chain ON true
ORDER BY page.id;

--! transfers
-- One page of transfers with the sums of their entries; an entry's currency is
-- its account's.
WITH page AS MATERIALIZED (
    SELECT id, amount, currency FROM transfers
    WHERE tenant_id = $1::uuid AND id > $2::uuid
    ORDER BY id
    LIMIT $3::bigint
)
SELECT page.id, page.amount, legs.entries, legs.total, legs.credited, legs.foreign_entries
FROM page
CROSS JOIN LATERAL (
    SELECT count(*)::bigint AS entries, coalesce(sum(entry.amount), 0)::text AS total,
        coalesce(sum(entry.amount) FILTER (WHERE entry.amount > 0), 0)::text AS credited,
        count(*) FILTER (WHERE account.currency IS DISTINCT FROM page.currency)::bigint AS foreign_entries
    FROM transactions entry
    LEFT JOIN ledger_accounts account ON account.tenant_id = $1::uuid AND account.id = entry.account_id
    WHERE entry.tenant_id = $1::uuid AND entry.transfer_id = page.id
) legs
ORDER BY page.id;

--! counts
-- Entries that belong to no account or transfer appear in neither walk: the sums
-- of what was walked must be what there is.
SELECT (SELECT count(*) FROM ledger_accounts WHERE tenant_id = $1::uuid)::bigint AS accounts,
    (SELECT count(*) FROM transfers WHERE tenant_id = $1::uuid)::bigint AS transfers;

--! orphans
-- Set differences, not outer joins: right after a bulk load the planner has no
-- statistics, and a nested loop over every entry takes minutes.
WITH missing_accounts AS MATERIALIZED (
    SELECT account_id AS id FROM transactions WHERE tenant_id = $1::uuid
    EXCEPT
    SELECT id FROM ledger_accounts WHERE tenant_id = $1::uuid
),
missing_transfers AS MATERIALIZED (
    SELECT transfer_id AS id FROM transactions WHERE tenant_id = $1::uuid
    EXCEPT
    SELECT id FROM transfers WHERE tenant_id = $1::uuid
)
SELECT entry.transaction_id, entry.account_id, entry.transfer_id
FROM transactions entry
WHERE entry.tenant_id = $1::uuid
  AND (entry.account_id IN (SELECT id FROM missing_accounts) OR entry.transfer_id IN (SELECT id FROM missing_transfers))
ORDER BY entry.transaction_id
LIMIT 1;

--! captures
-- What each hold says was captured of it against the transfers that name it, in
-- both directions: a hold without its transfers, transfers without their hold.
SELECT coalesce(hold.id, paid.hold_id) AS hold_id, coalesce(hold.captured_amount, 0)::bigint AS captured_amount,
    coalesce(paid.total, 0)::text AS paid
FROM (SELECT id, captured_amount FROM holds WHERE tenant_id = $1::uuid AND captured_amount > 0) hold
FULL JOIN (
    SELECT hold_id, sum(amount) AS total FROM transfers
    WHERE tenant_id = $1::uuid AND hold_id IS NOT NULL
    GROUP BY hold_id
) paid ON paid.hold_id = hold.id
WHERE hold.captured_amount IS DISTINCT FROM paid.total
ORDER BY 1
LIMIT 20;
