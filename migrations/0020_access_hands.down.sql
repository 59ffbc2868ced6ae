-- Independence is judged by the roles and keys as they stand again; what was written down
-- of addresses, restorations and earlier hands is lost.
-- As 0019 made it. Whether one of the two has given the other their role, directly or through people they
-- gave roles to: who makes a login knows its first password, and two logins in one hand are
-- not two persons. Whoever made or rotated an API key knows its secret the same way. What
-- the system gave ends a chain. Runs with the rights of whoever asks.
CREATE OR REPLACE FUNCTION depend_on_each_other(p_tenant uuid, p_one uuid, p_other uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE given (person, granter) AS (
        SELECT held.user_id, held.granted_by FROM user_roles held
        WHERE held.tenant_id = p_tenant AND held.user_id IN (p_one, p_other) AND held.granted_by IS NOT NULL
        UNION
        SELECT key.id, shown.person FROM api_keys key
        CROSS JOIN LATERAL (VALUES (key.created_by), (key.rotated_by)) AS shown (person)
        WHERE key.tenant_id = p_tenant AND key.id IN (p_one, p_other) AND shown.person IS NOT NULL
        UNION
        SELECT given.person, held.granted_by FROM given
        JOIN user_roles held ON held.tenant_id = p_tenant AND held.user_id = given.granter
        WHERE held.granted_by IS NOT NULL
    )
    SELECT EXISTS (SELECT 1 FROM given
        WHERE (person = p_one AND granter = p_other) OR (person = p_other AND granter = p_one))
$$;

DROP TRIGGER remember_key_holder ON api_keys;
DROP FUNCTION remember_key_holder();
DROP TRIGGER remember_role_giver ON user_roles;
DROP FUNCTION remember_role_giver();
DROP TABLE access_hands;
