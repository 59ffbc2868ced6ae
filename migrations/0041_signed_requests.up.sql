-- Signed requests: keys with which clients sign what they send (RFC 9421), nonces that were
-- used, and certificates that API keys are bound to (RFC 8705).

-- The public half of a key; the client keeps the other one. It belongs to one person or one
-- machine, and proves nothing of anybody else. The thumbprint (RFC 7638) says which key it is,
-- however it was written: one key is one owner's, and once revoked it is nobody's again.
CREATE TABLE client_keys (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    id         uuid NOT NULL,
    name       text NOT NULL CONSTRAINT client_keys_name CHECK (length(name) BETWEEN 1 AND 100),
    user_id    uuid,
    api_key_id uuid,
    algorithm  text NOT NULL CONSTRAINT client_keys_algorithm
        CHECK (algorithm IN ('ed25519', 'ecdsa-p256-sha256', 'rsa-pss-sha512')),
    public_jwk jsonb NOT NULL,
    thumbprint text NOT NULL CONSTRAINT client_keys_thumbprint CHECK (thumbprint ~ '^[A-Za-z0-9_-]{43}$'),
    created_by uuid,
    revoked_at timestamptz,
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT client_keys_thumbprint_key UNIQUE (tenant_id, thumbprint),
    CONSTRAINT client_keys_one_owner CHECK ((user_id IS NULL) <> (api_key_id IS NULL)),
    CONSTRAINT client_keys_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT client_keys_api_key_known FOREIGN KEY (tenant_id, api_key_id) REFERENCES api_keys (tenant_id, id),
    CONSTRAINT client_keys_maker_known FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id)
);
CREATE INDEX client_keys_by_user ON client_keys (tenant_id, user_id);
CREATE INDEX client_keys_by_api_key ON client_keys (tenant_id, api_key_id);
CREATE INDEX client_keys_by_maker ON client_keys (tenant_id, created_by);
CALL secure_tenant_table('client_keys', 'SELECT, INSERT', true);
GRANT UPDATE (revoked_at, version) ON client_keys TO strongroom_app;

CREATE FUNCTION refuse_client_key_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a revoked client key stays revoked' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER stays_revoked BEFORE UPDATE ON client_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION refuse_client_key_revival();

-- The primary key is what takes a nonce once: of many requests one inserts it. It is kept until
-- its signature would be refused for its age alone.
CREATE TABLE signature_nonces (
    tenant_id  uuid NOT NULL,
    key_id     uuid NOT NULL,
    nonce      text NOT NULL CONSTRAINT signature_nonces_nonce CHECK (length(nonce) BETWEEN 1 AND 256),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, key_id, nonce),
    CONSTRAINT signature_nonces_key_known FOREIGN KEY (tenant_id, key_id) REFERENCES client_keys (tenant_id, id)
);
CREATE INDEX signature_nonces_by_end ON signature_nonces (tenant_id, expires_at);
CALL secure_tenant_table('signature_nonces', 'SELECT, INSERT, DELETE', false);

-- `x5t#S256` of the certificate that a key is used with; NULL needs none.
ALTER TABLE api_keys ADD COLUMN certificate_thumbprint text
    CONSTRAINT api_keys_certificate_thumbprint CHECK (certificate_thumbprint ~ '^[A-Za-z0-9_-]{43}$');
GRANT UPDATE (certificate_thumbprint) ON api_keys TO strongroom_app;
GRANT SELECT (certificate_thumbprint) ON api_keys TO strongroom_auditor;
