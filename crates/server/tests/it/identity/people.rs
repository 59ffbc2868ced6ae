//! People administered: who may lock, delete and restore whom, what is left of the
//! deleted, and that no tenant loses its last administrator.

use identity::{Change, LockReason, NewPassword, UserFilter, UserUpdate};
use operation::{OperationError, PageRequest};
use tenancy::{Blueprint, OpContext};
use uuid::Uuid;

use super::support::{PASSWORD, World, code, from, new_user};

/// Somebody of each role of a bank, by the role's name with dashes.
async fn staffed(world: &World) -> (OpContext, std::collections::BTreeMap<&'static str, Uuid>) {
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let mut people = std::collections::BTreeMap::new();
    for role in Blueprint::CoreBank.roles() {
        people.insert(*role, world.user(&bank, &name_of(role), role).await);
    }
    (bank, people)
}

fn name_of(role: &str) -> String {
    format!("the-{}", role.replace('_', "-"))
}

fn roles(roles: &[&str]) -> UserUpdate {
    let roles = roles.iter().map(|&role| role.to_owned()).collect();
    UserUpdate { roles: Some(roles), ..UserUpdate::default() }
}

#[tokio::test]
async fn who_may_change_whose_standing_is_a_table() {
    let world = World::new().await;
    let (_, people) = staffed(&world).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    let stranger = world.user(&other, "stranger", "customer").await;
    // actor, upon whom, the refusal of: locking, unlocking, deleting
    let table: [(&str, Uuid, [Option<&str>; 3]); 9] = [
        (
            "customer",
            people["officer"],
            [Some("not_found"), Some("not_found"), Some("permission_denied")],
        ),
        ("officer", people["customer"], [Some("permission_denied"); 3]),
        ("auditor", people["customer"], [Some("permission_denied"); 3]),
        (
            "manager",
            people["admin"],
            [Some("privilege_escalation"), Some("privilege_escalation"), Some("permission_denied")],
        ),
        (
            "manager",
            people["manager"],
            [Some("own_account"), Some("own_account"), Some("permission_denied")],
        ),
        ("admin", people["admin"], [Some("own_account"); 3]),
        ("admin", people["super_admin"], [Some("privilege_escalation"); 3]),
        ("admin", stranger, [Some("not_found"); 3]),
        ("admin", people["customer_service"], [None; 3]),
    ];
    for (actor, user, expected) in table {
        let (_, context) = world.signed_in("bank", &name_of(actor)).await;
        let identity = &world.identity;
        let outcomes = [
            identity.lock_user(&context, user, None, LockReason::Other).await.map(drop),
            identity.unlock_user(&context, user, None).await.map(drop),
            identity.delete_user(&context, user, None).await,
        ];
        for (what, (outcome, expected)) in
            ["lock", "unlock", "delete"].into_iter().zip(outcomes.into_iter().zip(expected))
        {
            match expected {
                Some(expected) => assert_eq!(code(outcome), expected, "{actor}: {what}"),
                None => outcome.unwrap(),
            }
        }
    }
    let (_, admin) = world.signed_in("bank", "the-admin").await;
    let stale = world.identity.lock_user(&admin, people["customer"], Some(9), LockReason::Other);
    assert_eq!(code(stale.await), "version_conflict");
    assert_eq!(
        code(world.identity.delete_user(&admin, people["customer"], Some(9)).await),
        "version_conflict"
    );
}

