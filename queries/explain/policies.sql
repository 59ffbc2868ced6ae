--! remember
-- Where they differ from those that were in force last. Of two nodes that start at once both
-- may write: the same texts twice, which is harmless.
INSERT INTO policies_in_force (texts)
SELECT $1::jsonb
WHERE (SELECT texts FROM policies_in_force ORDER BY since DESC LIMIT 1) IS DISTINCT FROM $1::jsonb
ON CONFLICT (since) DO NOTHING;

--! in_force_at
SELECT texts FROM policies_in_force WHERE since <= $1::timestamptz ORDER BY since DESC LIMIT 1;
