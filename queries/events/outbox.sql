--! publish
-- Goes with the commit of the changes: one round trip with their records.
INSERT INTO event_outbox (tenant_id, event_id, event_type, object_type, object_id, sequence)
SELECT $1::uuid, change.*
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::bigint[])
    AS change (event_id, event_type, object_type, object_id, sequence);
