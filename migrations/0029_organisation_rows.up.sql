-- Whoever reads the people of their organisation sees those rows beside their own. Belonging
-- to an organisation is not enough: the setting is given only where policy lets the actor
-- read its people (`app.current_org_id` is everybody's who belongs to one).
ALTER POLICY own_row ON users
    USING (current_setting('app.current_user_id', true) = '*'
        OR id = nullif(nullif(current_setting('app.current_user_id', true), ''), '*')::uuid
        OR organization_id = nullif(current_setting('app.visible_org_id', true), '')::uuid);
