-- Every live hold ends with its table: what it kept back is the account's again.
-- Row security binds the owner too, so it is done tenant by tenant.
DO $$
DECLARE
    one uuid;
BEGIN
    FOR one IN SELECT id FROM tenants ORDER BY id LOOP
        PERFORM set_config('app.current_tenant', one::text, true);
        UPDATE ledger_accounts SET held = 0 WHERE tenant_id = one AND held <> 0;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;
DROP INDEX transfers_by_hold;
ALTER TABLE transfers DROP COLUMN hold_id;
DROP TABLE holds;
DROP FUNCTION refuse_hold_revival();
