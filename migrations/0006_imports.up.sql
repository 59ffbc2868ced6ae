-- What came from where. One row for each imported record, written in the same
-- transaction as the record: that makes an import resumable at any point and
-- every record of a source imported exactly once, for ever (idempotency keys are
-- forgotten after a week, these are not).
CREATE TABLE import_items (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    source     text NOT NULL CHECK (source ~ '^[a-z0-9-]{1,64}$'),
    kind       text NOT NULL CHECK (kind IN ('customer', 'account', 'transaction')),
    source_id  text NOT NULL CHECK (length(source_id) BETWEEN 1 AND 64),
    object_id  uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, source, kind, source_id)
);
-- The reconciliation walks from ledger entries to their source ids.
CREATE UNIQUE INDEX import_items_by_object ON import_items (tenant_id, kind, object_id);
CALL secure_tenant_table('import_items', 'SELECT, INSERT', true);