#[tokio::test]
async fn a_lock_by_staff_closes_the_password_ends_everything_open_and_stays() {
    let world = World::new().await;
    let (bank, people) = staffed(&world).await;
    let alice = people["customer"];
    let (grant, _) = world.signed_in("bank", "the-customer").await;
    let (_, manager) = world.signed_in("bank", "the-manager").await;
    let identity = &world.identity;
    for _ in 0..3 {
        let outcome = world.login("bank", "the-customer", super::support::WRONG).await;
        assert_eq!(code(outcome), "invalid_credentials");
    }
    let locked =
        identity.lock_user(&manager, alice, Some(1), LockReason::SuspectedFraud).await.unwrap();
    assert_eq!((locked.lock_reason.as_deref(), locked.version), (Some("suspected_fraud"), 2));
    assert_eq!(world.authenticate(&grant.access_token).await.unwrap_err().code, "token_revoked");
    let refreshed = identity.refresh(&grant.refresh_token, from("192.0.2.1", "tests")).await;
    assert_eq!(code(refreshed), "token_revoked");
    let evaluated = identity.hash_counts().evaluated;
    let outcome = world.login("bank", "the-customer", PASSWORD).await;
    assert_eq!(code(outcome), "invalid_credentials");
    assert_eq!(identity.hash_counts().evaluated, evaluated, "not even compared");
    // What a right second factor or passkey does to counters does not open it.
    let app = testkit::connect(&world.database.url_as("strongroom_app")).await;
    let succeed = format!(
        "SELECT set_config('app.current_tenant', '{}', false), set_config('app.current_user_id', '*', false); \
         SELECT handle_successful_login('the-customer', '192.0.2.1', 'agent')",
        bank.tenant_id()
    );
    app.batch_execute(&succeed).await.unwrap();
    let is_locked = format!("SELECT is_account_locked('{alice}')");
    assert!(app.query_one(&is_locked, &[]).await.unwrap().get::<_, bool>(0));
    // A year later as well: it has no end.
    world.advance_s(365 * 86_400);
    assert_eq!(code(world.login("bank", "the-customer", PASSWORD).await), "invalid_credentials");
    let (_, manager) = world.signed_in("bank", "the-manager").await;
    let open = identity.unlock_user(&manager, alice, None).await.unwrap();
    assert_eq!((open.lock_reason, open.locked_until), (None, None));
    let counters = format!("SELECT failed_login_attempts FROM users WHERE id = '{alice}'");
    assert_eq!(world.scalar::<i32>(&counters).await, 0);
    world.login("bank", "the-customer", PASSWORD).await.unwrap();
    assert_eq!(world.audited(&bank, "account_lockout").await, 1);
}

#[tokio::test]
async fn unlocking_takes_back_the_lock_of_wrong_passwords() {
    let world = World::new().await;
    let (_, people) = staffed(&world).await;
    for _ in 0..5 {
        let outcome = world.login("bank", "the-customer", super::support::WRONG).await;
        assert_eq!(code(outcome), "invalid_credentials");
    }
    assert_eq!(code(world.login("bank", "the-customer", PASSWORD).await), "invalid_credentials");
    let (_, manager) = world.signed_in("bank", "the-manager").await;
    world.identity.unlock_user(&manager, people["customer"], None).await.unwrap();
    world.login("bank", "the-customer", PASSWORD).await.unwrap();
}

async fn nothing_is_left_of(world: &World, person: Uuid) {
    // table, what must not be there any more
    let gone = [
        ("password_history", "true"),
        ("user_devices", "true"),
        ("notices", "true"),
        ("user_sessions", "revoked_at IS NULL OR ip_address IS NOT NULL OR user_agent IS NOT NULL"),
        ("refresh_tokens", "revoked_at IS NULL"),
        (
            "login_attempts",
            "ip_address IS NOT NULL OR user_agent IS NOT NULL OR identifier_index <> decode(repeat('00', 33), 'hex')",
        ),
    ];
    for (table, condition) in gone {
        let sql =
            format!("SELECT count(*) FROM {table} WHERE user_id = '{person}' AND ({condition})");
        assert_eq!(world.scalar::<i64>(&sql).await, 0, "{table}");
    }
}

