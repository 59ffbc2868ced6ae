-- The limit of writes: the same tables with the same columns, checks, defaults and
-- indexes, but no row security, no triggers and no sealer. Accounts are numbered, so
-- that pgbench can name them.
CREATE SCHEMA bare;
CREATE TABLE bare.ledger_accounts (LIKE public.ledger_accounts INCLUDING ALL) WITH (fillfactor = 70);
CREATE TABLE bare.transfers (LIKE public.transfers INCLUDING ALL);
CREATE TABLE bare.transactions (LIKE public.transactions INCLUDING ALL);
CREATE TABLE bare.idempotency_keys (LIKE public.idempotency_keys INCLUDING ALL);
CREATE TABLE bare.audit_log (LIKE public.audit_log INCLUDING ALL);
CREATE TABLE bare.audit_inbox (LIKE public.audit_inbox INCLUDING ALL);
CREATE TABLE bare.refresh_tokens (LIKE public.refresh_tokens INCLUDING ALL);

-- Identifiers that grow with time, as version 7 does: indexes are filled at their
-- right edge on both sides.
CREATE SEQUENCE bare.ids CACHE 100;
CREATE FUNCTION bare.id(number bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$ SELECT ('01a00000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid $$;

-- A stored answer; here, because pgbench takes a colon before a digit for a variable.
CREATE FUNCTION bare.response() RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$ SELECT '{"ok": {"id": "01a200ea-b54d-7a9c-9dce-113adec70a53", "kind": "transfer", "amount": 1, "status": "posted", "currency": "EUR", "posted_at": "2026-11-22T01:41:51.565698Z", "reference": null, "created_at": "2026-11-22T01:41:51.565698Z", "created_by": "01a200ea-4fa4-7d3b-9563-bcf5cca4ec1a", "value_date": "2026-11-22", "description": "bench", "booking_date": "2026-11-22", "to_account_id": "01a200ea-5326-7a6b-a324-3f9708e9c342", "from_account_id": "01a200ea-5326-78f5-bc77-4cd08008fed2", "reverses_transfer_id": null}}'::jsonb $$;

INSERT INTO bare.ledger_accounts (tenant_id, id, class, currency, balance)
SELECT bare.id(0), bare.id(number), 'customer', 'EUR', 1000000000 FROM generate_series(1, 20000) AS number;
ANALYZE bare.ledger_accounts;
