//! Second factors, and what guessing, replaying and mixing them up gets.

use identity::{Method, Regenerate, SetupRequest, SignIn};
use tenancy::Blueprint;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::harness::another_factor;

use super::{
    factor_world::{Bank, here, presented, totp},
    support::{PASSWORD, WRONG, code, from, new_user, request},
};

const TOTP: Option<Method> = Some(Method::Totp);
const BACKUP: Option<Method> = Some(Method::Backup);

#[tokio::test]
async fn a_factor_counts_from_its_first_code_on_and_sign_in_then_asks_for_it() {
    let bank = Bank::new(1_000).await;
    bank.user("alice", "customer").await;
    let grant = bank.sign_in("alice").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&grant).await;
    let request = || SetupRequest { method: Method::Totp, name: Some("My phone".to_owned()) };
    let abandoned = bank.node.setup_factor(&context, request()).await.unwrap().app.unwrap();
    let app = bank.node.setup_factor(&context, request()).await.unwrap().app.unwrap();
    assert_ne!(*abandoned.manual_key, *app.manual_key);
    assert!(app.uri.starts_with("otpauth://totp/UltraCore:alice?secret="), "{}", *app.uri);
    assert!(app.uri.contains(app.manual_key.as_str()) && app.uri.ends_with("&period=30"));
    assert!(app.png.starts_with(b"\x89PNG") && app.svg.contains("<svg"));
    // Not before its first code, and not by the secret that was abandoned.
    bank.sign_in("alice").await.unwrap().into_tokens().unwrap();
    for wrong in [bank.code(&abandoned.manual_key), "000000x".to_owned(), String::new()] {
        let confirmed = bank.node.confirm_factor(&context, None, Zeroizing::new(wrong)).await;
        assert_eq!(code(confirmed), "invalid_code");
    }
    let right = Zeroizing::new(bank.code(&app.manual_key));
    let confirmed = bank.node.confirm_factor(&context, None, right.clone()).await.unwrap();
    assert_eq!((confirmed.method, confirmed.backup_codes.len()), (Method::Totp, 10));
    let again = bank.node.confirm_factor(&context, None, right.clone()).await;
    assert_eq!(code(again), "step_up_required", "the session proved no factor");
    let due = bank.first_step("alice").await;
    assert_eq!(due.methods, [Method::Totp, Method::Backup]);
    assert!(!due.enrolment_required);
    // The step that confirmed is used up.
    assert_eq!(code(bank.verify(&due.token, TOTP, &right).await), "invalid_code");
    bank.world.advance_s(30);
    let next = bank.code(&app.manual_key);
    let step = bank.verify(&due.token, None, &next).await.unwrap();
    assert_eq!((step.proven.method, step.proven.regenerate()), (Method::Totp, None));
    let me = bank.node.me(&bank.context(&step.tokens).await).await.unwrap();
    assert!(me.mfa_enabled);
    let sql = "SELECT count(*) FROM user_sessions WHERE mfa_level = 1 AND mfa_at IS NOT NULL";
    assert_eq!(bank.count(sql).await, 1);
    let told = "SELECT count(*) FROM notices WHERE template = 'factor_added'";
    assert_eq!(bank.count(told).await, 1);
    let stored = "SELECT count(*) FROM mfa_configs WHERE position($1 in encode(secret_sealed, 'escape')) > 0";
    let superuser = bank.world.superuser().await;
    let plain: i64 = superuser.query_one(stored, &[&*app.manual_key]).await.unwrap().get(0);
    assert_eq!(plain, 0, "the secret is sealed");
}

