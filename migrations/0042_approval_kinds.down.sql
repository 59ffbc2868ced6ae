-- Who agreed to whose roles is never forgotten, and what came before knows no such order. Of
-- every tenant, which forced row security hides.
ALTER TABLE approvals NO FORCE ROW LEVEL SECURITY;
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM approvals WHERE kind <> 'transfer') THEN
        RAISE EXCEPTION 'roles were ordered under four eyes: there is no way back'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;
ALTER TABLE approvals FORCE ROW LEVEL SECURITY;
CREATE OR REPLACE FUNCTION refuse_decision_of_maker() RETURNS trigger
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
DROP INDEX approvals_one_order;
DROP INDEX approvals_by_object;
CREATE UNIQUE INDEX approvals_by_object ON approvals (tenant_id, object_id);
ALTER TABLE approvals
    DROP CONSTRAINT approvals_of_roles,
    DROP CONSTRAINT approvals_kind,
    ADD CONSTRAINT approvals_kind CHECK (kind IN ('transfer'));
