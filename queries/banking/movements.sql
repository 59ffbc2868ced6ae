--! reversal_facts
-- The movement that an entry belongs to, by the entry's id or its own, and whether the
-- actor is a party to any account it touched. The id is joined and not compared with the
-- expression: behind row security coalesce() counts as leaky, and what is leaky is no
-- index condition.
SELECT transfer.id,
    EXISTS (
        SELECT 1 FROM transactions entry
        JOIN account_parties party ON party.tenant_id = $1::uuid AND party.account_id = entry.account_id
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE entry.tenant_id = $1::uuid AND entry.transfer_id = transfer.id
          AND customer.user_id = $3::uuid) AS owned
FROM (
    SELECT coalesce(
        (SELECT entry.transfer_id FROM transactions entry
         WHERE entry.tenant_id = $1::uuid AND entry.transaction_id = $2::uuid),
        $2::uuid) AS id
    OFFSET 0
) named
JOIN transfers transfer ON transfer.tenant_id = $1::uuid AND transfer.id = named.id;

--! reversible
-- The movement to be undone, as reversal_facts finds it, and whether a second person has
-- agreed to it (which never changes once it is posted).
SELECT transfer.id, transfer.kind, transfer.amount, transfer.currency, transfer.from_account_id,
    transfer.to_account_id, transfer.description, transfer.reference, transfer.value_date,
    EXISTS (
        SELECT 1 FROM approvals approval
        WHERE approval.tenant_id = $1::uuid AND approval.object_id = transfer.id) AS is_approved
FROM (
    SELECT coalesce(
        (SELECT entry.transfer_id FROM transactions entry
         WHERE entry.tenant_id = $1::uuid AND entry.transaction_id = $2::uuid),
        $2::uuid) AS id
    OFFSET 0
) named
JOIN transfers transfer ON transfer.tenant_id = $1::uuid AND transfer.id = named.id;

--! legs
-- Entries never change, so they are read without a lock.
SELECT account_id, amount FROM transactions WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid;

--! reversal_of
-- Asked behind the locks of the movement's accounts, which every reversal of it takes
-- first: the second of two finds what the first has left. The unique index remains for
-- whoever should ever forget to.
SELECT id FROM transfers WHERE tenant_id = $1::uuid AND reverses_transfer_id = $2::uuid;

--! opened_dates
-- Only savings accounts may be named by their id; an internal account goes by its name.
SELECT id, opened_date FROM savings_accounts WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[]);

--! movement_entries
-- Of one movement: all of them, or ($3) those in accounts that the actor is a party to.
-- They carry the movement's own instant, as the answer to the order did.
SELECT entry.transaction_id, entry.account_id, entry.transfer_id, entry.account_sequence, entry.transaction_type,
    entry.amount, entry.balance_after, entry.description, entry.reference, entry.transaction_date, entry.posted_date,
    entry.status, entry.posted_date AS created_at
FROM transactions entry
WHERE entry.tenant_id = $1::uuid AND entry.transfer_id = $2::uuid
  AND ($3::uuid IS NULL OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = entry.account_id AND customer.user_id = $3))
ORDER BY entry.amount, entry.account_id;
