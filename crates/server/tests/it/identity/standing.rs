//! What a change of standing takes along: sessions begun with other roles or without a
//! factor, links of people whom staff have locked, keys of machines that nobody answers for.

use identity::{
    Change, Link, LockReason, Method, NewApiKey, NewPasswordByLink, SetupRequest, UserUpdate,
};
use operation::OperationError;
use tenancy::{Blueprint, OpContext};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    factor_world::{Bank, here, totp},
    support::{World, new_user},
};

fn code<T>(outcome: Result<T, OperationError>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(OperationError::Refused(refusal)) => refusal.code.into_owned(),
        Err(error) => panic!("{error}"),
    }
}

async fn bank() -> (World, OpContext) {
    let world = World::new().await;
    let cli = world.tenant("bank", Blueprint::CoreBank).await;
    (world, cli)
}

fn in_role(role: &str) -> UserUpdate {
    UserUpdate { role: Some(role.to_owned()), ..UserUpdate::default() }
}

#[tokio::test]
async fn another_role_ends_every_session_and_the_same_one_ends_none() {
    let (world, cli) = bank().await;
    let user = world.user(&cli, "petr", "customer_service").await;
    let (grant, context) = world.signed_in("bank", "petr").await;
    let (_, other) = world.signed_in("bank", "petr").await;
    let same = world.identity.update_user(&cli, user, None, in_role("customer_service")).await;
    assert_eq!(code(same), "ok");
    let department =
        UserUpdate { department: Change::Set(Some("Branch".to_owned())), ..UserUpdate::default() };
    assert_eq!(code(world.identity.update_user(&cli, user, None, department).await), "ok");
    assert!(world.authenticate(&grant.access_token).await.is_ok(), "nothing of it changed");
    assert_eq!(code(world.identity.update_user(&cli, user, None, in_role("officer")).await), "ok");
    let sql = "SELECT count(*) FROM user_sessions WHERE revocation_reason = 'role_changed'";
    assert_eq!(world.scalar::<i64>(sql).await, 2);
    let refused = world.authenticate(&grant.access_token).await.unwrap_err();
    assert_eq!(refused.code, "token_revoked");
    // What was recognised before is refused as it writes, on any node.
    for stale in [&context, &other] {
        let written = world.another_node().regenerate_backup_codes(stale).await;
        assert_eq!(code(written), "token_revoked");
    }
    let again = world.identity.refresh(&grant.refresh_token, here()).await;
    assert!(again.is_err(), "the family as well");
}

/// A link of a purpose, put into the tables as the service stores it.
async fn link(world: &World, user: Uuid, purpose: &str, kind: &str) -> String {
    let tenant: Uuid = world.scalar("SELECT id FROM tenants WHERE slug = 'bank'").await;
    let token = vault::OpaqueToken::generate(kind, tenant).unwrap();
    let sql = "INSERT INTO one_time_tokens (tenant_id, id, user_id, purpose, token_hash, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6::text::timestamptz)";
    let later = "2100-01-01T00:00:00Z";
    let (id, hash) = (world.clock.new_id(), token.hash());
    world
        .superuser()
        .await
        .execute(sql, &[&tenant, &id, &user, &purpose, &hash.as_slice(), &later])
        .await
        .unwrap();
    token.expose().to_owned()
}

async fn set(world: &World, link: Link, token: &str) -> String {
    let token = Zeroizing::new(token.to_owned());
    let new = Zeroizing::new("Quite-New-77-Battery".to_owned());
    code(world.identity.set_password_by_link(NewPasswordByLink { link, token, new }, here()).await)
}

