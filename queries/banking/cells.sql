--! inventory
-- What stands in every sealed column, by the keys that the headers of the values name. Reads
-- all of it: for an operator who asks, never for a request.
WITH sealed AS (
    SELECT 'customers' AS table_name, cell.column_name, cell.envelope
    FROM customers
    CROSS JOIN LATERAL (VALUES ('first_name', first_name), ('last_name', last_name), ('company_name', company_name),
        ('email', email), ('phone', phone), ('date_of_birth', date_of_birth), ('tax_id', tax_id))
        AS cell (column_name, envelope)
    WHERE tenant_id = $1::uuid
), by_key AS (
    SELECT table_name, column_name, encode(substring(envelope FROM 2 FOR 16), 'hex')::uuid AS key_id, count(*) AS sealed
    FROM sealed WHERE envelope IS NOT NULL GROUP BY 1, 2, 3
)
SELECT by_key.table_name, by_key.column_name, coalesce(standing.purpose, 'unknown') AS purpose, standing.epoch,
    coalesce(standing.status, 'unknown') AS status, count(*) AS key_count,
    sum(by_key.sealed)::bigint AS value_count
FROM by_key
LEFT JOIN key_standings standing ON standing.tenant_id = $1::uuid AND standing.key_id = by_key.key_id
GROUP BY 1, 2, 3, 4, 5
UNION ALL
-- A blind index names the generation of its key by its first byte.
SELECT indexed.table_name, indexed.column_name, 'blind_index', indexed.epoch,
    coalesce(made_by.status, 'unknown'), 1, indexed.value_count
FROM (
    SELECT 'customers' AS table_name, cell.column_name, get_byte(cell.index, 0) AS epoch, count(*) AS value_count
    FROM customers CROSS JOIN LATERAL (VALUES ('email_index', email_index), ('phone_index', phone_index), ('tax_id_index', tax_id_index)) AS cell (column_name, index)
    WHERE tenant_id = $1::uuid AND cell.index IS NOT NULL GROUP BY 1, 2, 3
) AS indexed
LEFT JOIN data_keys made_by ON made_by.tenant_id = $1::uuid AND made_by.purpose = 'blind_index'
    AND made_by.epoch = indexed.epoch
ORDER BY 1, 2, 3, 4;

--! email_index_behind
-- How many addresses another generation than $2 indexes.
SELECT count(*) AS behind FROM customers WHERE tenant_id = $1::uuid AND get_byte(email_index, 0) <> $2::integer;

--! email_index_page
-- Those after row $3, in order, with the key that opens them.
SELECT customer.id, customer.email AS sealed, customer.email_index AS before, subject.key_id, subject.kek_epoch,
    subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = customer.tenant_id AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id > $3::uuid AND get_byte(customer.email_index, 0) <> $2::integer
ORDER BY customer.id LIMIT $4::bigint;

--! email_index_write
-- What somebody changed since it was read stays what they made of it.
UPDATE customers SET email_index = anew.index
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, index)
WHERE customers.tenant_id = $1::uuid AND customers.id = anew.id AND customers.email_index = anew.before;

--! phone_index_behind
-- How many telephone numbers another generation than $2 indexes.
SELECT count(*) AS behind FROM customers WHERE tenant_id = $1::uuid AND get_byte(phone_index, 0) <> $2::integer;

--! phone_index_page
-- Those after row $3, in order, with the key that opens them.
SELECT customer.id, customer.phone AS sealed, customer.phone_index AS before, subject.key_id, subject.kek_epoch,
    subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = customer.tenant_id AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id > $3::uuid AND get_byte(customer.phone_index, 0) <> $2::integer
ORDER BY customer.id LIMIT $4::bigint;

--! phone_index_write
-- What somebody changed since it was read stays what they made of it.
UPDATE customers SET phone_index = anew.index
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, index)
WHERE customers.tenant_id = $1::uuid AND customers.id = anew.id AND customers.phone_index = anew.before;

--! tax_id_index_behind
-- How many tax numbers another generation than $2 indexes.
SELECT count(*) AS behind FROM customers WHERE tenant_id = $1::uuid AND get_byte(tax_id_index, 0) <> $2::integer;

--! tax_id_index_page
-- Those after row $3, in order, with the key that opens them.
SELECT customer.id, customer.tax_id AS sealed, customer.tax_id_index AS before, subject.key_id, subject.kek_epoch,
    subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = customer.tenant_id AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id > $3::uuid AND get_byte(customer.tax_id_index, 0) <> $2::integer
ORDER BY customer.id LIMIT $4::bigint;

--! tax_id_index_write
-- What somebody changed since it was read stays what they made of it.
UPDATE customers SET tax_id_index = anew.index
FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS anew (id, before, index)
WHERE customers.tenant_id = $1::uuid AND customers.id = anew.id AND customers.tax_id_index = anew.before;
