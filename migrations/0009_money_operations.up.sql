-- Journals (postings of many legs, ordered by an accountant) and the record of the
-- running proofs of the books.

-- A new kind of movement and of entry. Both lists only grow: every row that is there
-- satisfied the narrower one, so NOT VALID leaves nothing unproven, and neither table
-- is read under the lock. New rows are checked as ever.
ALTER TABLE transfers DROP CONSTRAINT transfers_kind;
ALTER TABLE transfers ADD CONSTRAINT transfers_kind CHECK (kind IN
    ('transfer', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal', 'import', 'journal')) NOT VALID;
ALTER TABLE transactions DROP CONSTRAINT transactions_type;
ALTER TABLE transactions ADD CONSTRAINT transactions_type CHECK (transaction_type IN
    ('transfer_in', 'transfer_out', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal', 'journal')) NOT VALID;

-- When each tenant's books were last proven, and what came of it: one row a tenant.
-- It is also the lease of the worker: whoever moves `started_at` does the proof, so
-- that several nodes share the work. What was found stands in the audit log as well;
-- this row is what every node's metrics are read from.
CREATE TABLE ledger_proofs (
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz CONSTRAINT ledger_proofs_in_order CHECK (finished_at >= started_at),
    -- The end of the last proof that found nothing wrong.
    last_success_at timestamptz,
    accounts        bigint NOT NULL DEFAULT 0 CONSTRAINT ledger_proofs_accounts CHECK (accounts >= 0),
    transfers       bigint NOT NULL DEFAULT 0 CONSTRAINT ledger_proofs_transfers CHECK (transfers >= 0),
    entries         bigint NOT NULL DEFAULT 0 CONSTRAINT ledger_proofs_entries CHECK (entries >= 0),
    -- Of the last finished proof.
    fault_count     bigint NOT NULL DEFAULT 0 CONSTRAINT ledger_proofs_fault_count CHECK (fault_count >= 0),
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id)
);
CALL secure_tenant_table('ledger_proofs', 'SELECT, INSERT, UPDATE', true);
