--! remembered
-- What of a demo is there already: each row was written with what it stands for.
SELECT kind, source_id, object_id FROM import_items
WHERE tenant_id = $1::uuid AND source = $2::text
ORDER BY kind, source_id;

--! remember
INSERT INTO import_items (tenant_id, source, kind, source_id, object_id)
SELECT $1::uuid, $2::text, made.kind, made.source_id, made.object_id
FROM unnest($3::text[], $4::text[], $5::uuid[]) AS made (kind, source_id, object_id);

--! logins
-- Everybody who can sign in, by user name.
SELECT id, username, role FROM users WHERE tenant_id = $1::uuid ORDER BY username_key;

--! has_customers
-- Whether somebody else has put customers here.
SELECT EXISTS (SELECT 1 FROM customers WHERE tenant_id = $1::uuid) AS found;

--! newest_entry
SELECT transaction_id FROM transactions
WHERE tenant_id = $1::uuid AND account_id = $2::uuid
ORDER BY account_sequence DESC
LIMIT 1;
