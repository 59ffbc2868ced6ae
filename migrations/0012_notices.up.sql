-- Messages to people: what is to be sent by e-mail or SMS, and how each tenant's look.
--
-- A notice is put into the queue by the transaction that has something to tell, so it is
-- sent once that commits, or never. Whom it goes to and what it says (links and codes
-- among it) are sealed: under the person's own key where it is about one, so that their
-- erasure closes it, else under the tenant's. Both are wiped as soon as it is sent or given up.
--
-- Legal transitions (`notify::queue`): queued → sending → sent | failed, sending → queued
-- after an attempt that failed, and either → failed when its time is over. `sending` is a
-- lease: `next_attempt_at` is its end, from which on any worker may take it again, and
-- `attempts` its number, by which a worker that was too slow finds that it lost it.
CREATE TABLE notices (
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    id               uuid NOT NULL,
    -- Whom it is about; an address nobody has an account for has none.
    user_id          uuid,
    channel          text NOT NULL CONSTRAINT notices_channel CHECK (channel IN ('email', 'sms')),
    template         text NOT NULL CONSTRAINT notices_template CHECK (template ~ '^[a-z_]{1,40}$'),
    recipient_sealed bytea CONSTRAINT notices_recipient_envelope
        CHECK (length(recipient_sealed) BETWEEN 90 AND 1000 AND get_byte(recipient_sealed, 0) = 1),
    values_sealed    bytea CONSTRAINT notices_values_envelope
        CHECK (length(values_sealed) BETWEEN 90 AND 20000 AND get_byte(values_sealed, 0) = 1),
    state            text NOT NULL DEFAULT 'queued' CONSTRAINT notices_state CHECK (state IN
        ('queued', 'sending', 'sent', 'failed')),
    attempts         integer NOT NULL DEFAULT 0 CONSTRAINT notices_attempts CHECK (attempts >= 0),
    next_attempt_at  timestamptz NOT NULL DEFAULT app_now(),
    -- Never sent from then on: a code of yesterday helps nobody but a thief.
    expires_at       timestamptz NOT NULL,
    -- Why the last attempt failed: a word of ours, never the server's, which may quote the address.
    last_error       text CONSTRAINT notices_last_error CHECK (last_error ~ '^[a-z0-9_]{1,40}$'),
    sent_at          timestamptz,
    created_at       timestamptz NOT NULL DEFAULT app_now(),
    updated_at       timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT notices_user_known FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id),
    CONSTRAINT notices_expire_later CHECK (expires_at > created_at),
    CONSTRAINT notices_sent CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT notices_wiped CHECK (CASE WHEN state IN ('queued', 'sending')
        THEN recipient_sealed IS NOT NULL AND values_sealed IS NOT NULL
        ELSE recipient_sealed IS NULL AND values_sealed IS NULL END)
);
-- What the worker looks for: what is due, and what is over. Both hold what waits and no more.
CREATE INDEX notices_due ON notices (tenant_id, channel, next_attempt_at, id) WHERE state IN ('queued', 'sending');
CREATE INDEX notices_by_expiry ON notices (tenant_id, expires_at, id) WHERE state IN ('queued', 'sending');
-- Forgetting what is long over.
CREATE INDEX notices_by_age ON notices (tenant_id, created_at);
CALL secure_tenant_table('notices', 'SELECT, INSERT, DELETE', false);
GRANT UPDATE (state, attempts, next_attempt_at, last_error, recipient_sealed, values_sealed, sent_at)
    ON notices TO strongroom_app;

-- What is over stays over, whoever asks: sent twice would be the least of it.
CREATE FUNCTION refuse_notice_revival() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'a notice that is % cannot be changed', OLD.state
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER over_is_over BEFORE UPDATE ON notices
    FOR EACH ROW WHEN (OLD.state IN ('sent', 'failed'))
    EXECUTE FUNCTION refuse_notice_revival();

-- How a tenant's messages look. Where there is no row, or a column is null, the tenant's
-- name and our own plain look stand in.
CREATE TABLE tenant_branding (
    tenant_id       uuid PRIMARY KEY REFERENCES tenants (id),
    -- The name that messages come from and are signed with. One line: it stands in headers.
    display_name    text CONSTRAINT tenant_branding_name CHECK (length(display_name) BETWEEN 1 AND 60
        AND display_name !~ '[[:cntrl:]]'),
    -- What stands in the place of a logo: messages load nothing from anywhere.
    logo_text       text CONSTRAINT tenant_branding_logo CHECK (length(logo_text) BETWEEN 1 AND 24
        AND logo_text !~ '[[:cntrl:]]'),
    brand_colour    text CONSTRAINT tenant_branding_colour CHECK (brand_colour ~ '^#[0-9a-f]{6}$'),
    support_address text CONSTRAINT tenant_branding_support CHECK (length(support_address) BETWEEN 3 AND 120
        AND support_address !~ '[[:cntrl:]]'),
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now()
);
CALL secure_tenant_table('tenant_branding', 'SELECT, INSERT, UPDATE', true);
