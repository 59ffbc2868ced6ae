-- Sessions that began in the console cannot go on without it.
UPDATE user_sessions SET revoked_at = app_now(), revocation_reason = 'console_removed'
WHERE console_token_hash IS NOT NULL AND revoked_at IS NULL;
DROP INDEX user_sessions_console_token_key;
ALTER TABLE user_sessions DROP COLUMN console_token_hash;
