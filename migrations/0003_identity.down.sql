-- Takes identity away again, functions first.
DROP FUNCTION update_session_activity(varchar, varchar);
DROP FUNCTION revoke_user_sessions(uuid, varchar, varchar);
DROP FUNCTION cleanup_expired_sessions();
DROP FUNCTION handle_successful_login(citext, inet, text);
DROP FUNCTION handle_failed_login(citext);
DROP FUNCTION is_account_locked(uuid);
DROP TABLE signing_keys;
DROP TABLE login_attempts;
DROP TABLE revoked_tokens;
DROP TABLE refresh_tokens;
DROP TABLE user_sessions;
DROP TABLE password_history;
DROP TABLE user_roles;
DROP TABLE users;
DROP TABLE roles;
