DROP INDEX holds_live_by_account;
DROP INDEX approvals_pending_by_maker;