#[tokio::test]
async fn a_code_is_good_once_whichever_sign_in_it_is_for() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let (first, second) = (bank.first_step("alice").await, bank.first_step("alice").await);
    let now = bank.code(&alice.secret);
    bank.verify(&first.token, TOTP, &now).await.unwrap();
    assert_eq!(code(bank.verify(&second.token, TOTP, &now).await), "invalid_code");
    assert_eq!(code(bank.verify(&first.token, TOTP, &now).await), "invalid_token", "used up");
    // An earlier step is as good as used, even in the window.
    let earlier = bank.code_in(&alice.secret, -1);
    assert_eq!(code(bank.verify(&second.token, TOTP, &earlier).await), "invalid_code");
    bank.verify(&second.token, TOTP, &bank.code_in(&alice.secret, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_parallel_uses_of_one_code_sign_in_once() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(bank.first_step("alice").await.token);
    }
    let now = bank.code(&alice.secret);
    let tries: Vec<_> = (0..20)
        .map(|number| {
            let (node, presented) =
                (bank.node.clone(), presented(&tokens[number % 10], TOTP, &now));
            tokio::spawn(async move { node.verify_factor(presented, here()).await })
        })
        .collect();
    let mut entered = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(_) => entered += 1,
            refused => {
                let said = code(refused);
                assert!(
                    ["invalid_code", "invalid_token", "account_locked"].contains(&&*said),
                    "{said}"
                );
            }
        }
    }
    assert_eq!(entered, 1);
    assert_eq!(bank.attempts("success").await, 2, "one of them is the enrolment's");
    let live = "SELECT count(*) FROM user_sessions WHERE mfa_level = 1";
    assert_eq!(bank.count(live).await, 1);
}

#[tokio::test]
async fn one_step_either_way_is_accepted_and_two_are_not() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    for (steps, accepted) in [(-2, false), (2, false), (-1, true), (1, true)] {
        bank.world.advance_s(300);
        let due = bank.first_step("alice").await;
        let outcome = bank.verify(&due.token, TOTP, &bank.code_in(&alice.secret, steps)).await;
        assert_eq!(outcome.is_ok(), accepted, "{steps} steps away: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_uses_of_one_backup_code_sign_in_once() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let token = bank.first_step("alice").await.token;
    let typed = alice.backup_codes[3].to_lowercase().replace('-', " ");
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (node, presented) = (bank.node.clone(), presented(&token, None, &typed));
            tokio::spawn(async move { node.verify_factor(presented, here()).await })
        })
        .collect();
    let mut left = Vec::new();
    for attempt in tries {
        if let Ok(step) = attempt.await.unwrap() {
            assert_eq!(step.proven.regenerate(), Some(Regenerate::Advised));
            left.push(step.proven.backup_codes_left);
        }
    }
    assert_eq!(left, [Some(9)]);
    let used = "SELECT count(*) FROM mfa_backup_codes WHERE used_at IS NOT NULL";
    assert_eq!(bank.count(used).await, 1);
    let told = "SELECT count(*) FROM notices WHERE template = 'backup_code_used'";
    assert_eq!(bank.count(told).await, 1);
}

