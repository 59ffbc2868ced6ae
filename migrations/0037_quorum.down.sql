-- What waits for several people would be done by one: it is rejected by nobody and approved by
-- nobody, so it has to be decided before. Of every tenant, which forced row security hides.
ALTER TABLE approvals NO FORCE ROW LEVEL SECURITY;
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM approvals WHERE status = 'pending' AND required > 1) THEN
        RAISE EXCEPTION 'orders wait for more than one person: decide them first'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;
ALTER TABLE approvals FORCE ROW LEVEL SECURITY;
DROP TRIGGER decided_once ON approvals;
CREATE TRIGGER decided_once BEFORE UPDATE ON approvals
    FOR EACH ROW WHEN (OLD.status <> 'pending' OR NEW.status = 'pending')
    EXECUTE FUNCTION refuse_second_decision();
DROP TRIGGER by_enough ON approvals;
DROP FUNCTION refuse_without_quorum();
DROP TABLE approval_decisions;
DROP FUNCTION refuse_decision_of_maker();
ALTER TABLE approvals DROP COLUMN required;
