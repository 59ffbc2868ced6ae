-- m-of-n: an order may wait for more than one second person. How many stands with the order,
-- fixed when it was given and part of what is hashed; who said what stands in rows of their own.
ALTER TABLE approvals
    ADD COLUMN required smallint NOT NULL DEFAULT 1
        CONSTRAINT approvals_required CHECK (required BETWEEN 1 AND 5);

-- Whoever agreed may still reject, as long as it waits.
CREATE TABLE approval_decisions (
    tenant_id   uuid NOT NULL,
    approval_id uuid NOT NULL,
    decided_by  uuid NOT NULL,
    verdict     text NOT NULL CONSTRAINT approval_decisions_verdict CHECK (verdict IN ('approve', 'reject')),
    note        text CONSTRAINT approval_decisions_note_length CHECK (length(note) BETWEEN 1 AND 140),
    decided_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, approval_id, decided_by, verdict),
    CONSTRAINT approval_decisions_approval FOREIGN KEY (tenant_id, approval_id) REFERENCES approvals (tenant_id, id)
);
CALL secure_tenant_table('approval_decisions', 'SELECT, INSERT', true);

-- Who agreed to what is never rewritten or forgotten.
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON approval_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER never_changed;

CREATE FUNCTION refuse_decision_of_maker() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_order record;
BEGIN
    SELECT status, requested_by INTO v_order FROM approvals
    WHERE tenant_id = NEW.tenant_id AND id = NEW.approval_id;
    IF v_order.status IS DISTINCT FROM 'pending' OR v_order.requested_by = NEW.decided_by THEN
        RAISE EXCEPTION 'nobody decides what they have ordered or what does not wait'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER by_others BEFORE INSERT ON approval_decisions
    FOR EACH ROW EXECUTE FUNCTION refuse_decision_of_maker();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER by_others;

-- No order is approved by fewer people than it needs, whoever writes that it is.
CREATE FUNCTION refuse_without_quorum() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_verdict text := CASE NEW.status WHEN 'approved' THEN 'approve' ELSE 'reject' END;
    v_needed integer := CASE NEW.status WHEN 'approved' THEN OLD.required ELSE 1 END;
    v_given integer;
    v_is_of_them boolean;
BEGIN
    SELECT count(*), coalesce(bool_or(decided_by = NEW.decided_by), false) INTO v_given, v_is_of_them
    FROM approval_decisions
    WHERE tenant_id = OLD.tenant_id AND approval_id = OLD.id AND verdict = v_verdict;
    IF v_given < v_needed OR NOT v_is_of_them THEN
        RAISE EXCEPTION 'an approval becomes % by % people, not by %', NEW.status, v_needed, v_given
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER by_enough BEFORE UPDATE ON approvals
    FOR EACH ROW WHEN (OLD.status = 'pending' AND NEW.status IN ('approved', 'rejected'))
    EXECUTE FUNCTION refuse_without_quorum();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER by_enough;

-- One who agreed while more are needed moves the version and nothing else.
DROP TRIGGER decided_once ON approvals;
CREATE TRIGGER decided_once BEFORE UPDATE ON approvals
    FOR EACH ROW WHEN (OLD.status <> 'pending' OR (NEW.status = 'pending'
        AND (NEW.version, NEW.id, NEW.tenant_id, NEW.kind, NEW.payload, NEW.payload_hash, NEW.object_id,
            NEW.from_account_id, NEW.to_account_id, NEW.amount, NEW.currency, NEW.requested_by, NEW.requested_at,
            NEW.expires_at, NEW.required)
        IS DISTINCT FROM (OLD.version + 1, OLD.id, OLD.tenant_id, OLD.kind, OLD.payload, OLD.payload_hash, OLD.object_id,
            OLD.from_account_id, OLD.to_account_id, OLD.amount, OLD.currency, OLD.requested_by, OLD.requested_at,
            OLD.expires_at, OLD.required)))
    EXECUTE FUNCTION refuse_second_decision();