#[tokio::test]
async fn at_two_backup_codes_new_ones_are_due_and_replace_the_set() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let mut context = None;
    for (used, backup) in alice.backup_codes.iter().take(8).enumerate() {
        let due = bank.first_step("alice").await;
        let step = bank.verify(&due.token, BACKUP, backup).await.unwrap();
        let expected = if used < 7 { Regenerate::Advised } else { Regenerate::Required };
        assert_eq!(step.proven.regenerate(), Some(expected), "after {}", used + 1);
        bank.world.advance_s(1);
        context = Some(bank.context(&step.tokens).await);
    }
    let fresh = bank.node.regenerate_backup_codes(&context.unwrap()).await.unwrap();
    assert_eq!(fresh.len(), 10);
    let due = bank.first_step("alice").await;
    let old = bank.verify(&due.token, BACKUP, &alice.backup_codes[9]).await;
    assert_eq!(code(old), "invalid_code");
    bank.verify(&due.token, BACKUP, &fresh[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_guesses_compare_no_more_than_five() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let token = bank.first_step("alice").await.token;
    let guesses: Vec<_> = (0..200)
        .map(|number| {
            let presented = presented(&token, TOTP, &format!("{number:06}"));
            let node = bank.node.clone();
            tokio::spawn(async move { node.verify_factor(presented, here()).await })
        })
        .collect();
    for guess in guesses {
        let said = code(guess.await.unwrap());
        assert!(["invalid_code", "account_locked"].contains(&&*said), "{said}");
    }
    assert_eq!((bank.attempts("wrong").await, bank.attempts("locked").await), (5, 195));
    assert_eq!(bank.world.audited(&bank.cli, "account_lockout").await, 1);
    let told = "SELECT count(*) FROM notices WHERE template = 'account_locked'";
    assert_eq!(bank.count(told).await, 1);
    // Locked, the right code is not even looked at; it is good once the lock is over.
    bank.world.advance_s(240);
    let right = bank.verify(&token, TOTP, &bank.code(&alice.secret)).await;
    assert_eq!(code(right), "account_locked");
    bank.world.advance_s(11 * 60 + 1);
    let due = bank.first_step("alice").await;
    bank.verify(&due.token, TOTP, &bank.code(&alice.secret)).await.unwrap();
    assert_eq!(bank.count("SELECT mfa_failed_attempts::bigint FROM users").await, 0);
}

#[tokio::test]
async fn three_attempts_a_minute_are_made_and_the_fourth_waits() {
    let bank = Bank::new(3).await;
    let alice = bank.holder("alice", "customer").await;
    let due = bank.first_step("alice").await;
    for _ in 0..3 {
        assert_eq!(code(bank.verify(&due.token, TOTP, "000000").await), "invalid_code");
    }
    let right = bank.verify(&due.token, TOTP, &bank.code(&alice.secret)).await;
    assert_eq!(code(right), "rate_limited");
    bank.world.advance_s(61);
    bank.verify(&due.token, TOTP, &bank.code(&alice.secret)).await.unwrap();
}

#[tokio::test]
async fn a_pending_token_that_is_no_good_gets_one_answer_whatever_is_wrong() {
    let bank = Bank::of(Blueprint::CoreBank, 1_000, "{auditor}").await;
    let alice = bank.holder("alice", "customer").await;
    bank.user("audrey", "auditor").await;
    let (grant, _) = bank.signed_in(&alice).await;
    let enrolment = bank.first_step("audrey").await;
    let used = bank.first_step("alice").await;
    bank.verify(&used.token, TOTP, &bank.code(&alice.secret)).await.unwrap();
    let expired = bank.first_step("alice").await;
    bank.world.advance_s(5 * 60 + 1);
    let live = bank.first_step("alice").await;
    let right = bank.code(&alice.secret);
    let mut answers = std::collections::HashSet::new();
    let broken = format!("{}x", *live.token);
    let other_kind = live.token.replacen("mfa_", "enrol_", 1);
    let wrong = [
        "",
        "nonsense",
        &broken,
        &other_kind,
        &enrolment.token,
        &used.token,
        &expired.token,
        &grant.refresh_token,
        &grant.access_token,
    ];
    for token in wrong {
        let Err(operation::OperationError::Refused(refusal)) =
            bank.verify(token, TOTP, &right).await
        else {
            panic!("{token} was good for something")
        };
        answers.insert(serde_json::to_string(&refusal).unwrap());
    }
    // The right one, from another device.
    let elsewhere = bank
        .node
        .verify_factor(presented(&live.token, TOTP, &right), from("192.0.2.1", "another"))
        .await;
    let Err(operation::OperationError::Refused(refusal)) = elsewhere else { panic!("let in") };
    answers.insert(serde_json::to_string(&refusal).unwrap());
    assert_eq!(answers.len(), 1, "{answers:?}");
    // A sign-in's is no enrolment's, nor anything else's.
    let setup = SetupRequest { method: Method::Totp, name: None };
    let crossed = bank.node.setup_required_factor(&live.token, setup.clone(), here()).await;
    assert_eq!(code(crossed), "invalid_token");
    let typed = (TOTP, Zeroizing::new(right.clone()));
    let crossed = bank.node.confirm_required_factor(&live.token, typed, here()).await;
    assert_eq!(code(crossed.map(drop)), "invalid_token");
    assert_eq!(code(bank.node.refresh(&live.token, here()).await), "invalid_token");
    assert!(bank.node.authenticate(&live.token, here()).await.is_err());
    assert!(bank.node.authenticate_cookie(&live.token, here()).await.is_err());
    // A browser's is no client's.
    let browser = bank.node.verify_console_factor(presented(&live.token, TOTP, &right), here());
    assert_eq!(code(browser.await), "invalid_token");
    bank.verify(&live.token, TOTP, &right).await.unwrap();
}

#[tokio::test]
async fn whatever_ends_an_account_ends_what_is_pending() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    // Locked by wrong passwords between the two steps.
    let due = bank.first_step("alice").await;
    for _ in 0..5 {
        let wrong = bank.node.login(request("bank", "alice", WRONG), here()).await;
        assert_eq!(code(wrong), "invalid_credentials");
    }
    let now = bank.code(&alice.secret);
    assert_eq!(code(bank.verify(&due.token, TOTP, &now).await), "account_locked");
    assert_eq!(code(bank.sign_in("alice").await), "invalid_credentials", "says nothing of it");
    bank.world.advance_s(30 * 60 + 1);
    // Another password between the two steps.
    let due = bank.first_step("alice").await;
    let sql = "UPDATE users SET password_changed_at = password_changed_at + interval '1 second'";
    bank.world.superuser().await.batch_execute(sql).await.unwrap();
    let now = bank.code(&alice.secret);
    assert_eq!(code(bank.verify(&due.token, TOTP, &now).await), "invalid_token");
    // Disabled between the two steps.
    let due = bank.first_step("alice").await;
    let off = identity::UserUpdate { is_active: Some(false), ..identity::UserUpdate::default() };
    bank.node.update_user(&bank.cli, alice.id, None, off).await.unwrap();
    assert_eq!(code(bank.verify(&due.token, TOTP, &now).await), "invalid_token");
}

