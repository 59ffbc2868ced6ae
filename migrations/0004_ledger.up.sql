-- The ledger: double entry in integer minor units. An account's entries are its
-- truth; `balance` is their running sum, kept beside the account so that a
-- posting reads one row. Signs are the bank's: a credit is positive, so a
-- customer's money is positive and the cash in the vault is negative, and the
-- entries of every transfer sum to zero.

-- `held` is what authorised holds keep back. A debit must leave
-- balance - held >= minimum_balance where one is set, else >= -overdraft_limit;
-- internal accounts may go anywhere within the range of exact integers.
-- `entry_count` numbers the entries without a gap; `version` counts changes of
-- the settings, not of the balance, so that an ETag outlives a posting.
CREATE TABLE ledger_accounts (
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    id              uuid NOT NULL,
    class           text NOT NULL CONSTRAINT ledger_accounts_class CHECK (class IN ('customer', 'internal')),
    code            text,
    currency        text NOT NULL CONSTRAINT ledger_accounts_currency CHECK (currency ~ '^[A-Z]{3}$'),
    balance         bigint NOT NULL DEFAULT 0
        CONSTRAINT ledger_accounts_balance_range CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    held            bigint NOT NULL DEFAULT 0
        CONSTRAINT ledger_accounts_held_range CHECK (held BETWEEN 0 AND 9007199254740991),
    overdraft_limit bigint NOT NULL DEFAULT 0
        CONSTRAINT ledger_accounts_overdraft_limit_range CHECK (overdraft_limit BETWEEN 0 AND 9007199254740991),
    minimum_balance bigint
        CONSTRAINT ledger_accounts_minimum_balance_range CHECK (minimum_balance BETWEEN 0 AND 9007199254740991),
    status          text NOT NULL DEFAULT 'active'
        CONSTRAINT ledger_accounts_status CHECK (status IN ('active', 'frozen', 'closed')),
    entry_count     bigint NOT NULL DEFAULT 0 CONSTRAINT ledger_accounts_entry_count CHECK (entry_count >= 0),
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT ledger_accounts_code_is_internal CHECK ((class = 'internal') = (code IS NOT NULL)),
    CONSTRAINT ledger_accounts_one_floor CHECK (minimum_balance IS NULL OR overdraft_limit = 0),
    CONSTRAINT ledger_accounts_closed_is_empty CHECK (status <> 'closed' OR (balance = 0 AND held = 0))
) WITH (fillfactor = 70);
-- Balances are in no index, so that postings are heap-only updates.
CREATE UNIQUE INDEX ledger_accounts_internal ON ledger_accounts (tenant_id, code, currency) WHERE class = 'internal';
CALL secure_tenant_table('ledger_accounts', 'SELECT, INSERT, UPDATE', true);

-- The movement. Never changed: what undoes it is another transfer that names it.
-- `from_account_id` and `to_account_id` are its first debit and first credit.
CREATE TABLE transfers (
    tenant_id            uuid NOT NULL,
    id                   uuid NOT NULL,
    kind                 text NOT NULL CONSTRAINT transfers_kind CHECK (kind IN
        ('transfer', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal', 'import')),
    status               text NOT NULL DEFAULT 'posted' CONSTRAINT transfers_status CHECK (status = 'posted'),
    amount               bigint NOT NULL CONSTRAINT transfers_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency             text NOT NULL CONSTRAINT transfers_currency CHECK (currency ~ '^[A-Z]{3}$'),
    from_account_id      uuid NOT NULL,
    to_account_id        uuid NOT NULL CONSTRAINT transfers_two_accounts CHECK (to_account_id <> from_account_id),
    description          text NOT NULL DEFAULT '' CONSTRAINT transfers_description_length CHECK (length(description) <= 140),
    reference            text CONSTRAINT transfers_reference_length CHECK (length(reference) BETWEEN 1 AND 140),
    value_date           date NOT NULL,
    booking_date         date NOT NULL,
    posted_at            timestamptz NOT NULL,
    created_by           uuid NOT NULL,
    reverses_transfer_id uuid,
    created_at           timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id)
);
-- A transfer is reversed at most once.
CREATE UNIQUE INDEX transfers_one_reversal ON transfers (tenant_id, reverses_transfer_id)
    WHERE reverses_transfer_id IS NOT NULL;
CALL secure_tenant_table('transfers', 'SELECT, INSERT', true);

-- The entries. The primary key is the account's own order: history pages walk it
-- backwards, and a gap in it is a proof of tampering. There are no foreign keys on
-- this path: the engine reads account and transfer under lock in the same
-- transaction, nothing else may insert, and `ledger verify` looks for orphans.
-- `transaction_date` is the value date, `posted_date` the instant of the posting.
CREATE TABLE transactions (
    tenant_id        uuid NOT NULL,
    transaction_id   uuid NOT NULL,
    account_id       uuid NOT NULL,
    transfer_id      uuid NOT NULL,
    account_sequence bigint NOT NULL CONSTRAINT transactions_sequence CHECK (account_sequence > 0),
    transaction_type text NOT NULL CONSTRAINT transactions_type CHECK (transaction_type IN
        ('transfer_in', 'transfer_out', 'deposit', 'withdrawal', 'fee', 'interest', 'reversal')),
    amount           bigint NOT NULL CONSTRAINT transactions_amount_range
        CHECK (amount <> 0 AND amount BETWEEN -9007199254740991 AND 9007199254740991),
    balance_after    bigint NOT NULL CONSTRAINT transactions_balance_range
        CHECK (balance_after BETWEEN -9007199254740991 AND 9007199254740991),
    description      text NOT NULL DEFAULT '' CONSTRAINT transactions_description_length CHECK (length(description) <= 140),
    reference        text CONSTRAINT transactions_reference_length CHECK (length(reference) BETWEEN 1 AND 140),
    transaction_date date NOT NULL,
    posted_date      timestamptz NOT NULL,
    status           text NOT NULL DEFAULT 'posted' CONSTRAINT transactions_status CHECK (status = 'posted'),
    created_at       timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, account_id, account_sequence)
);
CREATE UNIQUE INDEX transactions_by_id ON transactions (tenant_id, transaction_id);
CREATE INDEX transactions_by_transfer ON transactions (tenant_id, transfer_id);
-- Balances as of a day are sums over this index alone.
CREATE INDEX transactions_by_value_date ON transactions (tenant_id, account_id, transaction_date) INCLUDE (amount);
CALL secure_tenant_table('transactions', 'SELECT, INSERT', true);

-- Append-only for everybody. Statement triggers, because row triggers never fire
-- on rows that row security hides; ENABLE ALWAYS, because otherwise
-- session_replication_role = replica would skip them. Disabling a trigger is DDL by
-- the owner: not prevented, but `ledger verify` finds what was done meanwhile.
CREATE FUNCTION refuse_ledger_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
GRANT EXECUTE ON FUNCTION refuse_ledger_change() TO strongroom_app, strongroom_sealer, strongroom_auditor;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE transactions ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER append_only;
-- Accounts live on, but never vanish: their entries would be orphans.
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE ledger_accounts ENABLE ALWAYS TRIGGER never_deleted;
