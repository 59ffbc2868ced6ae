-- Who signed up by themselves, and what they wished for until they have proven the address.
--
-- Anybody may type anybody's address into the form. So the wishes (name, full name, referral
-- code) travel sealed with the link that was sent for them, and become the person's when that
-- link is followed: whoever owns the address decides which form was theirs. Several such links
-- are alive beside each other for that; the first one that is followed ends the others.
ALTER TABLE users ADD COLUMN self_registered boolean NOT NULL DEFAULT false;
GRANT UPDATE (referred_by, self_registered) ON users TO strongroom_app;
GRANT SELECT (self_registered) ON users TO strongroom_auditor;

ALTER TABLE one_time_tokens DROP CONSTRAINT one_time_tokens_payload_of_changes,
    DROP CONSTRAINT one_time_tokens_payload_envelope;
ALTER TABLE one_time_tokens
    ADD CONSTRAINT one_time_tokens_payload_envelope
        CHECK (length(payload_sealed) BETWEEN 90 AND 2000 AND get_byte(payload_sealed, 0) = 1),
    ADD CONSTRAINT one_time_tokens_payload_of_changes CHECK (CASE
        WHEN purpose IN ('email_change', 'phone_change') THEN payload_sealed IS NOT NULL AND payload_index IS NOT NULL
        WHEN purpose = 'invite' THEN payload_index IS NULL
        ELSE payload_sealed IS NULL AND payload_index IS NULL END);

DROP INDEX one_time_tokens_one_live;
-- A person has one live token of a purpose, a newer one voids the older; but for the links of
-- those who sign up.
CREATE UNIQUE INDEX one_time_tokens_one_live ON one_time_tokens (tenant_id, user_id, purpose)
    WHERE used_at IS NULL AND voided_at IS NULL AND (purpose <> 'invite' OR payload_sealed IS NULL);
