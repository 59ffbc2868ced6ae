--! credentials
-- With the second factor of the session ($4, or none) that asks.
SELECT person.username_key, person.password_hash, person.password_changed_at, person.mfa_enabled,
    (SELECT session.mfa_at FROM user_sessions session
     WHERE session.tenant_id = person.tenant_id AND session.id = $4::uuid AND session.user_id = person.id) AS mfa_at,
    ARRAY(SELECT earlier.password_hash FROM password_history earlier
          WHERE earlier.tenant_id = person.tenant_id AND earlier.user_id = person.id
          ORDER BY earlier.id DESC LIMIT $3::bigint) AS earlier
FROM users person
WHERE person.tenant_id = $1::uuid AND person.id = $2::uuid AND person.is_active AND person.deleted_at IS NULL;

--! change
-- Conditional on what was read before hashing: of two changes at once one finds no row.
UPDATE users SET password_hash = $3::text, password_changed_at = app_now(), version = version + 1
WHERE tenant_id = $1::uuid AND id = $2::uuid AND password_changed_at IS NOT DISTINCT FROM $4::timestamptz
RETURNING id;

--! forget_oldest
DELETE FROM password_history
WHERE tenant_id = $1::uuid AND user_id = $2::uuid AND id NOT IN (
    SELECT kept.id FROM password_history kept
    WHERE kept.tenant_id = $1::uuid AND kept.user_id = $2::uuid
    ORDER BY kept.id DESC LIMIT $3::bigint);
