DROP FUNCTION claim_email(uuid, bytea[]);
DROP FUNCTION claim_tax_ids(uuid[], bytea[]);