#[tokio::test]
async fn the_deleted_are_shredded_and_restored_as_an_empty_shell() {
    let world = World::new().await;
    let (bank, people) = staffed(&world).await;
    let identity = &world.identity;
    let alice = people["customer"];
    let (_, admin) = world.signed_in("bank", "the-admin").await;
    let (grant, _) = world.signed_in("bank", "the-customer").await;
    let _ = world.login("bank", "the-customer", super::support::WRONG).await;
    let key = format!("SELECT key_id::text FROM subject_keys WHERE subject_id = '{alice}'");
    let key_before: String = world.scalar(&key).await;
    identity.delete_user(&admin, alice, Some(1)).await.unwrap();

    let left = format!(
        "SELECT (email_sealed IS NULL AND email_index IS NULL AND phone_sealed IS NULL AND phone_index IS NULL \
             AND full_name_sealed IS NULL AND password_hash IS NULL AND department IS NULL \
             AND last_login_ip IS NULL AND deleted_at IS NOT NULL AND username = 'the-customer') \
         FROM users WHERE id = '{alice}'"
    );
    assert!(world.scalar::<bool>(&left).await);
    nothing_is_left_of(&world, alice).await;
    let shredded = format!(
        "SELECT wrapped_key IS NULL AND shredded_at IS NOT NULL FROM subject_keys WHERE subject_id = '{alice}'"
    );
    assert!(world.scalar::<bool>(&shredded).await);
    assert_eq!(world.authenticate(&grant.access_token).await.unwrap_err().code, "token_revoked");
    assert_eq!(code(world.login("bank", "the-customer", PASSWORD).await), "invalid_credentials");
    assert_eq!(code(identity.user(&admin, alice).await), "not_found");
    assert_eq!(code(identity.delete_user(&admin, alice, None).await), "not_found");
    assert_eq!(code(identity.lock_user(&admin, alice, None, LockReason::Other).await), "not_found");

    let all = PageRequest::default();
    let listed = identity.users(&admin, UserFilter::default(), &all).await.unwrap().data;
    assert!(listed.iter().all(|user| user.id != alice));
    let deleted = UserFilter { deleted: true, ..UserFilter::default() };
    let listed = identity.users(&admin, deleted.clone(), &all).await.unwrap().data;
    assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [alice]);
    assert!(listed[0].deleted_at.is_some());

    // The address is free again; the name, under which they acted, is not.
    let mut namesake = new_user("the-customer", "customer");
    namesake.email = None;
    assert_eq!(code(identity.create_user(&admin, None, namesake).await), "username_taken");
    let mut heir = new_user("heir", "customer");
    heir.email = Some("The-Customer@example.com".to_owned());
    identity.create_user(&admin, None, heir).await.unwrap();

    let (_, manager) = world.signed_in("bank", "the-manager").await;
    assert_eq!(code(identity.restore_user(&manager, alice, None).await), "permission_denied");
    assert_eq!(code(identity.restore_user(&admin, alice, Some(1)).await), "version_conflict");
    assert_eq!(code(identity.restore_user(&admin, people["officer"], None).await), "not_found");
    let restored = identity.restore_user(&admin, alice, Some(2)).await.unwrap();
    assert_eq!(
        (restored.username.as_str(), restored.roles.as_slice(), restored.email, restored.full_name),
        ("the-customer", &["customer".to_owned()][..], None, None)
    );
    assert_eq!(code(world.login("bank", "the-customer", PASSWORD).await), "invalid_credentials");
    assert_ne!(world.scalar::<String>(&key).await, key_before, "a new key, not the old one");
    let kept =
        format!("SELECT count(*) FROM shredded_subject_keys WHERE key_id::text = '{key_before}'");
    assert_eq!(world.scalar::<i64>(&kept).await, 1, "what was erased stays known");
    let email = UserUpdate {
        email: Change::Set(Some("again@example.com".to_owned())),
        ..UserUpdate::default()
    };
    let record = identity.update_user(&admin, alice, None, email).await.unwrap();
    assert_eq!(record.email.as_deref(), Some("again@example.com"));
    assert_eq!(code(identity.restore_user(&admin, alice, None).await), "not_found");
    assert!(world.audited(&bank, "permission_denied").await > 0);
}

/// A table that says something of a person is shredded with them, or stands here.
#[tokio::test]
async fn every_table_about_a_person_is_considered_by_the_shredding() {
    const KEPT: [(&str, &str); 5] = [
        ("client_keys", "public halves of keys, which are good for nothing without a session"),
        ("customers", "the bank's own records, kept as law demands; erased by privacy requests"),
        ("revoked_tokens", "which token was refused until when; nothing personal"),
        ("user_roles", "restoring brings back the roles"),
        ("mfa_reset_requests", "who asked and who agreed; nothing personal"),
    ];
    const SHREDDED: [&str; 15] = [
        "login_attempts",
        "mfa_backup_codes",
        "mfa_challenges",
        "mfa_configs",
        "mfa_verification_attempts",
        "notices",
        "one_time_tokens",
        "password_history",
        "payment_authorisations",
        "refresh_tokens",
        "user_devices",
        "user_sessions",
        "webauthn_challenges",
        "webauthn_credentials",
        "webauthn_users",
    ];
    let world = World::new().await;
    // What a table is divided into is judged with it.
    let sql = "SELECT relname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid \
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
            AND NOT relispartition AND attname = 'user_id' AND NOT attisdropped ORDER BY 1";
    let rows = world.superuser().await.query(sql, &[]).await.unwrap();
    let body: String =
        world.scalar("SELECT prosrc FROM pg_proc WHERE proname = 'shred_user'").await;
    for table in rows.iter().map(|row| row.get::<_, String>(0)) {
        // The log is proof, and carries no personal data but where a request came from.
        if table == "audit_log" || KEPT.iter().any(|(kept, _)| *kept == table) {
            continue;
        }
        assert!(SHREDDED.contains(&table.as_str()), "{table}: is it shredded with its owner?");
        let named = body.contains(&table) || body.contains("revoke_user_sessions");
        assert!(named, "{table} is on the list and not in shred_user");
    }
}