#[tokio::test]
async fn a_right_password_gives_its_charges_back_and_is_no_sign_in_yet() {
    let bank = Bank::new(1_000).await;
    bank.holder("alice", "customer").await;
    let sign_ins = bank.world.audited(&bank.cli, "login").await;
    let before = "SELECT extract(epoch FROM last_login_at)::bigint FROM users";
    let last = bank.count(before).await;
    for _ in 0..9 {
        bank.first_step("alice").await;
    }
    assert_eq!(bank.count("SELECT failed_login_attempts::bigint FROM users").await, 0);
    assert_eq!(bank.count(before).await, last);
    assert_eq!(bank.world.audited(&bank.cli, "login").await, sign_ins);
}

#[tokio::test]
async fn codes_are_sent_to_the_address_that_was_confirmed_and_serve_one_challenge() {
    let bank = Bank::of(Blueprint::DigitalBank, 1_000, "{}").await;
    let alice = bank.user("alice", Blueprint::DigitalBank.roles().last().unwrap()).await;
    let grant = bank.sign_in("alice").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&grant).await;
    let setup = |method| SetupRequest { method, name: None };
    bank.node.setup_factor(&context, setup(Method::Email)).await.unwrap();
    let sent = bank.sent_code(alice).await;
    let confirmed = bank
        .node
        .confirm_factor(&context, Some(Method::Email), Zeroizing::new(sent.clone()))
        .await
        .unwrap();
    assert_eq!(confirmed.backup_codes.len(), 10);
    let (first, second) = (bank.first_step("alice").await, bank.first_step("alice").await);
    assert_eq!(first.methods, [Method::Email, Method::Backup]);
    let email = Some(Method::Email);
    assert_eq!(code(bank.verify(&first.token, email, &sent).await), "invalid_code", "used up");
    bank.node.send_factor_code(&first.token, Method::Email, here()).await.unwrap();
    let sent = bank.sent_code(alice).await;
    assert_eq!(code(bank.verify(&second.token, email, &sent).await), "invalid_code", "not its own");
    bank.verify(&first.token, email, &sent).await.unwrap();
    // Sent again, the earlier one is void; past five minutes, the later one as well.
    bank.node.send_factor_code(&second.token, Method::Email, here()).await.unwrap();
    let earlier = bank.sent_code(alice).await;
    bank.world.advance_s(1);
    bank.node.send_factor_code(&second.token, Method::Email, here()).await.unwrap();
    let later = bank.sent_code(alice).await;
    if earlier != later {
        assert_eq!(code(bank.verify(&second.token, email, &earlier).await), "invalid_code");
    }
    bank.world.advance_s(5 * 60 - 1);
    assert_eq!(code(bank.verify(&second.token, email, &later).await), "invalid_token");
    let third = bank.first_step("alice").await;
    let other = bank.node.send_factor_code(&third.token, Method::Sms, here()).await;
    assert_eq!(code(other), "method_unavailable", "never enrolled");
}

