--! due
-- Whether any of these columns waits to be made anew by the newest key of a purpose. $5 seconds
-- after a key came nobody uses the one before any more.
SELECT active.epoch > 1 AND (
    SELECT count(*) FROM key_rotations AS job
    JOIN unnest($3::text[], $4::text[]) AS ours (table_name, column_name) USING (table_name, column_name)
    WHERE job.tenant_id = active.tenant_id AND job.to_epoch = active.epoch AND (job.state = 'done'
        OR job.state = 'waiting' AND active.created_at > app_now() - make_interval(secs => $5::bigint))
) < cardinality($3::text[]) AS is_due
FROM data_keys AS active
WHERE active.tenant_id = $1::uuid AND active.purpose = $2::text AND active.status = 'active';

--! aim
-- Every column is to be under this generation; what was on its way to an earlier one begins anew.
INSERT INTO key_rotations (tenant_id, table_name, column_name, to_epoch)
SELECT $1::uuid, cell.table_name, cell.column_name, $2::integer
FROM unnest($3::text[], $4::text[]) AS cell (table_name, column_name)
ON CONFLICT (tenant_id, table_name, column_name) DO UPDATE
SET to_epoch = excluded.to_epoch, state = 'running', cursor = DEFAULT, done = 0, total = 0, skipped = 0
WHERE key_rotations.to_epoch < excluded.to_epoch;

--! next
-- One of these columns that waits to be made anew; $4 says that the wait for slow nodes is over.
SELECT table_name, column_name, state, cursor, done, total, skipped FROM key_rotations
JOIN unnest($2::text[], $3::text[]) AS ours (table_name, column_name) USING (table_name, column_name)
WHERE tenant_id = $1::uuid AND (state IN ('running', 'verifying') OR state = 'waiting' AND $4::boolean)
ORDER BY table_name, column_name LIMIT 1;

--! advance
UPDATE key_rotations SET state = $4::text, cursor = $5::uuid, done = $6::bigint, total = $7::bigint,
    skipped = $8::bigint
WHERE tenant_id = $1::uuid AND table_name = $2::text AND column_name = $3::text;

--! progress
SELECT table_name, column_name, to_epoch, state, done, total, skipped FROM key_rotations
WHERE tenant_id = $1::uuid ORDER BY table_name, column_name;
