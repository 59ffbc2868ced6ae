-- Who had a hand in somebody's access: gave a role, set an address, brought a deleted
-- person back, was shown the secret of an API key. Two of whom one had a hand in the other
-- are not two persons where four eyes are wanted. Kept for good: another's hand since does
-- not take the first one's knowledge away. Both sides may be a person or an API key.
CREATE TABLE access_hands (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    subject_id uuid NOT NULL,
    held_by    uuid NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('role', 'api_key', 'address', 'restoration')),
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, subject_id, held_by),
    CONSTRAINT access_hands_another CHECK (subject_id <> held_by)
);
CALL secure_tenant_table('access_hands', 'SELECT, INSERT', true);

-- Roles and keys are written down here and not in the program: nothing gives one past it.
CREATE FUNCTION remember_role_giver() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO access_hands (tenant_id, subject_id, held_by, reason)
    VALUES (NEW.tenant_id, NEW.user_id, NEW.granted_by, 'role')
    ON CONFLICT (tenant_id, subject_id, held_by) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER remember_role_giver AFTER INSERT ON user_roles
    FOR EACH ROW WHEN (NEW.granted_by IS NOT NULL AND NEW.granted_by <> NEW.user_id)
    EXECUTE FUNCTION remember_role_giver();

CREATE FUNCTION remember_key_holder() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO access_hands (tenant_id, subject_id, held_by, reason)
    SELECT NEW.tenant_id, NEW.id, shown.person, 'api_key'
    FROM (VALUES (NEW.created_by), (NEW.rotated_by)) AS shown (person)
    WHERE shown.person IS NOT NULL
    ON CONFLICT (tenant_id, subject_id, held_by) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER remember_key_holder AFTER INSERT OR UPDATE OF created_by, rotated_by ON api_keys
    FOR EACH ROW EXECUTE FUNCTION remember_key_holder();

-- What is known of before. Tenant by tenant: forced row security shows the owner nothing
-- without one.
DO $$
DECLARE
    v_tenant uuid;
BEGIN
    FOR v_tenant IN SELECT id FROM tenants LOOP
        PERFORM set_config('app.current_tenant', v_tenant::text, true);
        INSERT INTO access_hands (tenant_id, subject_id, held_by, reason)
        SELECT v_tenant, held.user_id, held.granted_by, 'role' FROM user_roles held
        WHERE held.tenant_id = v_tenant AND held.granted_by <> held.user_id
        ON CONFLICT DO NOTHING;
        INSERT INTO access_hands (tenant_id, subject_id, held_by, reason)
        SELECT v_tenant, key.id, shown.person, 'api_key' FROM api_keys key
        CROSS JOIN LATERAL (VALUES (key.created_by), (key.rotated_by)) AS shown (person)
        WHERE key.tenant_id = v_tenant AND shown.person IS NOT NULL
        ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM set_config('app.current_tenant', '', true);
END $$;

-- Whether one of the two had a hand in the other's access, directly or through others,
-- machines among them. What the system gave ends a chain. Runs with the rights of whoever
-- asks.
CREATE OR REPLACE FUNCTION depend_on_each_other(p_tenant uuid, p_one uuid, p_other uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE behind (subject, hand) AS (
        SELECT known.subject_id, known.held_by FROM access_hands known
        WHERE known.tenant_id = p_tenant AND known.subject_id IN (p_one, p_other)
        UNION
        SELECT behind.subject, known.held_by FROM behind
        JOIN access_hands known ON known.tenant_id = p_tenant AND known.subject_id = behind.hand
    )
    SELECT EXISTS (SELECT 1 FROM behind
        WHERE (subject = p_one AND hand = p_other) OR (subject = p_other AND hand = p_one))
$$;