#[tokio::test]
async fn five_codes_in_a_quarter_of_an_hour_are_sent_and_no_more() {
    let bank = Bank::of(Blueprint::DigitalBank, 1_000, "{}").await;
    let alice = bank.user("alice", Blueprint::DigitalBank.roles().last().unwrap()).await;
    let grant = bank.sign_in("alice").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&grant).await;
    let setup = SetupRequest { method: Method::Sms, name: None };
    bank.node.setup_factor(&context, setup).await.unwrap();
    let sent = Zeroizing::new(bank.sent_code(alice).await);
    bank.node.confirm_factor(&context, Some(Method::Sms), sent).await.unwrap();
    for _ in 0..4 {
        let due = bank.first_step("alice").await;
        bank.node.send_factor_code(&due.token, Method::Sms, here()).await.unwrap();
    }
    let due = bank.first_step("alice").await;
    let sixth = bank.node.send_factor_code(&due.token, Method::Sms, here()).await;
    assert_eq!(code(sixth), "rate_limited");
}

#[tokio::test]
async fn a_role_that_requires_a_factor_enrols_one_before_anything_else() {
    let bank = Bank::of(Blueprint::CoreBank, 1_000, "{auditor}").await;
    bank.user("audrey", "auditor").await;
    let due = bank.first_step("audrey").await;
    assert!(due.enrolment_required && due.methods.is_empty());
    let spare = bank.first_step("audrey").await;
    let setup = || SetupRequest { method: Method::Totp, name: None };
    let app = bank.node.setup_required_factor(&due.token, setup(), here()).await.unwrap();
    let secret = app.app.unwrap().manual_key;
    let typed = |code: String| (None, Zeroizing::new(code));
    let wrong = bank.node.confirm_required_factor(&due.token, typed("1".to_owned()), here()).await;
    assert_eq!(code(wrong.map(drop)), "invalid_code");
    let now = bank.code(&secret);
    let confirmed = bank.node.confirm_required_factor(&due.token, typed(now), here()).await;
    let (confirmed, tokens) = confirmed.unwrap();
    assert_eq!(confirmed.backup_codes.len(), 10);
    let context = bank.context(&tokens).await;
    // Whoever has one by now proves it: neither token enrols another.
    for token in [&due.token, &spare.token] {
        let again = bank.node.setup_required_factor(token, setup(), here()).await;
        assert_eq!(code(again), "invalid_token");
    }
    let factors = bank.node.factors(&context).await.unwrap();
    let only = factors[0].id.unwrap();
    assert_eq!(code(bank.node.remove_factor(&context, (only, None)).await), "last_factor");
    bank.world.advance_s(60);
    let due = bank.first_step("audrey").await;
    assert_eq!(due.methods, [Method::Totp, Method::Backup]);
    bank.verify(&due.token, TOTP, &bank.code(&secret)).await.unwrap();
}

