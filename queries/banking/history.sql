--! entries
-- Newest first, along the primary key backwards from a sequence; the first page
-- begins beyond the last one.
SELECT transaction_id, account_id, transfer_id, account_sequence, transaction_type, amount, balance_after, description,
    reference, transaction_date, posted_date, status, created_at
FROM transactions
WHERE tenant_id = $1::uuid AND account_id = $2::uuid AND account_sequence < $3::bigint
  AND ($4::date IS NULL OR transaction_date >= $4)
  AND ($5::date IS NULL OR transaction_date <= $5)
  AND ($6::text IS NULL OR transaction_type = $6)
ORDER BY account_sequence DESC
LIMIT $7::bigint;

--! balance_as_of
-- By value date, so back-dated entries count from their own day; the index
-- carries the amounts.
SELECT coalesce(sum(amount), 0)::bigint AS balance
FROM transactions
WHERE tenant_id = $1::uuid AND account_id = $2::uuid AND transaction_date <= $3::date;

--! transfer
-- Either side may see the movement. The sides of a journal are many people's: whoever is
-- a party to one of them sees their own entry in that account's history, not the whole.
SELECT transfer.id, transfer.kind, transfer.status, transfer.amount, transfer.currency, transfer.from_account_id,
    transfer.to_account_id, transfer.description, transfer.reference, transfer.value_date, transfer.booking_date,
    transfer.posted_at, transfer.created_by, transfer.reverses_transfer_id, transfer.created_at,
    reversal.id AS reversed_by_transfer_id, approval.id AS approval_id,
    transfer.kind <> 'journal' AND undone.kind IS DISTINCT FROM 'journal' AND EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid
          AND party.account_id IN (transfer.from_account_id, transfer.to_account_id)
          AND customer.user_id = $3::uuid) AS owned
FROM transfers transfer
LEFT JOIN transfers reversal ON reversal.tenant_id = $1::uuid AND reversal.reverses_transfer_id = transfer.id
LEFT JOIN transfers undone ON undone.tenant_id = $1::uuid AND undone.id = transfer.reverses_transfer_id
LEFT JOIN approvals approval ON approval.tenant_id = $1::uuid AND approval.object_id = transfer.id
WHERE transfer.tenant_id = $1::uuid AND transfer.id = $2::uuid;
