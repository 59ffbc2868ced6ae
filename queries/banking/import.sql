--! imported
-- The objects that records of a source have become.
SELECT source_id, object_id FROM import_items
WHERE tenant_id = $1::uuid AND source = $2::text AND kind = $3::text;

--! imported_of
-- Of these records only: checked again inside the transaction that loads them.
SELECT source_id FROM import_items
WHERE tenant_id = $1::uuid AND source = $2::text AND kind = $3::text AND source_id = ANY ($4::text[]);

--! remember
INSERT INTO import_items (tenant_id, source, kind, source_id, object_id)
SELECT $1::uuid, $2::text, $3::text, made.source_id, made.object_id
FROM unnest($4::text[], $5::uuid[]) AS made (source_id, object_id);

--! posted
-- Every imported movement as the ledger holds it, account by account in the
-- ledger's own order. The transfer is what an import remembers; its customer entry
-- is the one that is not on an internal account.
SELECT entry.account_id, item.source_id, entry.amount, entry.balance_after
FROM transactions entry
JOIN import_items item
  ON item.tenant_id = entry.tenant_id AND item.kind = 'transaction' AND item.object_id = entry.transfer_id
WHERE entry.tenant_id = $1::uuid AND item.source = $2::text AND entry.account_id = ANY ($3::uuid[])
ORDER BY entry.account_id, entry.account_sequence;
