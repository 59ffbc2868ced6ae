-- As 0003 made it.
ALTER POLICY own_row ON users
    USING (current_setting('app.current_user_id', true) = '*'
        OR id = nullif(nullif(current_setting('app.current_user_id', true), ''), '*')::uuid);
