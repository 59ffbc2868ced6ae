-- Going below this migration destroys the audit log and every proof over it.
DROP FUNCTION audit_append(audit_event_type, audit_severity, text, text, uuid, audit_result, jsonb, jsonb, jsonb);
DROP TABLE audit_log_keys;
DROP TABLE audit_checkpoints;
DROP TABLE audit_tree;
DROP TABLE audit_leaves;
DROP TABLE audit_inbox;
DROP TABLE audit_log;
DROP FUNCTION refuse_audit_key_change();
DROP FUNCTION refuse_audit_inbox_delete();
DROP FUNCTION refuse_audit_change();
DROP TYPE audit_event_type;
DROP TYPE audit_result;
DROP TYPE audit_severity;
