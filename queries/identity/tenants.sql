--! insert_roles
INSERT INTO roles (tenant_id, name, rank)
SELECT $1::uuid, given.name, (given.position - 1)::smallint
FROM unnest($2::text[]) WITH ORDINALITY AS given (name, position);