#[tokio::test]
async fn stepping_up_puts_another_session_in_the_place_of_the_one_that_asked() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let mallory = bank.holder("mallory", "customer").await;
    let (grant, context) = bank.signed_in(&alice).await;
    let factor = bank.node.factors(&context).await.unwrap()[0].id.unwrap();
    bank.world.advance_s(5 * 60);
    // Everything that is sensitive asks for a factor used lately.
    assert_eq!(code(bank.node.remove_factor(&context, (factor, None)).await), "step_up_required");
    assert_eq!(code(bank.node.regenerate_backup_codes(&context).await), "step_up_required");
    let setup = SetupRequest { method: Method::Totp, name: None };
    assert_eq!(code(bank.node.setup_factor(&context, setup).await), "step_up_required");
    let wrong = bank.node.step_up(&context, None, Zeroizing::new("000000".to_owned())).await;
    assert_eq!(code(wrong), "invalid_code");
    let now = Zeroizing::new(bank.code(&alice.secret));
    let stepped = bank.node.step_up(&context, None, now.clone()).await.unwrap();
    assert_eq!(code(bank.node.step_up(&context, None, now).await), "token_revoked");
    // What was good before is good for nothing.
    assert!(bank.node.authenticate(&grant.access_token, here()).await.is_err());
    assert_eq!(code(bank.node.refresh(&grant.refresh_token, here()).await), "token_revoked");
    assert_ne!(stepped.tokens.session_id, grant.session_id);
    let ends = "SELECT count(DISTINCT absolute_expires_at) FROM user_sessions WHERE id IN ";
    let both = format!("{ends}('{}', '{}')", grant.session_id, stepped.tokens.session_id);
    assert_eq!(bank.count(&both).await, 1, "no session is prolonged by it");
    let context = bank.context(&stepped.tokens).await;
    // Another's factor is not found, by whoever.
    let (_, theirs) = bank.signed_in(&mallory).await;
    assert_eq!(code(bank.node.remove_factor(&theirs, (factor, None)).await), "not_found");
    assert_eq!(code(bank.node.rename_factor(&theirs, (factor, None), "Mine").await), "not_found");
    bank.node.rename_factor(&context, (factor, None), "Old phone").await.unwrap();
    assert_eq!(bank.node.factors(&context).await.unwrap()[0].name, "Old phone");
    for name in ["", " ", "a\u{0}b", &"x".repeat(65)] {
        let renamed = bank.node.rename_factor(&context, (factor, None), name).await;
        assert_eq!(code(renamed), "validation_failed", "{name:?}");
    }
    // The only one stays, whoever asks; the codes live as long as any factor does.
    assert_eq!(code(bank.node.remove_factor(&context, (factor, None)).await), "last_factor");
    another_factor(&bank.world.superuser().await, bank.cli.tenant_id(), "alice").await;
    bank.node.remove_factor(&context, (factor, None)).await.unwrap();
    let left = bank.node.factors(&context).await.unwrap();
    assert!(left.iter().all(|left| left.id != Some(factor)), "{left:?}");
    let left = format!("SELECT count(*) FROM mfa_backup_codes WHERE user_id = '{}'", alice.id);
    assert_eq!(bank.count(&left).await, 10);
    let told = "SELECT count(*) FROM notices WHERE template = 'factor_removed'";
    assert_eq!(bank.count(told).await, 1);
}

