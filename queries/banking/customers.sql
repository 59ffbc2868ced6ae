--! insert_customers
INSERT INTO customers (tenant_id, id, customer_type, first_name, last_name, company_name, email, email_index, phone,
    phone_index, date_of_birth, tax_id, tax_id_index, user_id)
SELECT $1::uuid, made.*
FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[],
    $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[], $14::uuid[]) AS made
RETURNING id, created_at, updated_at;

--! facts
-- Whose record it is.
SELECT coalesce(user_id = $3::uuid, false) AS owned FROM customers WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! facts_at
-- Whose record it was at a moment that is past; nothing of one that was not there yet.
SELECT coalesce(login_of_customer($1::uuid, $2::uuid, $4::timestamptz) = $3::uuid, false) AS owned
FROM customers WHERE tenant_id = $1::uuid AND id = $2::uuid AND created_at <= $4::timestamptz;

--! customer
-- With the subject key that opens it, so that reading a person costs one statement.
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id = $2::uuid;

--! customer_for_update
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.email_index, customer.phone, customer.phone_index, customer.date_of_birth,
    customer.tax_id, customer.tax_id_index, customer.user_id, customer.kyc_status, customer.status, customer.version,
    customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.id = $2::uuid
FOR NO KEY UPDATE OF customer;

--! save_customer
UPDATE customers
SET first_name = $3::bytea, last_name = $4::bytea, company_name = $5::bytea, email = $6::bytea,
    email_index = $7::bytea, phone = $8::bytea, phone_index = $9::bytea, date_of_birth = $10::bytea,
    tax_id = $11::bytea, tax_id_index = $12::bytea, user_id = $13::uuid, status = $14::text, version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING version, updated_at;

--! list_all
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid
  AND (customer.created_at, customer.id) < ($2::timestamptz, $3::uuid)
  AND ($5::text IS NULL OR customer.status = $5)
  AND ($6::text IS NULL OR customer.customer_type = $6)
ORDER BY customer.created_at DESC, customer.id DESC
LIMIT $4::bigint;

--! list_own
-- A login is at most one customer.
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.user_id = $7::uuid
  AND (customer.created_at, customer.id) < ($2::timestamptz, $3::uuid)
  AND ($5::text IS NULL OR customer.status = $5)
  AND ($6::text IS NULL OR customer.customer_type = $6)
  AND ($8::bytea[] IS NULL OR customer.email_index = ANY ($8))
  AND ($9::bytea[] IS NULL OR customer.phone_index = ANY ($9))
LIMIT $4::bigint;

--! list_by_email
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.email_index = ANY ($7::bytea[])
  AND (customer.created_at, customer.id) < ($2::timestamptz, $3::uuid)
  AND ($5::text IS NULL OR customer.status = $5)
  AND ($6::text IS NULL OR customer.customer_type = $6)
  AND ($8::bytea[] IS NULL OR customer.phone_index = ANY ($8))
ORDER BY customer.created_at DESC, customer.id DESC
LIMIT $4::bigint;

--! list_by_phone
SELECT customer.id, customer.customer_type, customer.first_name, customer.last_name, customer.company_name,
    customer.email, customer.phone, customer.date_of_birth, customer.tax_id, customer.user_id, customer.kyc_status,
    customer.status, customer.version, customer.created_at, customer.updated_at, subject.key_id, subject.kek_epoch, subject.wrapped_key
FROM customers customer
JOIN subject_keys subject ON subject.tenant_id = $1::uuid AND subject.subject_id = customer.id
WHERE customer.tenant_id = $1::uuid AND customer.phone_index = ANY ($7::bytea[])
  AND (customer.created_at, customer.id) < ($2::timestamptz, $3::uuid)
  AND ($5::text IS NULL OR customer.status = $5)
  AND ($6::text IS NULL OR customer.customer_type = $6)
ORDER BY customer.created_at DESC, customer.id DESC
LIMIT $4::bigint;

--! claim_tax_ids
SELECT claim_tax_ids($1::uuid[], $2::bytea[]);
