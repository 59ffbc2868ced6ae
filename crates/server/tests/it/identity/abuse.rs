//! Attacks of the list that races make: over two nodes, over many challenges at
//! once, over whatever ends in the middle of a flow. `docs/testing.md` says which test
//! tries which attack.

use std::{collections::HashSet, time::Duration};

use identity::{Identity, LockReason, Method, SetupRequest, TokenGrant, UserUpdate};
use operation::OperationError;
use tenancy::{Blueprint, OpContext};
use zeroize::Zeroizing;

use super::{
    factor_world::{Bank, here, presented},
    support::{PASSWORD, WRONG, World, code, request},
};

const RACERS: usize = 8;
const RACES_EACH: usize = 125;
/// After it another node has heard of a revocation.
const ELSEWHERE: Duration = Duration::from_millis(1_050);

/// Ends a session in one of the ways there are.
async fn end(node: &Identity, cli: &OpContext, grant: &TokenGrant, way: usize) {
    let context = node.authenticate(&grant.access_token, here()).await.unwrap();
    match way % 4 {
        0 => node.logout(&context).await.unwrap(),
        1 => _ = node.logout_everywhere(&context, false).await.unwrap(),
        2 => node.revoke_session(&context, grant.session_id).await.unwrap(),
        _ => {
            let set = |active| UserUpdate { is_active: Some(active), ..UserUpdate::default() };
            node.update_user(cli, grant.user_id, None::<i64>, set(false)).await.unwrap();
            node.update_user(cli, grant.user_id, None::<i64>, set(true)).await.unwrap();
        }
    }
}

