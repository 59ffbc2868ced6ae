-- Two questions whose cost must not grow with history.

-- How many orders of a maker wait: asked of everybody whose order has to.
CREATE INDEX approvals_pending_by_maker ON approvals (tenant_id, requested_by) WHERE status = 'pending';

-- What an account's live holds keep back: asked by every proof of the books.
CREATE INDEX holds_live_by_account ON holds (tenant_id, account_id) INCLUDE (remaining) WHERE remaining > 0;

-- To 0004, which says that `ledger verify` finds whatever was done while a trigger was off:
-- it finds what contradicts itself within these tables (sums, chains, texts, days, sides).
-- What was changed in all of them alike stands against the audit log's record of the posting.
