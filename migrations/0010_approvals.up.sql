-- Four eyes: what one person has ordered and another has to approve before it is done.
-- Today transfers over the tenant's ceiling; the columns that are a transfer's alone are
-- nullable, so that other kinds can come without touching these rows.
--
-- The order stands in `payload` as it was given, and `payload_hash` (SHA-256 over the
-- canonical JSON of the payload and of what it is bound to: tenant, id, maker, instants)
-- is what is approved. The app role has no right to change any of them. The payload holds
-- what `transfers` would hold (the texts on the statements among it) and no more.
--
-- Nothing is posted and nothing is kept back while it waits: funds and the accounts'
-- states are looked at when it is approved.
--
-- Legal transitions (`banking::approvals::TRANSITIONS`): pending may become approved,
-- rejected or expired; those three are final. From `expires_at` on it is expired whether
-- or not a worker has written so.
CREATE TABLE approvals (
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    id              uuid NOT NULL,
    kind            text NOT NULL CONSTRAINT approvals_kind CHECK (kind IN ('transfer')),
    status          text NOT NULL DEFAULT 'pending' CONSTRAINT approvals_status CHECK (status IN
        ('pending', 'approved', 'rejected', 'expired')),
    payload         jsonb NOT NULL CONSTRAINT approvals_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    payload_hash    bytea NOT NULL CONSTRAINT approvals_hash_length CHECK (length(payload_hash) = 32),
    -- The id that what is approved will have.
    object_id       uuid NOT NULL,
    -- Whom it is about: the accounts debited and credited.
    from_account_id uuid,
    to_account_id   uuid,
    amount          bigint CONSTRAINT approvals_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    currency        text CONSTRAINT approvals_currency CHECK (currency ~ '^[A-Z]{3}$'),
    requested_by    uuid NOT NULL,
    requested_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL CONSTRAINT approvals_expires_later CHECK (expires_at > requested_at),
    decided_by      uuid,
    decided_at      timestamptz,
    decision_note   text CONSTRAINT approvals_note_length CHECK (length(decision_note) BETWEEN 1 AND 140),
    -- What came of it: the transfer posted.
    result_id       uuid,
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT approvals_of_transfers CHECK (kind <> 'transfer' OR (from_account_id IS NOT NULL
        AND to_account_id IS NOT NULL AND amount IS NOT NULL AND currency IS NOT NULL)),
    CONSTRAINT approvals_four_eyes CHECK (decided_by IS NULL OR decided_by <> requested_by),
    CONSTRAINT approvals_decided CHECK (CASE status
        WHEN 'pending' THEN decided_by IS NULL AND decided_at IS NULL AND decision_note IS NULL
        WHEN 'expired' THEN decided_by IS NULL AND decided_at IS NOT NULL AND decision_note IS NULL
        ELSE decided_by IS NOT NULL AND decided_at IS NOT NULL END),
    CONSTRAINT approvals_result CHECK ((status = 'approved') = (result_id IS NOT NULL))
);
-- One order, one approval; also how a transfer that is not posted yet is found by its id.
CREATE UNIQUE INDEX approvals_by_object ON approvals (tenant_id, object_id);
CREATE INDEX approvals_by_age ON approvals (tenant_id, requested_at DESC, id DESC);
-- What a maker has asked for, and what is asked of an account's money.
CREATE INDEX approvals_by_maker ON approvals (tenant_id, requested_by, requested_at DESC, id DESC);
CREATE INDEX approvals_by_account ON approvals (tenant_id, from_account_id, requested_at DESC, id DESC);
-- What the worker looks for: the oldest expiry first.
CREATE INDEX approvals_by_expiry ON approvals (tenant_id, expires_at, id) WHERE status = 'pending';
CALL secure_tenant_table('approvals', 'SELECT, INSERT', true);
GRANT UPDATE (status, decided_by, decided_at, decision_note, result_id, version) ON approvals TO strongroom_app;

-- Who approved what is never forgotten.
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON approvals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER never_deleted;

-- A decision is final, whoever asks: a second one would move the money twice.
CREATE FUNCTION refuse_second_decision() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'an approval that is % cannot become %', OLD.status, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER decided_once BEFORE UPDATE ON approvals
    FOR EACH ROW WHEN (OLD.status <> 'pending' OR NEW.status = 'pending')
    EXECUTE FUNCTION refuse_second_decision();
