DROP TABLE transactions;
DROP TABLE transfers;
DROP TABLE ledger_accounts;
DROP FUNCTION refuse_ledger_change();
