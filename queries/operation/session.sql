--! live_sessions
-- Writes always check the row, so that a revocation on any node is obeyed at once, and
-- a change of roles with it: what a node remembers of a person is a second old.
-- Sessions of deleted or disabled people are dead whatever their own row says. A token
-- whose signing key is none of these any more is worth nothing.
SELECT session.id, session.user_id, person.organization_id, person.department,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role <> person.role, held.role) AS roles,
    ARRAY(SELECT custom.definition FROM user_roles held
          JOIN custom_roles custom ON custom.tenant_id = held.tenant_id AND custom.name = held.role
          WHERE held.tenant_id = person.tenant_id AND held.user_id = person.id
          ORDER BY held.role) AS custom_roles,
    ARRAY(SELECT revoked.jti FROM revoked_tokens revoked
          WHERE revoked.tenant_id = session.tenant_id AND revoked.session_id = session.id) AS revoked_tokens,
    ARRAY(SELECT signing.key_id FROM signing_keys signing
          WHERE signing.tenant_id = $1::uuid AND signing.status IN ('active', 'verify_only')) AS signing_keys
FROM user_sessions session
JOIN users person ON person.tenant_id = session.tenant_id AND person.id = session.user_id
WHERE session.tenant_id = $1::uuid AND session.id = ANY ($2::uuid[])
  AND session.revoked_at IS NULL AND session.absolute_expires_at > app_now()
  AND person.is_active AND person.deleted_at IS NULL;

--! live_api_keys
SELECT id FROM api_keys
WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[]) AND revoked_at IS NULL AND expires_at > app_now()
  AND api_key_is_answered_for(id, false);
