--! state
-- What every request of a tenant needs: its policy. Read at most once a second.
SELECT policy FROM security_policies WHERE tenant_id = $1::uuid;

--! find_account
-- By name or by e-mail, under every version of the index that still stands; one statement
-- for both, known or not, so that the work is the same. A name cannot contain '@', so the two never compete.
SELECT account.id, account.username_key, account.password_hash, account.password_changed_at, account.is_active
FROM users account
WHERE account.tenant_id = $1::uuid AND account.deleted_at IS NULL
  AND (account.username_key = $2::text OR account.email_index = ANY ($3::bytea[]))
LIMIT 1;

--! charge
-- Commits on its own before the password is looked at (seed 002's function).
SELECT account_id, may_evaluate, locks, failures, locked_to FROM handle_failed_login($1::text::citext);

--! relax_commit
-- The charge alone need not survive a crash of the server, and without the wait for
-- its flush the charge of a name that exists takes as long as that of one that does not.
SELECT set_config('synchronous_commit', 'off', true);

--! failures_of_address
-- For a node that has just started: the failures it did not see. $2 to $3 are the
-- addresses of one source; a range, because `<<=` finds no index under a parameter.
SELECT created_at FROM login_attempts
WHERE tenant_id = $1::uuid AND ip_address BETWEEN $2::inet AND $3::inet AND outcome NOT IN ('success', 'blocked')
  AND created_at > $4::timestamptz
ORDER BY created_at DESC LIMIT $5::bigint;

--! lock_account
-- Held to the end of the sign-in, so that two of them count each other's sessions
-- and a disablement or password change in between is seen.
SELECT account.username_key, account.password_changed_at, account.is_active,
    account.staff_locked_at IS NOT NULL AS locked_by_staff,
    ARRAY(SELECT held.method FROM get_user_mfa_methods(account.id) held) AS methods,
    ARRAY(SELECT held.role FROM user_roles held
          WHERE held.tenant_id = account.tenant_id AND held.user_id = account.id
          ORDER BY held.role <> account.role, held.role) AS roles
FROM users account
WHERE account.tenant_id = $1::uuid AND account.id = $2::uuid AND account.deleted_at IS NULL
FOR UPDATE;

--! succeed
SELECT 1 AS done FROM (SELECT handle_successful_login($1::text::citext, $2::inet, $3::text)) AS called;

--! note_login
-- As `succeed`, for somebody who showed a passkey: the password's failures stay as they
-- are, or each visit of the owner's would give whoever guesses it new tries.
UPDATE users SET last_login_at = app_now(), last_login_ip = $3::inet
WHERE tenant_id = $1::uuid AND id = $2::uuid AND deleted_at IS NULL;

--! take_back
-- The charges of an attempt whose password was right and whose success could not be
-- recorded. It may come minutes later, and then only for the password that was
-- compared: whoever had an earlier one must not clear the failures of its successor.
WITH account AS MATERIALIZED (
    SELECT username_key FROM users
    WHERE tenant_id = $1::uuid AND username_key = $2::text AND deleted_at IS NULL AND is_active
      AND password_changed_at IS NOT DISTINCT FROM $3::timestamptz
    FOR UPDATE
)
SELECT 1 AS done
FROM account CROSS JOIN LATERAL (SELECT handle_successful_login(account.username_key::citext, $4::inet, $5::text)) AS called;

--! rehash
UPDATE users SET password_hash = $3::text WHERE tenant_id = $1::uuid AND id = $2::uuid;

--! record_attempt
INSERT INTO login_attempts (tenant_id, id, user_id, identifier_index, ip_address, user_agent, outcome)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::bytea, $5::inet, $6::text, $7::text);
