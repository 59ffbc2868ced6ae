--! end_of_day
-- Balances at the end of each day on which anything had its value, from a day on. Taken
-- backwards from today's balance, so that the cost follows the days that are asked for
-- and not the age of the account; one statement, one snapshot of both tables. Back-dated
-- entries count from their own day, as in balance_as_of.
WITH daily AS MATERIALIZED (
    SELECT transaction_date AS date, sum(amount) AS amount
    FROM transactions
    WHERE tenant_id = $1::uuid AND account_id = $2::uuid AND transaction_date >= $3::date
    GROUP BY transaction_date
)
SELECT daily.date, daily.amount::bigint AS amount,
    (ledger.balance - coalesce(sum(daily.amount) OVER (
        ORDER BY daily.date DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))::bigint AS balance
FROM ledger_accounts ledger
LEFT JOIN daily ON true
WHERE ledger.tenant_id = $1::uuid AND ledger.id = $2::uuid
ORDER BY daily.date;

--! search
-- Entries by what stands in them, the newest first, no further back than $4 entries from
-- the bound: sequences have no gaps, so that is a range of the primary key, and the cost
-- is bounded whatever is looked for. `floor` is where the next search goes on.
SELECT span.floor, entry.*
FROM (
    SELECT greatest(least($3::bigint, ledger.entry_count + 1) - $4::bigint, 1) AS floor
    FROM ledger_accounts ledger
    WHERE ledger.tenant_id = $1::uuid AND ledger.id = $2::uuid
) span
LEFT JOIN LATERAL (
    SELECT transaction_id, account_id, transfer_id, account_sequence, transaction_type, amount, balance_after,
        description, reference, transaction_date, posted_date, status, created_at
    FROM transactions
    WHERE tenant_id = $1::uuid AND account_id = $2::uuid
      AND account_sequence < $3::bigint AND account_sequence >= span.floor
      AND ($6::date IS NULL OR transaction_date >= $6)
      AND ($7::date IS NULL OR transaction_date <= $7)
      AND ($8::text IS NULL OR transaction_type = $8)
      AND ($9::bigint IS NULL OR abs(amount) >= $9)
      AND ($10::bigint IS NULL OR abs(amount) <= $10)
      AND ($11::text IS NULL OR strpos(lower(description), lower($11)) > 0
        OR strpos(lower(coalesce(reference, '')), lower($11)) > 0)
    ORDER BY account_sequence DESC
    LIMIT $5::bigint
) entry ON true
ORDER BY entry.account_sequence DESC;
