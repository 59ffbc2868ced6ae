-- Webhooks: what happened is told to the tenant's other systems as it happens.
--
-- An endpoint reads the log of events on from its position; each event that it wants becomes
-- a delivery, which has the event's id. A delivery is pending until it is delivered or given
-- up; whoever takes it counts its lease, by which a worker that was too slow finds that it
-- lost it, and `next_attempt_at` is the end of that lease while it lasts.
CREATE TABLE webhook_endpoints (
    tenant_id              uuid NOT NULL REFERENCES tenants (id),
    id                     uuid NOT NULL,
    url                    text NOT NULL CONSTRAINT webhook_endpoints_url
        CHECK (length(url) <= 2048 AND url ~ '^https?://'),
    -- What it and we share, and until `previous_until` what it shared with us before.
    secret_sealed          bytea NOT NULL CONSTRAINT webhook_endpoints_secret_envelope
        CHECK (length(secret_sealed) BETWEEN 90 AND 1000 AND get_byte(secret_sealed, 0) = 1),
    previous_secret_sealed bytea CONSTRAINT webhook_endpoints_previous_envelope
        CHECK (length(previous_secret_sealed) BETWEEN 90 AND 1000 AND get_byte(previous_secret_sealed, 0) = 1),
    previous_until         timestamptz,
    event_types            text[] NOT NULL CONSTRAINT webhook_endpoints_event_types
        CHECK (cardinality(event_types) BETWEEN 1 AND 100),
    -- `disabled` by people, `failing` by us; neither is sent anything.
    status                 text NOT NULL DEFAULT 'active' CONSTRAINT webhook_endpoints_status
        CHECK (status IN ('active', 'disabled', 'failing')),
    -- Up to where events have become deliveries.
    position               bigint NOT NULL CONSTRAINT webhook_endpoints_position CHECK (position >= 0),
    -- Since when nothing has been taken.
    failing_since          timestamptz,
    -- Nothing is sent before, so that what is down is not run over.
    resting_until          timestamptz NOT NULL DEFAULT app_now(),
    created_by             uuid,
    version                bigint NOT NULL DEFAULT 1,
    created_at             timestamptz NOT NULL DEFAULT app_now(),
    updated_at             timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhook_endpoints_maker_known FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id),
    CONSTRAINT webhook_endpoints_overlap CHECK ((previous_secret_sealed IS NULL) = (previous_until IS NULL))
);
CREATE INDEX webhook_endpoints_by_maker ON webhook_endpoints (tenant_id, created_by);
CALL secure_tenant_table('webhook_endpoints', 'SELECT, INSERT, UPDATE, DELETE', false);

CREATE TABLE webhook_deliveries (
    tenant_id       uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_id        uuid NOT NULL,
    -- Of the event in the tenant's log; a test has none.
    position        bigint,
    event_type      text NOT NULL,
    object_type     text NOT NULL,
    object_id       uuid NOT NULL,
    sequence        bigint NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CONSTRAINT webhook_deliveries_status
        CHECK (status IN ('pending', 'delivered', 'given_up')),
    lease           bigint NOT NULL DEFAULT 0,
    attempts        integer NOT NULL DEFAULT 0 CONSTRAINT webhook_deliveries_attempts CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT app_now(),
    last_status     integer CONSTRAINT webhook_deliveries_last_status CHECK (last_status BETWEEN 100 AND 999),
    -- A word of ours: what a receiver answers is stored nowhere.
    last_error      text CONSTRAINT webhook_deliveries_last_error CHECK (last_error ~ '^[a-z0-9_]{1,40}$'),
    duration_ms     bigint,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT app_now(),
    updated_at      timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (tenant_id, endpoint_id, event_id),
    CONSTRAINT webhook_deliveries_endpoint FOREIGN KEY (tenant_id, endpoint_id)
        REFERENCES webhook_endpoints (tenant_id, id),
    CONSTRAINT webhook_deliveries_delivered CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
);
-- What is due of an endpoint, and what of the same object goes before it.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (tenant_id, endpoint_id, next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (tenant_id, endpoint_id, object_id, position)
    WHERE status = 'pending';
-- Forgetting what is long over.
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (tenant_id, created_at);
CALL secure_tenant_table('webhook_deliveries', 'SELECT, INSERT, UPDATE, DELETE', false);
