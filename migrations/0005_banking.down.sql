DROP TABLE account_parties;
DROP TABLE savings_accounts;
DROP TABLE customers;
DROP FUNCTION is_sealed(bytea);
