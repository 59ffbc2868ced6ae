-- Holds: money that an account's owner has promised and cannot spend otherwise,
-- until it is captured (paid to the account named when it was promised), released
-- or too old. `ledger_accounts.held` is the sum of what remains of an account's
-- live holds; `ledger verify` recomputes it.

-- Whom it may be paid to, how much and until when is fixed when it is authorised:
-- the app role has no right to change those columns. `to_account_id` is the bank's
-- own settlement account where the order named none. `remaining` is what is still
-- kept back: amount - captured_amount while it lives, nothing afterwards.
--
-- Legal transitions (`ledger::holds::TRANSITIONS`): authorized and
-- partially_captured may become partially_captured, captured, released or expired;
-- those three are final.
CREATE TABLE holds (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    account_id       uuid NOT NULL,
    to_account_id    uuid NOT NULL CONSTRAINT holds_two_accounts CHECK (to_account_id <> account_id),
    amount           bigint NOT NULL CONSTRAINT holds_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    captured_amount  bigint NOT NULL DEFAULT 0
        CONSTRAINT holds_captured_range CHECK (captured_amount BETWEEN 0 AND amount),
    remaining        bigint NOT NULL,
    currency         text NOT NULL CONSTRAINT holds_currency CHECK (currency ~ '^[A-Z]{3}$'),
    status           text NOT NULL DEFAULT 'authorized' CONSTRAINT holds_status CHECK (status IN
        ('authorized', 'partially_captured', 'captured', 'released', 'expired')),
    description      text NOT NULL DEFAULT '' CONSTRAINT holds_description_length CHECK (length(description) <= 140),
    reference        text CONSTRAINT holds_reference_length CHECK (length(reference) BETWEEN 1 AND 140),
    expires_at       timestamptz NOT NULL CONSTRAINT holds_expires_later CHECK (expires_at > created_at),
    last_transfer_id uuid,
    created_by       uuid NOT NULL,
    version          bigint NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT app_now(),
    updated_at       timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    -- Only of the account that every writer has locked anyway. None on the destination:
    -- its row is hot (settlement), the engine reads it, and accounts are never deleted.
    CONSTRAINT holds_account_fkey FOREIGN KEY (tenant_id, account_id) REFERENCES ledger_accounts (tenant_id, id),
    CONSTRAINT holds_remaining CHECK (remaining = CASE
        WHEN status IN ('authorized', 'partially_captured') THEN amount - captured_amount ELSE 0 END),
    CONSTRAINT holds_live_is_not_empty CHECK (status NOT IN ('authorized', 'partially_captured') OR remaining > 0),
    CONSTRAINT holds_captured_by_status CHECK (CASE status
        WHEN 'authorized' THEN captured_amount = 0
        WHEN 'partially_captured' THEN captured_amount > 0
        WHEN 'captured' THEN captured_amount > 0
        ELSE true END),
    CONSTRAINT holds_captured_by_transfer CHECK ((captured_amount > 0) = (last_transfer_id IS NOT NULL))
);
CREATE INDEX holds_by_age ON holds (tenant_id, created_at DESC, id DESC);
-- An account's holds, newest first; also what `ledger verify` sums.
CREATE INDEX holds_by_account ON holds (tenant_id, account_id, created_at DESC, id DESC);
-- What the worker looks for: live holds, the oldest expiry first.
CREATE INDEX holds_by_expiry ON holds (tenant_id, expires_at, id) WHERE remaining > 0;
CALL secure_tenant_table('holds', 'SELECT, INSERT', true);
GRANT UPDATE (captured_amount, remaining, status, last_transfer_id, version) ON holds TO strongroom_app;

-- What a hold was ends with it, but it never vanishes: its transfers name it.
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE holds ENABLE ALWAYS TRIGGER never_deleted;

-- What has ended never lives again, whoever asks: a second life would pay twice.
CREATE FUNCTION refuse_hold_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a hold that is % cannot become %', OLD.status, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER only_forward BEFORE UPDATE ON holds
    FOR EACH ROW WHEN (OLD.status NOT IN ('authorized', 'partially_captured')
        OR NEW.status = 'authorized'
        OR NEW.captured_amount < OLD.captured_amount)
    EXECUTE FUNCTION refuse_hold_revival();

-- The hold that a transfer captures. Without a default, so that adding it rewrites nothing.
ALTER TABLE transfers ADD COLUMN hold_id uuid;
CREATE INDEX transfers_by_hold ON transfers (tenant_id, hold_id) WHERE hold_id IS NOT NULL;
