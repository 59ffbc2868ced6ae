--! live_sessions
-- Writes always check the row, so that a revocation on any node is obeyed at once.
-- Sessions of deleted or disabled people are dead whatever their own row says.
SELECT session.id, session.user_id
FROM user_sessions session
JOIN users ON users.tenant_id = session.tenant_id AND users.id = session.user_id
WHERE session.tenant_id = $1::uuid AND session.id = ANY ($2::uuid[])
  AND session.revoked_at IS NULL AND session.absolute_expires_at > app_now()
  AND users.is_active AND users.deleted_at IS NULL;
