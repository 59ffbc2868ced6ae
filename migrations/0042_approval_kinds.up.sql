-- Further kinds of orders wait for a second person. Of roles that somebody would be given the
-- object is the person: they may be asked for more than once, so that an order is found by its
-- object once only where the object comes into being by it.
ALTER TABLE approvals
    DROP CONSTRAINT approvals_kind,
    ADD CONSTRAINT approvals_kind CHECK (kind IN ('transfer', 'role_grant')),
    ADD CONSTRAINT approvals_of_roles CHECK (kind <> 'role_grant' OR (from_account_id IS NULL
        AND to_account_id IS NULL AND amount IS NULL AND currency IS NULL AND object_id <> requested_by));
DROP INDEX approvals_by_object;
CREATE INDEX approvals_by_object ON approvals (tenant_id, object_id, requested_at DESC, id DESC);
CREATE UNIQUE INDEX approvals_one_order ON approvals (tenant_id, object_id) WHERE kind = 'transfer';

-- Nor does the person whom it is about decide.
CREATE OR REPLACE FUNCTION refuse_decision_of_maker() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_order record;
BEGIN
    SELECT status, requested_by, kind, object_id INTO v_order FROM approvals
    WHERE tenant_id = NEW.tenant_id AND id = NEW.approval_id;
    IF v_order.status IS DISTINCT FROM 'pending' OR v_order.requested_by = NEW.decided_by
        OR (v_order.kind = 'role_grant' AND v_order.object_id = NEW.decided_by) THEN
        RAISE EXCEPTION 'nobody decides what they have ordered, what is about them, or what does not wait'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