#[tokio::test]
async fn the_last_administrator_stays_whoever_asks() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let admin = world.user(&bank, "admin", "admin").await;
    let identity = &world.identity;
    let off = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
    let demote = || roles(&["officer"]);
    assert_eq!(code(identity.delete_user(&bank, admin, None).await), "last_administrator");
    let lock = identity.lock_user(&bank, admin, None, LockReason::Other).await;
    assert_eq!(code(lock), "last_administrator");
    assert_eq!(code(identity.update_user(&bank, admin, None, off).await), "last_administrator");
    assert_eq!(
        code(identity.update_user(&bank, admin, None, demote()).await),
        "last_administrator"
    );
    // One who is locked or disabled administers nothing.
    let second = world.user(&bank, "second", "admin").await;
    identity.lock_user(&bank, second, None, LockReason::Other).await.unwrap();
    assert_eq!(code(identity.delete_user(&bank, admin, None).await), "last_administrator");
    identity.unlock_user(&bank, second, None).await.unwrap();
    identity.update_user(&bank, admin, None, demote()).await.unwrap();
    assert_eq!(code(identity.delete_user(&bank, second, None).await), "last_administrator");
}

#[tokio::test]
async fn of_administrators_who_remove_each_other_one_stays() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    for round in 0..8 {
        let names = [format!("left-{round}"), format!("right-{round}")];
        let left = world.user(&bank, &names[0], "admin").await;
        let right = world.user(&bank, &names[1], "admin").await;
        if round == 0 {
            // Nobody but the two from here on.
            assert_eq!(world.scalar::<i64>("SELECT count(*) FROM users").await, 2);
        }
        let (_, as_left) = world.signed_in("bank", &names[0]).await;
        let (_, as_right) = world.signed_in("bank", &names[1]).await;
        let (one, two) = tokio::join!(
            world.identity.delete_user(&as_left, right, None),
            world.identity.delete_user(&as_right, left, None),
        );
        let live = "SELECT count(*) FROM users WHERE deleted_at IS NULL AND role = 'admin'";
        let live: i64 = world.scalar(live).await;
        assert!(live >= 1, "round {round}: {one:?} {two:?}");
        assert!(one.is_ok() || two.is_ok(), "round {round}: {one:?} {two:?}");
        // Clear the table for the next two.
        let rest = "UPDATE users SET role = 'officer'; UPDATE user_roles SET role = 'officer'";
        world.superuser().await.batch_execute(rest).await.unwrap();
    }
}

#[tokio::test]
async fn roles_are_given_several_at_a_time_and_never_beyond_ones_own() {
    let world = World::new().await;
    let (bank, people) = staffed(&world).await;
    let officer = people["officer"];
    let (_, admin) = world.signed_in("bank", "the-admin").await;
    let (_, manager) = world.signed_in("bank", "the-manager").await;
    let both = UserUpdate { role: Some("officer".to_owned()), ..roles(&["officer"]) };
    // case, actor, whose, wanted, refusal
    let table = [
        (
            "above one's own",
            &admin,
            officer,
            roles(&["officer", "super_admin"]),
            Some("privilege_escalation"),
        ),
        (
            "more than one holds",
            &manager,
            officer,
            roles(&["officer", "auditor"]),
            Some("privilege_escalation"),
        ),
        (
            "to oneself",
            &admin,
            people["admin"],
            roles(&["admin", "auditor"]),
            Some("permission_denied"),
        ),
        (
            "from oneself",
            &manager,
            people["manager"],
            roles(&["officer"]),
            Some("permission_denied"),
        ),
        (
            "from the mightier",
            &manager,
            people["admin"],
            roles(&["officer"]),
            Some("privilege_escalation"),
        ),
        ("unknown", &admin, officer, roles(&["officer", "king"]), Some("unknown_role")),
        ("none", &admin, officer, roles(&[]), Some("validation_failed")),
        ("twice", &admin, officer, roles(&["officer", "officer"]), Some("validation_failed")),
        ("both ways", &admin, officer, both, Some("validation_failed")),
        ("two", &admin, officer, roles(&["auditor", "officer"]), None),
    ];
    for (case, actor, user, update, expected) in table {
        let outcome = world.identity.update_user(actor, user, None, update).await;
        match expected {
            Some(expected) => assert_eq!(code(outcome), expected, "{case}"),
            None => assert_eq!(outcome.unwrap().roles, ["auditor", "officer"], "{case}"),
        }
    }
    // The manager could give each alone of what an officer is, but not take an auditor's.
    let outcome = world.identity.update_user(&manager, officer, None, roles(&["officer"])).await;
    assert_eq!(code(outcome), "privilege_escalation");
    let record = world.identity.update_user(&admin, officer, None, roles(&["officer"])).await;
    assert_eq!(record.unwrap().roles, ["officer"]);
    assert_eq!(world.audited(&bank, "role_change").await, 2);
}

