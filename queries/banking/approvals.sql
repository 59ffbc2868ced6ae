--! ceiling
-- Asked in the round trip of the accounts' locks, so that nothing that moves money pays a
-- round trip for it and a ceiling that was lowered is obeyed at once.
SELECT (policy ->> 'transfer_ceiling_minor')::bigint AS ceiling
FROM security_policies
WHERE tenant_id = $1::uuid;

--! ceiling_and_factor
-- The same, and whether the person behind a session used a second factor within five minutes,
-- which is due above the limit of proofs.
SELECT (policy ->> 'transfer_ceiling_minor')::bigint AS ceiling,
    (policy ->> 'transfer_step_up_minor')::bigint AS step_up_limit,
    EXISTS (SELECT 1 FROM user_sessions session
            WHERE session.tenant_id = $1::uuid AND session.id = $2::uuid
              AND session.mfa_at >= app_now() - interval '5 minutes') AS proven
FROM security_policies
WHERE tenant_id = $1::uuid;

--! admission
-- The ceiling, the limit above which a transfer has to be proven, and which orders of a batch
-- are. $2 is the greatest amount of those that may have to be: up to the limit nothing is
-- looked up, and it costs what the ceiling costs. $3 to $8 are the orders; one that comes in no session has none to prove
-- it in, and finds nothing. Of several alike the first ones get what proofs there are. It runs
-- behind the locks of the accounts, which every transfer that could use a proof needs, so that
-- nobody else uses up what it sees.
SELECT asked.ceiling, asked.approvals, asked.step_up_limit, proof.position, proof.authorisation_id
FROM (
    SELECT (policy ->> 'transfer_ceiling_minor')::bigint AS ceiling,
        coalesce((policy ->> 'transfer_approvals')::smallint, 1::smallint) AS approvals,
        (policy ->> 'transfer_step_up_minor')::bigint AS step_up_limit
    FROM security_policies
    WHERE tenant_id = $1::uuid
) asked
LEFT JOIN LATERAL (
    SELECT wanted.position - 1 AS position, open.id AS authorisation_id
    FROM (
        SELECT bound.*, row_number() OVER (PARTITION BY session_id, user_id, hash ORDER BY position) AS turn
        FROM (
            SELECT given.position, given.session_id, given.user_id,
                payment_hash(given.from_id, given.to_id, given.amount, given.currency) AS hash
            FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[])
                WITH ORDINALITY AS given (session_id, user_id, from_id, to_id, amount, currency, position)
            WHERE given.session_id IS NOT NULL AND given.amount > asked.step_up_limit
        ) bound
    ) wanted
    CROSS JOIN LATERAL (
        SELECT kept.id FROM payment_authorisations kept
        WHERE kept.tenant_id = $1::uuid AND kept.session_id = wanted.session_id AND kept.user_id = wanted.user_id
          AND kept.payment_hash = wanted.hash AND kept.consumed_at IS NULL AND kept.expires_at > app_now()
        ORDER BY kept.id OFFSET wanted.turn - 1 LIMIT 1
    ) open
) proof ON asked.step_up_limit < $2::bigint;

--! consume_authorisations
-- The one consuming primitive: of any number of parallel uses exactly one gets the row.
UPDATE payment_authorisations kept SET consumed_at = app_now(), transfer_id = used.transfer_id
FROM unnest($2::uuid[], $3::uuid[]) AS used (id, transfer_id)
WHERE kept.tenant_id = $1::uuid AND kept.id = used.id AND kept.consumed_at IS NULL AND kept.expires_at > app_now()
RETURNING kept.id;

--! insert_approvals
INSERT INTO approvals (tenant_id, kind, id, payload, payload_hash, object_id, from_account_id, to_account_id, amount,
    currency, requested_by, requested_at, expires_at, required)
SELECT $1::uuid, $2::text, given.*
FROM unnest($3::uuid[], $4::jsonb[], $5::bytea[], $6::uuid[], $7::uuid[], $8::uuid[], $9::bigint[], $10::text[],
    $11::uuid[], $12::timestamptz[], $13::timestamptz[], $14::smallint[]) AS given;

--! facts
-- Whether the actor has a side in it: as its maker or a party to the account debited
-- (owned), or as a party to the account credited (held).
SELECT approval.id,
    approval.requested_by = $3::uuid OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = approval.from_account_id
          AND customer.user_id = $3::uuid) AS owned,
    EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = approval.to_account_id
          AND customer.user_id = $3::uuid) AS held
FROM approvals approval
WHERE approval.tenant_id = $1::uuid AND approval.id = $2::uuid AND approval.kind = 'transfer';

