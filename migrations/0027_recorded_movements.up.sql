-- No movement without its record in the audit log, whoever writes it and by whatever way.
-- Statement triggers over what was written, so that a batch asks once; the records go in
-- ahead of the movements, in the same transaction.
--
-- SECURITY DEFINER, so that nobody is asked for rights on the log for it. Row security still
-- holds: a connection that acts for no tenant has no records, and so no movements.

-- Each transfer has a record of its own, or stands with a digest in the one that the
-- transaction has named for its whole batch. Without sequential scans: the plan is made once
-- a connection, maybe while the log was empty.
CREATE FUNCTION refuse_unrecorded_transfers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    whole uuid := nullif(current_setting('app.posting_record', true), '')::uuid;
BEGIN
    IF EXISTS (
        SELECT 1 FROM posted
        WHERE NOT coalesce((SELECT true FROM audit_log log
                            WHERE log.tenant_id = posted.tenant_id AND log.resource_id = posted.id
                              AND log.event_type = 'ledger_posting'
                            LIMIT 1), false)
          AND (whole IS NULL OR posted.id NOT IN (
              SELECT (digest ->> 0)::uuid
              FROM audit_log log, jsonb_array_elements(log.details -> 'digests') digest
              WHERE log.tenant_id = require_tenant() AND log.event_id = whole
                AND log.event_type = 'ledger_posting')))
    THEN
        RAISE EXCEPTION 'a movement of the ledger has no record in the audit log'
            USING ERRCODE = 'insufficient_privilege',
            HINT = 'Its record is written first, in the same transaction.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER recorded AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION refuse_unrecorded_transfers();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER recorded;

-- All entries of a transfer come in one statement, behind their transfer, and sum to zero: so
-- nothing is added to one that was recorded before.
CREATE FUNCTION refuse_stray_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM (SELECT tenant_id, transfer_id, count(*) AS entries, sum(amount) AS balance
              FROM entered GROUP BY tenant_id, transfer_id) AS movement
        WHERE movement.balance <> 0
           OR NOT coalesce((SELECT true FROM transfers transfer
                            WHERE transfer.tenant_id = movement.tenant_id AND transfer.id = movement.transfer_id),
                           false)
           OR movement.entries <> (SELECT count(*) FROM transactions entry
                                   WHERE entry.tenant_id = movement.tenant_id
                                     AND entry.transfer_id = movement.transfer_id))
    THEN
        RAISE EXCEPTION 'entries of the ledger come with their transfer, all at once, and sum to zero'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER whole_movements AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray_entries();
ALTER TABLE transactions ENABLE ALWAYS TRIGGER whole_movements;
