-- Uniqueness across generations of a tenant's index key. A blind index of one generation never
-- equals that of another, so while two are in use the unique indexes see only half of what may
-- be taken. Whoever writes an address or a tax number claims it first, under every generation
-- that they know: who knows one beside others who know one too, and the unique index judges
-- between them; who knows several alone, and looks under all of them.
--
-- The lock is held to the end of the transaction, and a statement within a function sees what
-- was committed before it began: two claims of one value never both find it free.

-- SECURITY DEFINER: rows of people whom the actor may not see are taken as well.
CREATE FUNCTION claim_email(p_user_id uuid, p_indexes bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_place bigint := hashtextextended('users.email/' || v_tenant::text, 0);
BEGIN
    IF cardinality(p_indexes) < 2 THEN
        PERFORM pg_advisory_xact_lock_shared(v_place);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(v_place);
    IF EXISTS (SELECT FROM users WHERE tenant_id = v_tenant AND email_index = ANY (p_indexes) AND id <> p_user_id) THEN
        RAISE unique_violation USING CONSTRAINT = 'users_email_key', MESSAGE = 'another person has this e-mail address';
    END IF;
END $$;

-- Of several customers at once; their numbers of one generation are judged by the unique index.
CREATE FUNCTION claim_tax_ids(p_customer_ids uuid[], p_indexes bytea[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_tenant uuid := require_tenant();
    v_place bigint := hashtextextended('customers.tax_id/' || v_tenant::text, 0);
BEGIN
    IF (SELECT count(DISTINCT get_byte(index, 0)) FROM unnest(p_indexes) AS index) < 2 THEN
        PERFORM pg_advisory_xact_lock_shared(v_place);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(v_place);
    IF EXISTS (SELECT FROM customers
               WHERE tenant_id = v_tenant AND tax_id_index = ANY (p_indexes) AND id <> ALL (p_customer_ids)) THEN
        RAISE unique_violation
            USING CONSTRAINT = 'customers_one_per_tax_id', MESSAGE = 'another customer has this tax number';
    END IF;
END $$;

REVOKE ALL ON FUNCTION claim_email(uuid, bytea[]), claim_tax_ids(uuid[], bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_email(uuid, bytea[]), claim_tax_ids(uuid[], bytea[]) TO strongroom_app;
