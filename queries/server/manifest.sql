--! owned_accounts
-- Whose login owns which accounts, for the ready file of a development installation.
SELECT person.username, array_agg(party.account_id ORDER BY party.account_id) AS accounts
FROM users person
JOIN customers customer ON customer.tenant_id = person.tenant_id AND customer.user_id = person.id
JOIN account_parties party ON party.tenant_id = customer.tenant_id AND party.customer_id = customer.id
WHERE person.tenant_id = $1::uuid AND party.party_role = 'owner'
GROUP BY person.username
ORDER BY person.username;

--! customers_without_record
-- Logins of the role customer that are no bank customer yet: what is left to seed.
SELECT person.id, person.username
FROM users person
WHERE person.tenant_id = $1::uuid AND person.role = 'customer'
  AND NOT EXISTS (SELECT 1 FROM customers customer
                  WHERE customer.tenant_id = person.tenant_id AND customer.user_id = person.id)
ORDER BY person.id;