#[tokio::test]
async fn a_reset_takes_two_admins_and_never_the_person() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let mut admins = Vec::new();
    for name in ["adam", "anna"] {
        bank.user(name, "admin").await;
        let grant = bank.sign_in(name).await.unwrap().into_tokens().unwrap();
        admins.push(bank.context(&grant).await);
        bank.world.advance_s(1);
    }
    let (adam, anna) = (&admins[0], &admins[1]);
    let (_, own) = bank.signed_in(&alice).await;
    let ask = |context| bank.node.request_factor_reset(context, alice.id);
    let confirm = |context, request| bank.node.confirm_factor_reset(context, (alice.id, request));
    assert_eq!(code(confirm(anna, Uuid::nil()).await), "not_found", "nobody asked");
    assert_eq!(code(ask(&own).await), "permission_denied");
    assert_eq!(
        code(bank.node.request_factor_reset(adam, adam.actor.id).await),
        "permission_denied"
    );
    assert_eq!(code(ask(&bank.cli).await), "permission_denied", "only people decide");
    let asked = ask(adam).await.unwrap();
    assert_eq!((asked.status, asked.output.requested_by), (202, adam.actor.id));
    assert_eq!(code(ask(anna).await), "reset_pending");
    assert_eq!(code(confirm(adam, asked.output.id).await), "permission_denied", "the same eyes");
    assert_eq!(code(confirm(&own, asked.output.id).await), "permission_denied");
    bank.world.advance_s(24 * 3_600 + 1);
    let mut fresh = Vec::new();
    for name in ["adam", "anna"] {
        let grant = bank.sign_in(name).await.unwrap().into_tokens().unwrap();
        fresh.push(bank.context(&grant).await);
        bank.world.advance_s(1);
    }
    assert_eq!(code(confirm(&fresh[1], asked.output.id).await), "not_found", "a day is over");
    let asked_late = asked.output.id;
    let asked = ask(&fresh[0]).await.unwrap().output.id;
    // A login that one of them made is in the same hand.
    let puppet = bank.node.create_user(&fresh[0], None, new_user("puppet", "admin")).await;
    let puppet = puppet.unwrap().output.username;
    let grant = bank.sign_in(&puppet).await.unwrap().into_tokens().unwrap();
    let puppet = bank.context(&grant).await;
    assert_eq!(code(confirm(&puppet, asked).await), "not_independent");
    assert_eq!(code(confirm(&fresh[1], asked_late).await), "not_found", "the one of yesterday");
    confirm(&fresh[1], asked).await.unwrap();
    assert_eq!(code(confirm(&fresh[1], asked).await), "not_found", "done once");
    assert!(matches!(bank.sign_in("alice").await.unwrap(), SignIn::Tokens(_)));
    let live = format!(
        "SELECT count(*) FROM user_sessions WHERE user_id = '{}' AND revocation_reason = 'factors_reset'",
        alice.id
    );
    assert!(bank.count(&live).await > 0, "sessions end");
    let recorded = "SELECT count(*) FROM audit_log WHERE action LIKE 'mfa.reset%' AND event_type::text = 'admin_action'";
    assert_eq!(bank.count(recorded).await, 3, "two requests, one reset");
    let forged = "UPDATE mfa_reset_requests SET confirmed_by = requested_by, confirmed_at = now()";
    let refused = bank.world.superuser().await.batch_execute(forged).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().constraint(), Some("mfa_reset_requests_four_eyes"));
}

#[tokio::test]
async fn a_reset_takes_what_it_was_asked_for_and_nothing_else() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let mut admins = Vec::new();
    for name in ["adam", "anna"] {
        bank.user(name, "admin").await;
        let grant = bank.sign_in(name).await.unwrap().into_tokens().unwrap();
        admins.push(bank.context(&grant).await);
        bank.world.advance_s(1);
    }
    let (adam, anna) = (&admins[0], &admins[1]);
    let superuser = bank.world.superuser().await;
    let confirm = |request| bank.node.confirm_factor_reset(anna, (alice.id, request));
    let factors = format!(
        "SELECT count(*) FROM mfa_configs WHERE user_id = '{}' AND confirmed_at IS NOT NULL",
        alice.id
    );
    let asked = bank.node.request_factor_reset(adam, alice.id).await.unwrap().output;
    assert_eq!((asked.factors.len(), asked.payload_hash.len()), (1, 64));
    // Somebody writes to the database: another maker, a longer life, more to take, another hash.
    let forgeries = [
        "requested_by = gen_random_uuid()",
        "expires_at = expires_at + interval '1 day'",
        "factors = '{}'",
        "payload_hash = sha256('forged')",
        "id = gen_random_uuid()",
    ];
    for forgery in forgeries {
        let write = async |change: &str| {
            let sql =
                format!("UPDATE mfa_reset_requests SET {change} WHERE user_id = $1 RETURNING id");
            superuser.query_one(&sql, &[&alice.id]).await.unwrap().get::<_, Uuid>(0)
        };
        let id = write(forgery).await;
        assert_eq!(code(confirm(id).await), "reset_tampered", "{forgery}");
        let (hash, until) = (&asked.payload_hash, asked.expires_at);
        write(&format!(
            "id = '{}', requested_by = '{}', expires_at = '{until}', factors = ARRAY['{}'::uuid], \
             payload_hash = decode('{hash}', 'hex')",
            asked.id, asked.requested_by, asked.factors[0],
        ))
        .await;
    }
    let recorded = "SELECT count(*) FROM audit_log WHERE event_type = 'security_violation' \
        AND action = 'mfa.reset' AND result = 'failed'";
    assert_eq!(bank.count(recorded).await, 5, "each is kept, though nothing was done");
    // A factor that came since was not asked for: nothing is taken, and nothing is lost.
    another_factor(&superuser, bank.cli.tenant_id(), "alice").await;
    assert_eq!(code(confirm(asked.id).await), "factors_changed");
    assert_eq!(bank.count(&factors).await, 2);
    bank.node.reject_factor_reset(anna, alice.id).await.unwrap();
    let anew = bank.node.request_factor_reset(adam, alice.id).await.unwrap().output;
    assert_eq!(anew.factors.len(), 2);
    assert_ne!(anew.payload_hash, asked.payload_hash);
    // Who saw the first one confirms the first one.
    assert_eq!(code(confirm(asked.id).await), "not_found");
    confirm(anew.id).await.unwrap();
    assert_eq!(bank.count(&factors).await, 0);
    let unbound = "INSERT INTO mfa_reset_requests (tenant_id, id, user_id, requested_by, expires_at) \
        SELECT tenant_id, gen_random_uuid(), user_id, requested_by, expires_at \
        FROM mfa_reset_requests LIMIT 1";
    let refused = superuser.batch_execute(unbound).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().constraint(), Some("mfa_reset_requests_bound"));
}