#[tokio::test]
async fn a_lock_by_staff_outlives_every_link() {
    let (world, cli) = bank().await;
    let user = world.user(&cli, "eva", "customer").await;
    let mut invited = new_user("ivo", "customer");
    invited.password = identity::NewPassword::None;
    let invited = world.identity.create_user(&cli, None, invited).await.unwrap().output.id;
    let reset = link(&world, user, "password_reset", "reset").await;
    let invite = link(&world, invited, "invite", "invite").await;
    let verify = link(&world, user, "email_verification", "verify").await;
    for locked in [user, invited] {
        let lock = world.identity.lock_user(&cli, locked, None, LockReason::SuspectedFraud).await;
        assert_eq!(code(lock), "ok");
    }
    // Begun before the lock, finished under it.
    assert_eq!(set(&world, Link::Reset, &reset).await, "link_invalid");
    assert_eq!(set(&world, Link::Invite, &invite).await, "link_invalid");
    assert_eq!(code(world.identity.verify_email(&verify, here()).await), "link_invalid");
    assert_eq!(code(world.identity.invite_user(&cli, invited).await), "user_locked");
    let locked = "SELECT count(*) FROM users WHERE staff_locked_at IS NOT NULL";
    assert_eq!(world.scalar::<i64>(locked).await, 2, "only staff take it back");
    // Nothing new is sent meanwhile either.
    let request =
        identity::ForgottenPassword { tenant: Some("bank".to_owned()), username: "eva".to_owned() };
    world.identity.forgot_password(request, here()).await.unwrap();
    let refused = "SELECT count(*) FROM audit_log WHERE details ->> 'reason' = 'locked' \
         AND action = 'password.reset_link'";
    for _ in 0..200 {
        if world.scalar::<i64>(refused).await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(world.scalar::<i64>(refused).await, 1);
    // The links were not used up by it: once staff have opened the account they are good.
    for locked in [user, invited] {
        assert_eq!(code(world.identity.unlock_user(&cli, locked, None).await), "ok");
    }
    assert_eq!(set(&world, Link::Reset, &reset).await, "ok");
    assert_eq!(set(&world, Link::Invite, &invite).await, "ok");
}

#[tokio::test]
async fn a_key_works_while_somebody_answers_for_it() {
    let (world, cli) = bank().await;
    let maker = world.user(&cli, "maker", "admin").await;
    world.user(&cli, "second", "admin").await;
    let (_, admin) = world.signed_in_by_factor("bank", "maker").await;
    let (_, second) = world.signed_in_by_factor("bank", "second").await;
    let wish = |name: &str| NewApiKey {
        name: name.to_owned(),
        role: "officer".to_owned(),
        ..NewApiKey::default()
    };
    let kept = world.identity.create_api_key(&admin, wish("kept")).await.unwrap();
    let handed = world.identity.create_api_key(&admin, wish("handed")).await.unwrap();
    let rotation = identity::ApiKeyRotation { overlap_s: Some(3_600), ..Default::default() };
    let rotated =
        world.identity.rotate_api_key(&second, (handed.record.id, None), rotation).await.unwrap();
    let operators = world.identity.create_api_key(&cli, wish("operator's")).await.unwrap();
    let works =
        async |secret: &str| world.another_node().authenticate(secret, here()).await.is_ok();
    for secret in [&kept.secret, &handed.secret, &rotated.secret, &operators.secret] {
        assert!(works(secret).await);
    }
    let machine = world.authenticate(&kept.secret).await.unwrap();
    let disabled = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
    world.identity.update_user(&cli, maker, None, disabled).await.unwrap();
    assert!(!works(&kept.secret).await, "nobody answers for it");
    assert!(!works(&handed.secret).await, "the secret that its maker was shown");
    assert!(works(&rotated.secret).await, "somebody else answers for it");
    assert!(works(&operators.secret).await);
    // A node that still remembers it writes nothing with it.
    let written = world.identity.create_user(&machine, None, new_user("x", "customer")).await;
    assert_eq!(code(written), "token_revoked");
    let enabled = UserUpdate { is_active: Some(true), ..UserUpdate::default() };
    world.identity.update_user(&cli, maker, None, enabled).await.unwrap();
    assert!(works(&kept.secret).await, "a disablement is taken back");
    world.identity.delete_user(&cli, maker, None).await.unwrap();
    let revoked = "SELECT array_agg(name) FROM api_keys WHERE revoked_at IS NOT NULL";
    assert_eq!(world.scalar::<Vec<String>>(revoked).await, ["kept"], "for good");
    assert!(!works(&kept.secret).await && works(&rotated.secret).await);
}

#[tokio::test]
async fn a_first_factor_ends_the_sessions_that_had_none() {
    let bank = Bank::new(100).await;
    bank.user("jana", "customer").await;
    let first = bank.sign_in("jana").await.unwrap().into_tokens().unwrap();
    let stolen = bank.sign_in("jana").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&first).await;
    let (secret, _) = bank.enrol(&context).await;
    assert!(bank.node.authenticate(&first.access_token, here()).await.is_ok());
    let ended = bank.node.authenticate(&stolen.access_token, here()).await.unwrap_err();
    assert_eq!(ended.code, "token_revoked");
    let refreshed = bank.node.refresh(&stolen.refresh_token, here()).await;
    assert!(refreshed.is_err());
    // A second factor ends nothing: whoever adds it has proven the first.
    bank.world.advance_s(90);
    let step = bank.world.clock.now().as_second() / 30;
    let now = Zeroizing::new(totp(&secret, step));
    let stepped = bank.node.step_up(&context, None, now).await.unwrap();
    let change = "UPDATE security_policies SET policy = jsonb_set(policy, '{mfa,methods}', '[\"totp\",\"sms\"]')";
    bank.world.superuser().await.batch_execute(change).await.unwrap();
    bank.world.advance_s(30);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let due = bank.first_step("jana").await;
    let later = totp(&secret, bank.world.clock.now().as_second() / 30);
    let other = bank.verify(&due.token, Some(Method::Totp), &later).await.unwrap().tokens;
    let context = bank.context(&stepped.tokens).await;
    let setup = SetupRequest { method: Method::Sms, name: None };
    bank.node.setup_factor(&context, setup).await.unwrap();
    let sent = Zeroizing::new(bank.sent_code(context.actor.id).await);
    bank.node.confirm_factor(&context, Some(Method::Sms), sent).await.unwrap();
    assert!(bank.node.authenticate(&other.access_token, here()).await.is_ok());
}