#[tokio::test]
async fn an_address_is_searched_for_by_its_index_alone() {
    let world = World::new().await;
    let (bank, people) = staffed(&world).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    world.user(&other, "abroad", "customer").await;
    let (_, officer) = world.signed_in("bank", "the-officer").await;
    let (_, customer) = world.signed_in("bank", "the-customer").await;
    let customer_id = people["customer"];
    let filter =
        |email: &str| UserFilter { email: Some(email.to_owned()), ..UserFilter::default() };
    // who, address, found
    let table = [
        (&officer, " THE-customer@example.COM ", vec![customer_id]),
        (&officer, "nobody@example.com", vec![]),
        (&officer, "abroad@example.com", vec![]),
        (&customer, "the-customer@example.com", vec![customer_id]),
        (&customer, "the-officer@example.com", vec![]),
    ];
    for (actor, email, expected) in table {
        let found = world.identity.users(actor, filter(email), &PageRequest::default()).await;
        let found: Vec<_> = found.unwrap().data.iter().map(|user| user.id).collect();
        assert_eq!(found, expected, "{email}");
    }
    for malformed in ["", "no-address", "a@b", "a@example.com\0"] {
        let outcome =
            world.identity.users(&officer, filter(malformed), &PageRequest::default()).await;
        let Err(OperationError::Refused(refusal)) = outcome else {
            panic!("{malformed:?} accepted")
        };
        assert_eq!(
            (refusal.code.as_ref(), refusal.errors[0].field.as_ref()),
            ("invalid_value", "email"),
            "{malformed:?}"
        );
    }
    let operations = world.identity.operations();
    operations.access_log().flush(operations.database(), true).await.unwrap();
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'user.list' AND details::text LIKE '%by_email%'";
    assert!(world.scalar::<i64>(sql).await > 0, "the search leaves a record");
    let sql =
        "SELECT count(*) FROM audit_log WHERE convert_from(record, 'UTF8') ILIKE '%example.com%'";
    assert_eq!(world.scalar::<i64>(sql).await, 0, "and the record no address");
    drop(bank);
}

#[tokio::test]
async fn staff_see_and_end_others_sessions_as_policy_says() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::DigitalBank).await;
    let other = world.tenant("other", Blueprint::DigitalBank).await;
    for role in Blueprint::DigitalBank.roles() {
        world.user(&bank, &name_of(role), role).await;
    }
    let alice = world.user(&bank, "alice", "customer").await;
    let stranger = world.user(&other, "stranger", "customer").await;
    let (first, as_alice) = world.signed_in("bank", "alice").await;
    let (second, _) = world.signed_in("bank", "alice").await;
    let (_, admin) = world.signed_in("bank", "the-admin").await;
    let (_, support) = world.signed_in("bank", "the-support").await;
    let (_, officer) = world.signed_in("bank", "the-compliance-officer").await;
    let (_, neighbour) = world.signed_in("bank", "the-customer").await;
    let page = PageRequest::default();
    let identity = &world.identity;
    // who, whose, the refusal of reading, of ending
    let table = [
        ("officer", &officer, alice, Some("permission_denied"), Some("permission_denied")),
        ("neighbour", &neighbour, alice, Some("not_found"), Some("not_found")),
        ("support", &support, alice, None, Some("permission_denied")),
        ("admin of another's", &admin, stranger, Some("not_found"), Some("not_found")),
    ];
    for (case, actor, user, reading, ending) in table {
        let read = identity.sessions_of(actor, user, &page).await;
        match reading {
            Some(expected) => assert_eq!(code(read.map(drop)), expected, "{case}"),
            None => assert_eq!(read.unwrap().data.len(), 2, "{case}"),
        }
        let ended = identity.end_sessions_of(actor, user, None).await;
        assert_eq!(Some(code(ended).as_str()), ending, "{case}");
    }
    assert_eq!(identity.sessions_of(&as_alice, alice, &page).await.unwrap().data.len(), 2);
    let foreign = identity.end_sessions_of(&admin, alice, support.session.map(|id| id.0)).await;
    assert_eq!(code(foreign), "not_found");
    let ended = identity.end_sessions_of(&admin, alice, Some(first.session_id)).await.unwrap();
    assert_eq!(ended, 1);
    assert_eq!(world.authenticate(&first.access_token).await.unwrap_err().code, "token_revoked");
    world.authenticate(&second.access_token).await.unwrap();
    assert_eq!(identity.end_sessions_of(&admin, alice, None).await.unwrap(), 1);
    assert_eq!(world.authenticate(&second.access_token).await.unwrap_err().code, "token_revoked");
    // Looking at where somebody signs in from is an access to personal data.
    let sql =
        "SELECT count(*) FROM audit_log WHERE action = 'session.list' AND resource_id IS NOT NULL";
    assert!(world.scalar::<i64>(sql).await >= 2);
}

