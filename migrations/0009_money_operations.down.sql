DROP TABLE ledger_proofs;

-- The ledger is append-only: journals that were posted can neither be deleted nor be
-- called something else, so there is no way back once there is one. The constraints
-- themselves look: row security hides rows from a query of the owner's, not from them.
DO $$
BEGIN
    ALTER TABLE transactions DROP CONSTRAINT transactions_type;
    ALTER TABLE transactions ADD CONSTRAINT transactions_type CHECK (transaction_type IN
        ('transfer_in', 'transfer_out', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal'));
    ALTER TABLE transfers DROP CONSTRAINT transfers_kind;
    ALTER TABLE transfers ADD CONSTRAINT transfers_kind CHECK (kind IN
        ('transfer', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal', 'import'));
EXCEPTION WHEN check_violation THEN
    RAISE EXCEPTION 'migration 0009 cannot be taken back: journals have been posted, and the ledger is append-only'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Keep this schema, or restore a backup from before the first journal.';
END $$;
