-- The bank's customers, their savings accounts, and who may act on which.

-- Everything personal is sealed under the subject key of the customer's own id;
-- what has to be found by its value has a blind index beside it. The database can
-- check no more of a sealed value than its envelope: format byte and least length.
CREATE FUNCTION is_sealed(envelope bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT length(envelope) >= 89 AND get_byte(envelope, 0) = 1 $$;
GRANT EXECUTE ON FUNCTION is_sealed(bytea) TO strongroom_app, strongroom_sealer, strongroom_auditor;

CREATE TABLE customers (
    tenant_id     uuid NOT NULL REFERENCES tenants (id),
    id            uuid NOT NULL,
    customer_type text NOT NULL CONSTRAINT customers_type CHECK (customer_type IN ('individual', 'business')),
    first_name    bytea CONSTRAINT customers_first_name_sealed CHECK (is_sealed(first_name)),
    last_name     bytea CONSTRAINT customers_last_name_sealed CHECK (is_sealed(last_name)),
    company_name  bytea CONSTRAINT customers_company_name_sealed CHECK (is_sealed(company_name)),
    email         bytea CONSTRAINT customers_email_sealed CHECK (is_sealed(email)),
    email_index   bytea CONSTRAINT customers_email_index_length CHECK (length(email_index) = 33),
    phone         bytea CONSTRAINT customers_phone_sealed CHECK (is_sealed(phone)),
    phone_index   bytea CONSTRAINT customers_phone_index_length CHECK (length(phone_index) = 33),
    date_of_birth bytea CONSTRAINT customers_date_of_birth_sealed CHECK (is_sealed(date_of_birth)),
    tax_id        bytea CONSTRAINT customers_tax_id_sealed CHECK (is_sealed(tax_id)),
    tax_id_index  bytea CONSTRAINT customers_tax_id_index_length CHECK (length(tax_id_index) = 33),
    user_id       uuid,
    kyc_status    text NOT NULL DEFAULT 'not_started',
    status        text NOT NULL DEFAULT 'active' CONSTRAINT customers_status CHECK (status IN ('active', 'inactive')),
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT app_now(),
    updated_at    timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT customers_user_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT customers_email_both CHECK ((email IS NULL) = (email_index IS NULL)),
    CONSTRAINT customers_phone_both CHECK ((phone IS NULL) = (phone_index IS NULL)),
    CONSTRAINT customers_tax_id_both CHECK ((tax_id IS NULL) = (tax_id_index IS NULL)),
    CONSTRAINT customers_named CHECK (CASE customer_type
        WHEN 'individual' THEN first_name IS NOT NULL AND last_name IS NOT NULL AND company_name IS NULL
        ELSE company_name IS NOT NULL END)
);
-- One login is one customer: ownership goes from the login through this row.
CREATE UNIQUE INDEX customers_one_per_user ON customers (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX customers_by_age ON customers (tenant_id, created_at DESC, id DESC);
-- Families share addresses and telephones: found by them, not unique by them.
CREATE INDEX customers_by_email ON customers (tenant_id, email_index) WHERE email_index IS NOT NULL;
CREATE INDEX customers_by_phone ON customers (tenant_id, phone_index) WHERE phone_index IS NOT NULL;
CREATE UNIQUE INDEX customers_one_per_tax_id ON customers (tenant_id, tax_id_index) WHERE tax_id_index IS NOT NULL;
CALL secure_tenant_table('customers', 'SELECT, INSERT, UPDATE', true);

-- Balance, limits and status stand in the ledger account of the same id.
CREATE TABLE savings_accounts (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    customer_id    uuid NOT NULL,
    account_number text NOT NULL CONSTRAINT savings_accounts_number CHECK (account_number ~ '^[A-Z0-9]{4,34}$'),
    account_type   text NOT NULL CONSTRAINT savings_accounts_type CHECK (account_type IN ('savings', 'checking', 'business')),
    interest_rate  numeric(9, 6) NOT NULL DEFAULT 0
        CONSTRAINT savings_accounts_interest_rate CHECK (interest_rate BETWEEN -100 AND 100),
    opened_date    date NOT NULL,
    closed_date    date CONSTRAINT savings_accounts_dates CHECK (closed_date >= opened_date),
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT app_now(),
    updated_at     timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT savings_accounts_ledger_fkey FOREIGN KEY (tenant_id, id) REFERENCES ledger_accounts (tenant_id, id),
    CONSTRAINT savings_accounts_customer_fkey
        FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    CONSTRAINT savings_accounts_number_key UNIQUE (tenant_id, account_number)
);
CREATE INDEX savings_accounts_by_age ON savings_accounts (tenant_id, created_at DESC, id DESC);
CREATE INDEX savings_accounts_by_customer ON savings_accounts (tenant_id, customer_id);
CALL secure_tenant_table('savings_accounts', 'SELECT, INSERT, UPDATE', true);

-- Who may act on an account. "Own" means through a row here, whatever the role;
-- a disponent acts for the owner under a mandate.
CREATE TABLE account_parties (
    tenant_id   uuid NOT NULL,
    account_id  uuid NOT NULL,
    customer_id uuid NOT NULL,
    party_role  text NOT NULL CONSTRAINT account_parties_role CHECK (party_role IN ('owner', 'joint_owner', 'disponent')),
    created_at  timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, account_id, customer_id),
    CONSTRAINT account_parties_account_fkey
        FOREIGN KEY (tenant_id, account_id) REFERENCES savings_accounts (tenant_id, id),
    CONSTRAINT account_parties_customer_fkey
        FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id)
);
CREATE UNIQUE INDEX account_parties_one_owner ON account_parties (tenant_id, account_id) WHERE party_role = 'owner';
CREATE INDEX account_parties_by_customer ON account_parties (tenant_id, customer_id, account_id);
CALL secure_tenant_table('account_parties', 'SELECT, INSERT', true);