--! approval
-- One with what policy needs to know. What the clock has ended says so, worker or none. Whom
-- roles would be given to owns the order as well as its maker.
SELECT approval.id, approval.kind,
    CASE WHEN approval.status = 'pending' AND approval.expires_at <= app_now() THEN 'expired'
         ELSE approval.status END AS status,
    approval.payload, approval.payload_hash, approval.object_id, approval.from_account_id, approval.to_account_id,
    approval.amount, approval.currency, approval.requested_by, approval.requested_at, approval.expires_at,
    approval.decided_by, approval.decided_at, approval.decision_note, approval.result_id, approval.version,
    approval.required, ARRAY(SELECT given.decided_by FROM approval_decisions given
        WHERE given.tenant_id = approval.tenant_id AND given.approval_id = approval.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_by,
    ARRAY(SELECT given.decided_at FROM approval_decisions given
        WHERE given.tenant_id = approval.tenant_id AND given.approval_id = approval.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_at,
    approval.requested_by = $3::uuid OR (approval.kind = 'role_grant' AND approval.object_id = $3::uuid) OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = approval.from_account_id
          AND customer.user_id = $3::uuid) AS owned
FROM approvals approval
WHERE approval.tenant_id = $1::uuid AND approval.id = $2::uuid;

--! list_all
-- Newest first, then by id; the bound is always given, so that the index is entered at it. $7
-- says that the actor reads everybody, and with them the roles that they would be given; $8 is
-- the actor.
SELECT id, kind,
    CASE WHEN status = 'pending' AND expires_at <= app_now() THEN 'expired' ELSE status END AS status,
    payload, payload_hash, object_id, from_account_id, to_account_id, amount, currency, requested_by, requested_at,
    expires_at, decided_by, decided_at, decision_note, result_id, version, required,
    ARRAY(SELECT given.decided_by FROM approval_decisions given
        WHERE given.tenant_id = approvals.tenant_id AND given.approval_id = approvals.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_by,
    ARRAY(SELECT given.decided_at FROM approval_decisions given
        WHERE given.tenant_id = approvals.tenant_id AND given.approval_id = approvals.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_at
FROM approvals
WHERE tenant_id = $1::uuid
  AND (requested_at, id) < ($2::timestamptz, $3::uuid)
  AND ($4::text IS NULL
       OR CASE WHEN status = 'pending' AND expires_at <= app_now() THEN 'expired' ELSE status END = $4)
  AND ($5::text IS NULL OR kind = $5)
  AND (kind <> 'role_grant' OR $7::boolean OR requested_by = $8::uuid OR object_id = $8::uuid)
ORDER BY requested_at DESC, id DESC
LIMIT $6::bigint;

--! list_own
-- What the actor has asked for, what is asked of the money in their accounts, and the roles
-- that they would be given, or anybody would where they read everybody ($8): of each no more
-- than a page, so that the cost follows what they have.
SELECT approval.id, approval.kind,
    CASE WHEN approval.status = 'pending' AND approval.expires_at <= app_now() THEN 'expired'
         ELSE approval.status END AS status,
    approval.payload, approval.payload_hash, approval.object_id, approval.from_account_id, approval.to_account_id,
    approval.amount, approval.currency, approval.requested_by, approval.requested_at, approval.expires_at,
    approval.decided_by, approval.decided_at, approval.decision_note, approval.result_id, approval.version,
    approval.required, ARRAY(SELECT given.decided_by FROM approval_decisions given
        WHERE given.tenant_id = approval.tenant_id AND given.approval_id = approval.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_by,
    ARRAY(SELECT given.decided_at FROM approval_decisions given
        WHERE given.tenant_id = approval.tenant_id AND given.approval_id = approval.id AND given.verdict = 'approve'
        ORDER BY given.decided_at, given.decided_by) AS approved_at
FROM (
    (SELECT made.id FROM approvals made
     WHERE made.tenant_id = $1::uuid AND made.requested_by = $7::uuid
       AND (made.requested_at, made.id) < ($2::timestamptz, $3::uuid)
       AND ($4::text IS NULL
            OR CASE WHEN made.status = 'pending' AND made.expires_at <= app_now() THEN 'expired'
                    ELSE made.status END = $4)
       AND ($5::text IS NULL OR made.kind = $5)
     ORDER BY made.requested_at DESC, made.id DESC
     LIMIT $6::bigint)
    UNION
    (SELECT asked.id
     FROM customers mine
     JOIN account_parties party ON party.tenant_id = $1::uuid AND party.customer_id = mine.id
     CROSS JOIN LATERAL (
        SELECT of_account.id FROM approvals of_account
        WHERE of_account.tenant_id = $1::uuid AND of_account.from_account_id = party.account_id
          AND (of_account.requested_at, of_account.id) < ($2::timestamptz, $3::uuid)
          AND ($4::text IS NULL
               OR CASE WHEN of_account.status = 'pending' AND of_account.expires_at <= app_now() THEN 'expired'
                       ELSE of_account.status END = $4)
          AND ($5::text IS NULL OR of_account.kind = $5)
        ORDER BY of_account.requested_at DESC, of_account.id DESC
        LIMIT $6::bigint
     ) asked
     WHERE mine.tenant_id = $1::uuid AND mine.user_id = $7::uuid)
    UNION
    (SELECT given.id FROM approvals given
     WHERE given.tenant_id = $1::uuid AND given.kind = 'role_grant'
       AND ($8::boolean OR given.object_id = $7::uuid)
       AND (given.requested_at, given.id) < ($2::timestamptz, $3::uuid)
       AND ($4::text IS NULL
            OR CASE WHEN given.status = 'pending' AND given.expires_at <= app_now() THEN 'expired'
                    ELSE given.status END = $4)
       AND ($5::text IS NULL OR given.kind = $5)
     ORDER BY given.requested_at DESC, given.id DESC
     LIMIT $6::bigint)
) own
JOIN approvals approval ON approval.tenant_id = $1::uuid AND approval.id = own.id
ORDER BY approval.requested_at DESC, approval.id DESC
LIMIT $6::bigint;

--! transfer
-- One movement by its id, posted or not: what waits for approval, or was refused it, has
-- its id already. One statement, so that readable, unreadable and missing cost the same.
-- Before it is posted only the side that pays sees it, and whoever ordered it; its days are
-- then UTC's, and the view's to move into the tenant's zone.
SELECT transfer.id, transfer.kind, transfer.status, transfer.amount, transfer.currency, transfer.from_account_id,
    transfer.to_account_id, transfer.description, transfer.reference, transfer.value_date, transfer.booking_date,
    transfer.posted_at, transfer.created_by, transfer.reverses_transfer_id, reversal.id AS reversed_by_transfer_id,
    approval.id AS approval_id,
    transfer.kind <> 'journal' AND undone.kind IS DISTINCT FROM 'journal' AND EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid
          AND party.account_id IN (transfer.from_account_id, transfer.to_account_id)
          AND customer.user_id = $3::uuid) AS owned
FROM transfers transfer
LEFT JOIN transfers reversal ON reversal.tenant_id = $1::uuid AND reversal.reverses_transfer_id = transfer.id
LEFT JOIN transfers undone ON undone.tenant_id = $1::uuid AND undone.id = transfer.reverses_transfer_id
LEFT JOIN approvals approval ON approval.tenant_id = $1::uuid AND approval.object_id = transfer.id
    AND approval.kind = 'transfer'
WHERE transfer.tenant_id = $1::uuid AND transfer.id = $2::uuid
UNION ALL
SELECT approval.object_id, 'transfer',
    CASE WHEN approval.status = 'pending' AND approval.expires_at > app_now() THEN 'pending_approval'
         WHEN approval.status = 'rejected' THEN 'rejected'
         ELSE 'expired' END,
    approval.amount, approval.currency, approval.from_account_id, approval.to_account_id,
    coalesce(approval.payload ->> 'description', ''), approval.payload ->> 'reference',
    (approval.requested_at AT TIME ZONE 'UTC')::date, (approval.requested_at AT TIME ZONE 'UTC')::date,
    approval.requested_at, approval.requested_by, NULL::uuid, NULL::uuid, approval.id,
    approval.requested_by = $3::uuid OR EXISTS (
        SELECT 1 FROM account_parties party
        JOIN customers customer ON customer.tenant_id = $1::uuid AND customer.id = party.customer_id
        WHERE party.tenant_id = $1::uuid AND party.account_id = approval.from_account_id
          AND customer.user_id = $3::uuid)
FROM approvals approval
WHERE approval.tenant_id = $1::uuid AND approval.object_id = $2::uuid AND approval.kind = 'transfer'
  AND approval.status <> 'approved';

--! due
-- Approvals that the clock has ended and nobody has written so of, the oldest first.
SELECT id FROM approvals
WHERE tenant_id = $1::uuid AND status = 'pending' AND expires_at <= $2::timestamptz
ORDER BY expires_at, id
LIMIT $3::bigint;

--! expire
-- What somebody is deciding just now is left to them: they find it expired themselves.
UPDATE approvals ended
SET status = 'expired', decided_at = $2::timestamptz, version = ended.version + 1
WHERE ended.tenant_id = $1::uuid
  AND ended.id IN (
    SELECT due.id FROM approvals due
    WHERE due.tenant_id = $1::uuid AND due.status = 'pending' AND due.expires_at <= $2::timestamptz
    ORDER BY due.expires_at, due.id
    LIMIT $3::bigint
    FOR UPDATE SKIP LOCKED)
RETURNING ended.id, ended.object_id, ended.requested_by, ended.version;
