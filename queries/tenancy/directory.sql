--! all_tenants
-- The whole directory: thousands of rows at most, read once a second a node.
SELECT id, slug, blueprint, modules, time_zone FROM tenants WHERE status = 'active';

--! with_suspended
-- A suspended tenant keeps its keys, and they have to be kept as well.
SELECT id, slug, blueprint, modules, time_zone FROM tenants ORDER BY slug;

--! insert_tenant
INSERT INTO tenants (id, slug, name, blueprint, modules, time_zone)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::text[], $6::text);

--! insert_policy
INSERT INTO security_policies (tenant_id, policy) VALUES ($1::uuid, $2::jsonb);