#[tokio::test]
async fn a_demotion_ends_the_keys_of_what_was_held() {
    let (world, cli) = bank().await;
    let maker = world.user(&cli, "maker", "admin").await;
    world.user(&cli, "second", "admin").await;
    let (_, admin) = world.signed_in_by_factor("bank", "maker").await;
    let (_, second) = world.signed_in_by_factor("bank", "second").await;
    let wish = |name: &str, role: &str| NewApiKey {
        name: name.to_owned(),
        role: role.to_owned(),
        ..NewApiKey::default()
    };
    let make = async |who: &OpContext, name: &str, role: &str| {
        world.identity.create_api_key(who, wish(name, role)).await.unwrap()
    };
    let mighty = make(&admin, "mighty", "admin").await;
    make(&admin, "low", "officer").await;
    let handed = make(&admin, "handed", "admin").await;
    let rotation = identity::ApiKeyRotation::default();
    let rotated =
        world.identity.rotate_api_key(&second, (handed.record.id, None), rotation).await.unwrap();
    for secret in [&handed.secret, &rotated.secret] {
        world.authenticate(secret).await.unwrap();
    }
    make(&second, "other", "admin").await;
    let machine = world.authenticate(&mighty.secret).await.unwrap();
    let demoted = UserUpdate { role: Some("officer".to_owned()), ..UserUpdate::default() };
    world.identity.update_user(&cli, maker, None, demoted).await.unwrap();
    let ended = "SELECT array_agg(name ORDER BY name) FROM api_keys WHERE revoked_at IS NOT NULL";
    assert_eq!(world.scalar::<Vec<String>>(ended).await, ["mighty"]);
    let written = world.identity.create_user(&machine, None, new_user("x", "customer")).await;
    assert_eq!(code(written), "token_revoked");
    let told = "SELECT count(*) FROM audit_log WHERE action = 'api_key.revoke' \
         AND details ->> 'reason' = 'role_changed'";
    assert_eq!(world.scalar::<i64>(told).await, 1);
    // A read on this node as well, at once.
    let read = world.authenticate(&mighty.secret).await.map(drop);
    assert_eq!(read.unwrap_err().code, "token_revoked");
    // The secret that the demoted were shown of a key that others answer for by now.
    let first = world.authenticate(&handed.secret).await.map(drop);
    assert_eq!(first.unwrap_err().code, "invalid_token");
    assert!(world.authenticate(&rotated.secret).await.is_ok());
    // No key slips in where the demotion is under way as the key is asked for.
    let seconds: Uuid = world.scalar("SELECT id FROM users WHERE username = 'second'").await;
    let mut superuser = world.superuser().await;
    let under_way = superuser.transaction().await.unwrap();
    let lock = "SELECT 1 FROM users WHERE id = $1 FOR UPDATE";
    under_way.execute(lock, &[&seconds]).await.unwrap();
    for sql in [
        "UPDATE users SET role = 'officer' WHERE id = $1",
        "DELETE FROM user_roles WHERE user_id = $1",
        "INSERT INTO user_roles (tenant_id, user_id, role) SELECT tenant_id, id, role FROM users WHERE id = $1",
    ] {
        under_way.execute(sql, &[&seconds]).await.unwrap();
    }
    let (node, asks, wanted) = (world.identity.clone(), second.clone(), wish("racing", "admin"));
    let racing = tokio::spawn(async move { node.create_api_key(&asks, wanted).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND datname = current_database()";
    while world.scalar::<i64>(waits).await == 0 {
        assert!(!racing.is_finished(), "it waits for the demotion");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    under_way.commit().await.unwrap();
    assert_eq!(code(racing.await.unwrap()), "token_revoked");
}
