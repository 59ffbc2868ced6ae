-- Sessions of the console. The cookie holds an opaque token; its SHA-256 stands on
-- the session's row. A session is either a console's (this column, no refresh
-- tokens) or a client's (refresh tokens, NULL here), so neither's secret opens the other.
ALTER TABLE user_sessions ADD COLUMN console_token_hash bytea
    CONSTRAINT user_sessions_console_token_whole CHECK (length(console_token_hash) = 32);

-- How a cookie finds its session; unique, so that it finds one.
CREATE UNIQUE INDEX user_sessions_console_token_key ON user_sessions (tenant_id, console_token_hash)
    WHERE console_token_hash IS NOT NULL;