/// One person's races: every token that came out of them, and how many refreshes were first.
async fn race(
    (nodes, cli, name): ([Identity; 2], OpContext, String),
) -> (Vec<Zeroizing<String>>, Vec<String>, usize) {
    let (mut refresh_tokens, mut access_tokens, mut first) = (Vec::new(), Vec::new(), 0);
    for number in 0..RACES_EACH {
        let [one, other] = &nodes;
        let grant = one.login(request("bank", &name, PASSWORD), here()).await.unwrap();
        let grant = grant.into_tokens().unwrap();
        let refreshing = async {
            // Now and then it is well under way before the other has begun.
            tokio::time::sleep(Duration::from_micros(400 * (number as u64 % 5))).await;
            other.refresh(&grant.refresh_token, here()).await
        };
        let ((), renewed) = tokio::join!(end(one, &cli, &grant, number), refreshing);
        match renewed {
            Ok(renewed) => {
                first += 1;
                // Where it was ended it is over with the answer.
                let refused = one.authenticate(&renewed.access_token, here()).await.unwrap_err();
                assert_eq!(refused.code, "token_revoked", "{name} {number}");
                refresh_tokens.push(renewed.refresh_token);
                access_tokens.push(renewed.access_token);
            }
            refused => assert_eq!(code(refused), "token_revoked", "{name} {number}"),
        }
        refresh_tokens.push(grant.refresh_token);
        access_tokens.push(grant.access_token);
    }
    (refresh_tokens, access_tokens, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_revocations_that_race_a_refresh_leave_nothing_alive() {
    let world = World::new().await;
    let cli = world.tenant("bank", Blueprint::CoreBank).await;
    let nodes = [world.identity.clone(), world.another_node()];
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..RACERS {
        let name = format!("racer-{number}");
        world.user(&cli, &name, "customer").await;
        racing.spawn(race((nodes.clone(), cli.clone(), name)));
    }
    let (mut refresh_tokens, mut access_tokens, mut first) = (Vec::new(), Vec::new(), 0);
    for (refresh, access, won) in racing.join_all().await {
        refresh_tokens.extend(refresh);
        access_tokens.extend(access);
        first += won;
    }
    let races = RACERS * RACES_EACH;
    assert!((1..races).contains(&first), "both were first at times: {first} of {races}");
    // A successor that was written meanwhile may not be marked: its session's end is its own.
    let live = "SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL";
    assert_eq!(world.scalar::<i64>(live).await, 0);
    tokio::time::sleep(ELSEWHERE).await;
    for node in &nodes {
        for token in &access_tokens {
            let refused = node.authenticate(token, here()).await.unwrap_err();
            assert_eq!(refused.code, "token_revoked");
        }
    }
    for token in &refresh_tokens {
        assert_eq!(code(nodes[1].refresh(token, here()).await), "token_revoked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_give_fifty_refreshes_of_one_token_one_successor() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let nodes = [world.identity.clone(), world.another_node()];
    let (grant, _) = world.signed_in("bank", "alice").await;
    let mut refreshing = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (node, token) = (nodes[number % 2].clone(), grant.refresh_token.clone());
        refreshing.spawn(async move {
            loop {
                match node.refresh(&token, here()).await {
                    // Two nodes open many connections at once: who gets none asks again.
                    Err(OperationError::Database(_)) => tokio::time::sleep(ELSEWHERE / 10).await,
                    answer => break answer.unwrap(),
                }
            }
        });
    }
    let answers = refreshing.join_all().await;
    let successors: HashSet<_> =
        answers.iter().map(|answer| answer.refresh_token.to_string()).collect();
    assert_eq!(successors.len(), 1);
    let live = "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL";
    assert_eq!(world.scalar::<i64>(live).await, 1);
}

/// The challenge is not what makes a code good once: here each try has its own, or shares
/// it with a try on another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_over_many_challenges_and_two_nodes_signs_in_once() {
    for method in [Method::Totp, Method::Backup] {
        let bank = Bank::new(1_000).await;
        let alice = bank.holder("alice", "customer").await;
        let nodes = [bank.node.clone(), bank.world.another_node()];
        let mut tokens = Vec::new();
        for _ in 0..25 {
            tokens.push(bank.first_step("alice").await.token);
        }
        let right = match method {
            Method::Totp => bank.code(&alice.secret),
            _ => alice.backup_codes[0].clone(),
        };
        let begun = "SELECT count(*) FROM user_sessions WHERE mfa_level = 1";
        let before = bank.count(begun).await;
        let mut trying = tokio::task::JoinSet::new();
        for number in 0..50 {
            let node = nodes[number % 2].clone();
            let presented = presented(&tokens[number / 2], Some(method), &right);
            trying.spawn(async move { node.verify_factor(presented, here()).await });
        }
        let mut entered = 0;
        for outcome in trying.join_all().await {
            match outcome {
                Ok(_) => entered += 1,
                refused => {
                    let said = code(refused);
                    let expected = ["invalid_code", "invalid_token", "account_locked"];
                    assert!(expected.contains(&said.as_str()), "{said}");
                }
            }
        }
        assert_eq!(entered, 1, "{method:?}");
        assert_eq!(bank.count(begun).await, before + 1, "{method:?}");
    }
}

#[tokio::test]
async fn codes_and_passwords_are_counted_apart_and_neither_forgives_the_other() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let failures = async |column: &str| {
        let sql = format!("SELECT {column}::bigint FROM users WHERE id = '{}'", alice.id);
        bank.count(&sql).await
    };
    let due = bank.first_step("alice").await;
    for _ in 0..4 {
        assert_eq!(
            code(bank.verify(&due.token, Some(Method::Totp), "000000").await),
            "invalid_code"
        );
    }
    for _ in 0..4 {
        let wrong = bank.node.login(request("bank", "alice", WRONG), here()).await;
        assert_eq!(code(wrong), "invalid_credentials");
    }
    assert_eq!(
        (failures("failed_login_attempts").await, failures("mfa_failed_attempts").await),
        (4, 4)
    );
    // Whoever knows the password has no more guesses at the code for typing it again.
    let due = bank.first_step("alice").await;
    assert_eq!(
        (failures("failed_login_attempts").await, failures("mfa_failed_attempts").await),
        (0, 4)
    );
    let fifth = bank.verify(&due.token, Some(Method::Totp), "000000").await;
    assert_eq!(code(fifth), "account_locked");
    let right = bank.code(&alice.secret);
    assert_eq!(code(bank.verify(&due.token, Some(Method::Totp), &right).await), "account_locked");
    let another = bank.first_step("alice").await;
    let backup = bank.verify(&another.token, Some(Method::Backup), &alice.backup_codes[0]).await;
    assert_eq!(code(backup), "account_locked", "one lock for all methods");
    bank.world.advance_s(15 * 60 + 1);
    let due = bank.first_step("alice").await;
    bank.verify(&due.token, Some(Method::Totp), &bank.code(&alice.secret)).await.unwrap();
    assert_eq!(failures("mfa_failed_attempts").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thirty_codes_at_once_over_two_nodes_three_are_compared() {
    let bank = Bank::new(3).await;
    let alice = bank.holder("alice", "customer").await;
    bank.world.advance_s(120);
    let token = bank.first_step("alice").await.token;
    let nodes = [bank.node.clone(), bank.world.another_node()];
    let mut guessing = tokio::task::JoinSet::new();
    for number in 0..30_usize {
        let node = nodes[number % 2].clone();
        let presented = presented(&token, Some(Method::Totp), &format!("{number:06}"));
        guessing.spawn(async move { code(node.verify_factor(presented, here()).await) });
    }
    let said = guessing.join_all().await;
    let count = |wanted: &str| said.iter().filter(|said| *said == wanted).count();
    assert_eq!((count("invalid_code"), count("rate_limited")), (3, 27), "{said:?}");
    assert_eq!(bank.attempts("wrong").await, 3);
    // Another challenge is the same minute.
    let again = bank.first_step("alice").await;
    let right = bank.verify(&again.token, Some(Method::Totp), &bank.code(&alice.secret)).await;
    assert_eq!(code(right), "rate_limited");
}

#[tokio::test]
async fn what_staff_lock_in_the_middle_nobody_finishes() {
    let bank = Bank::of(Blueprint::CoreBank, 1_000, "{auditor}").await;
    let alice = bank.holder("alice", "customer").await;
    let audrey = bank.user("audrey", "auditor").await;
    bank.user("mary", "admin").await;
    let mary = bank.sign_in("mary").await.unwrap().into_tokens().unwrap();
    let mary = bank.context(&mary).await;
    let (grant, session) = bank.signed_in(&alice).await;
    let due = bank.first_step("alice").await;
    let enrolment = bank.first_step("audrey").await;
    let setup = SetupRequest { method: Method::Totp, name: None };
    let app = bank.node.setup_required_factor(&enrolment.token, setup, here()).await.unwrap();
    for person in [alice.id, audrey] {
        bank.node.lock_user(&mary, person, None, LockReason::SuspectedFraud).await.unwrap();
    }
    // Each with the right code.
    let now = bank.code(&alice.secret);
    let finished = bank.verify(&due.token, Some(Method::Totp), &now).await;
    assert!(["account_locked", "invalid_token"].contains(&code(finished).as_str()));
    let backup = bank.verify(&due.token, Some(Method::Backup), &alice.backup_codes[0]).await;
    assert!(["account_locked", "invalid_token"].contains(&code(backup).as_str()));
    let stepped = bank.node.step_up(&session, None, Zeroizing::new(now)).await;
    assert_eq!(code(stepped), "token_revoked");
    assert_eq!(code(bank.node.refresh(&grant.refresh_token, here()).await), "token_revoked");
    let typed = Zeroizing::new(bank.code(&app.app.unwrap().manual_key));
    let confirmed =
        bank.node.confirm_required_factor(&enrolment.token, (None, typed), here()).await;
    assert!(["account_locked", "invalid_token"].contains(&code(confirmed.map(drop)).as_str()));
    for name in ["alice", "audrey"] {
        assert_eq!(code(bank.sign_in(name).await), "invalid_credentials");
    }
    let live = format!(
        "SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL AND user_id IN ('{}', '{audrey}')",
        alice.id
    );
    assert_eq!(bank.count(&live).await, 0);
}

/// Nothing of a session's end is believed only because it was asked for early: an access
/// token is looked at by what is so when the write commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_began_before_the_end_of_its_session_does_not_commit_after_it() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let other = world.another_node();
    for _ in 0..20 {
        let (grant, _) = world.signed_in("bank", "alice").await;
        let known = other.authenticate(&grant.access_token, here()).await.unwrap();
        let context = world.authenticate(&grant.access_token).await.unwrap();
        world.identity.logout(&context).await.unwrap();
        // The other node still remembers a living session.
        assert_eq!(code(other.logout_everywhere(&known, true).await), "token_revoked");
        assert_eq!(
            code(other.revoke_access_token(&known, &grant.access_token).await),
            "token_revoked"
        );
    }
}
