--! find
-- Which session a cookie belongs to. The answer never changes, so it may be kept;
-- whether the session lives is asked of the session itself.
SELECT id FROM user_sessions WHERE tenant_id = $1::uuid AND console_token_hash = $2::bytea;
