--! read
SELECT display_name, logo_text, brand_colour, support_address
FROM tenant_branding
WHERE tenant_id = $1::uuid
FOR UPDATE;

--! write
INSERT INTO tenant_branding (tenant_id, display_name, logo_text, brand_colour, support_address)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::text)
ON CONFLICT (tenant_id) DO UPDATE
SET display_name = excluded.display_name, logo_text = excluded.logo_text, brand_colour = excluded.brand_colour,
    support_address = excluded.support_address, version = tenant_branding.version + 1;