#[tokio::test]
async fn one_who_is_restored_is_invited_anew() {
    let world = World::new().await;
    let (bank, people) = staffed(&world).await;
    let identity = &world.identity;
    identity.delete_user(&bank, people["officer"], None).await.unwrap();
    identity.restore_user(&bank, people["officer"], None).await.unwrap();
    // Twice over, so that keys are replaced more than once.
    identity.delete_user(&bank, people["officer"], None).await.unwrap();
    identity.restore_user(&bank, people["officer"], None).await.unwrap();
    let kept = format!(
        "SELECT count(*) FROM shredded_subject_keys WHERE subject_id = '{}'",
        people["officer"]
    );
    assert_eq!(world.scalar::<i64>(&kept).await, 2);
    let mut without = new_user("shell", "customer");
    without.password = NewPassword::None;
    let shell = identity.create_user(&bank, None, without).await.unwrap().output;
    identity.delete_user(&bank, shell.id, None).await.unwrap();
    assert_eq!(identity.restore_user(&bank, shell.id, None).await.unwrap().id, shell.id);
}

#[tokio::test]
async fn what_becomes_of_somebody_is_published_at_the_version_it_led_to() {
    let world = World::new().await;
    let (bank, _) = staffed(&world).await;
    let identity = &world.identity;
    let alice = world.user(&bank, "alice", "customer").await;
    let mut expected = vec![("user.created".to_owned(), 1_i64)];
    let mut told = |name: &str, version: i64| expected.push((name.to_owned(), version));
    let promoted = identity.update_user(&bank, alice, None, roles(&["officer"])).await.unwrap();
    told("user.updated", promoted.version);
    // What keeps nobody out is not taken away, and tells nothing.
    let open = identity.unlock_user(&bank, alice, None).await.unwrap();
    assert_eq!(open.version, promoted.version);
    let locked = identity.lock_user(&bank, alice, None, LockReason::Other).await.unwrap();
    told("user.locked", locked.version);
    let unlocked = identity.unlock_user(&bank, alice, None).await.unwrap();
    told("user.unlocked", unlocked.version);
    identity.delete_user(&bank, alice, None).await.unwrap();
    told("user.deleted", unlocked.version + 1);
    let restored = identity.restore_user(&bank, alice, None).await.unwrap();
    told("user.restored", restored.version);
    let sql = "SELECT waiting.event_type, waiting.sequence, record.new_values::text, \
            record.new_values -> 'roles' = '[\"officer\"]' \
        FROM event_outbox waiting JOIN audit_log record USING (tenant_id, event_id) \
        WHERE waiting.object_id = $1 ORDER BY waiting.sequence";
    let rows = world.superuser().await.query(sql, &[&alice]).await.unwrap();
    let published: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(published, expected);
    assert_eq!(rows[1].get::<_, Option<bool>>(3), Some(true), "roles say what changed");
    for row in &rows {
        let told: Option<String> = row.get(2);
        let told = told.unwrap_or_default();
        assert!(!told.contains("Žofie") && !told.contains("xample.com"), "{told}");
    }
}