#[tokio::test]
async fn one_tenants_factor_opens_nothing_in_another() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let other = bank.world.tenant("other", Blueprint::CoreBank).await;
    bank.world.user(&other, "alice", "customer").await;
    // The other node made it; this one reads the directory once a second.
    bank.node.directory().refresh();
    let there = bank.node.login(request("other", "alice", PASSWORD), here()).await.unwrap();
    let SignIn::Tokens(grant) = there else { panic!("the other Alice has no factor") };
    let theirs = bank.context(&grant).await;
    let due = bank.first_step("alice").await;
    let moved = due.token.replace(
        &bank.cli.tenant_id().simple().to_string(),
        &other.tenant_id().simple().to_string(),
    );
    let now = bank.code(&alice.secret);
    assert_eq!(code(bank.verify(&moved, TOTP, &now).await), "invalid_token");
    let (_, own) = bank.signed_in(&alice).await;
    let factor = bank.node.factors(&own).await.unwrap()[0].id.unwrap();
    assert_eq!(code(bank.node.rename_factor(&theirs, (factor, None), "Mine").await), "not_found");
    assert!(bank.node.factors(&theirs).await.unwrap().is_empty());
    assert_eq!(totp(&alice.secret, 1).len(), 6);
}

#[tokio::test]
async fn an_app_goes_on_as_it_was_set_up_when_the_policy_has_another_period() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let change =
        "UPDATE security_policies SET policy = jsonb_set(policy, '{mfa,totp_interval_s}', '60')";
    bank.world.superuser().await.batch_execute(change).await.unwrap();
    let bank = Bank { node: bank.world.another_node(), ..bank };
    let due = bank.first_step("alice").await;
    bank.verify(&due.token, TOTP, &bank.code(&alice.secret)).await.unwrap();
    bank.user("bob", "customer").await;
    let grant = bank.sign_in("bob").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&grant).await;
    let request = SetupRequest { method: Method::Totp, name: None };
    let setup = bank.node.setup_factor(&context, request).await.unwrap();
    let app = setup.app.unwrap();
    assert!(app.uri.contains("period=60"), "{}", app.uri.as_str());
    let half_as_fast = totp(&app.manual_key, bank.world.clock.now().as_second() / 60);
    let code = Zeroizing::new(half_as_fast);
    assert!(bank.node.confirm_factor(&context, None, code).await.is_ok());
}
