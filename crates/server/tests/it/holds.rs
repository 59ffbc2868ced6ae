//! Holds against a real server: races, batches, expiry beside its twin, rollbacks,
//! proofs that find what was changed, and the schema's own rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use banking::{
    AuthoriseHold, CaptureHold, CloseAccount, Hold, HoldStatus, ReleaseHold, holds::expire_due,
};
use futures_util::future::join_all;
use jiff::SignedDuration;
use ledger::verify::{Fault, verify};
use operation::{Call, Group, Refusal};
use tenancy::{ActorKind, OpContext, Query};
use testkit::connect;
use tokio_postgres::{Row, error::SqlState};
use uuid::Uuid;

use crate::bank_world::{BankWorld, open, refused, transfer};

pub(crate) fn hold(account: Uuid, to: Option<Uuid>, amount: i64) -> AuthoriseHold {
    AuthoriseHold {
        account_id: account,
        to_account_id: to,
        amount,
        currency: None,
        description: "Hotel".to_owned(),
        reference: None,
        expires_at: None,
    }
}

pub(crate) fn capture(hold: &Hold, amount: Option<i64>, is_final: bool) -> CaptureHold {
    CaptureHold { hold_id: hold.id, amount, is_final }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(result: &Result<T, Refusal>) -> String {
    result.as_ref().expect_err("a refusal").code.to_string()
}

/// How often each code was said; `ok` for what was done.
fn counted<T: std::fmt::Debug>(results: &[Result<T, Refusal>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for result in results {
        let said = if result.is_ok() { "ok".to_owned() } else { code(result) };
        *counts.entry(said).or_default() += 1;
    }
    counts
}

/// Balance and held sum of an account, as stored.
async fn sums(world: &BankWorld, account: Uuid) -> (i64, i64) {
    let sql = "SELECT balance, held FROM ledger_accounts WHERE id = $1";
    let row = world.superuser.query_one(sql, &[&account]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn status(world: &BankWorld, hold: &Hold) -> String {
    let sql = "SELECT status FROM holds WHERE id = $1";
    world.superuser.query_one(sql, &[&hold.id]).await.unwrap().get(0)
}

fn worker(context: &OpContext) -> OpContext {
    OpContext::system(context.tenant.clone(), ActorKind::Worker, context.clock.clone())
}

/// A bank with a customer, an account of 1,000 and an empty one of somebody else.
async fn bank(slug: &str) -> (BankWorld, OpContext, OpContext, Uuid, Uuid) {
    let world = BankWorld::new().await;
    let tenant = world.tenant(slug).await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let (_, merchant) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 1_000).await;
    let to = world.account(&tenant, merchant.id, 0).await;
    (world, tenant, person, from.id, to.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_captures_of_one_hold_pay_it_out_once() {
    let (world, tenant, person, from, to) = bank("capture-race").await;
    let one = world.run(&person, hold(from, Some(to), 400)).await.unwrap();
    let results = join_all((0..50).map(|_| world.run(&tenant, capture(&one, None, true)))).await;
    let expected = BTreeMap::from([("ok".to_owned(), 1), ("hold_captured".to_owned(), 49)]);
    assert_eq!(counted(&results), expected);
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((600, 0), (400, 0)));

    // In parts of 30 of 400: thirteen fit, and ten stay.
    let two = world.run(&person, hold(from, Some(to), 400)).await.unwrap();
    let results =
        join_all((0..50).map(|_| world.run(&tenant, capture(&two, Some(30), false)))).await;
    let expected = BTreeMap::from([("ok".to_owned(), 13), ("capture_exceeds_hold".to_owned(), 37)]);
    assert_eq!(counted(&results), expected);
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((210, 10), (790, 0)));
    assert_eq!(status(&world, &two).await, "partially_captured");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_holds_on_a_balance_for_ten_keep_back_ten() {
    let (world, tenant, person, from, to) = bank("hold-race").await;
    let results = join_all((0..50).map(|_| world.run(&person, hold(from, Some(to), 100)))).await;
    let expected = BTreeMap::from([("ok".to_owned(), 10), ("insufficient_funds".to_owned(), 40)]);
    assert_eq!(counted(&results), expected);
    assert_eq!(sums(&world, from).await, (1_000, 1_000));
    // What is held is not there for anybody else, and is for its captures.
    assert_eq!(code(&world.run(&person, transfer(from, to, 1)).await), "insufficient_funds");
    let captures = results.iter().flatten().map(|one| world.run(&tenant, capture(one, None, true)));
    assert!(join_all(captures).await.iter().all(Result::is_ok));
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((0, 0), (1_000, 0)));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_release_and_expiry_race_for_one_hold_and_one_wins() {
    let (world, tenant, person, from, to) = bank("three-way").await;
    for round in 0..6 {
        let one = world.run(&person, hold(from, Some(to), 100)).await.unwrap();
        let late = tenant.clone();
        if round % 2 == 1 {
            // The clock has ended it: only the worker may.
            world.clock.advance(SignedDuration::from_hours(7 * 24));
        }
        let capturing = join_all((0..8).map(|_| world.run(&tenant, capture(&one, None, true))));
        let releasing = join_all((0..8).map(|_| world.run(&late, ReleaseHold { hold_id: one.id })));
        let (left, right) = (worker(&tenant), worker(&tenant));
        let both =
            join_all([expire_due(&world.operations, &left), expire_due(&world.operations, &right)]);
        let (capture_answers, release_answers, ends) = tokio::join!(capturing, releasing, both);
        let won = |count: usize| u64::try_from(count).unwrap();
        let captured = won(capture_answers.iter().filter(|result| result.is_ok()).count());
        let released = won(release_answers.iter().filter(|result| result.is_ok()).count());
        let expired: u64 = ends.into_iter().map(Result::unwrap).sum();
        assert_eq!(captured + released + expired, 1, "round {round}");
        assert_eq!(expired, round % 2, "round {round}");
        let expected = match (captured, released) {
            (1, _) => "captured",
            (_, 1) => "released",
            _ => "expired",
        };
        assert_eq!(status(&world, &one).await, expected);
        assert_eq!(sums(&world, from).await.1, 0, "round {round}");
        for refused in capture_answers.iter().filter(|result| result.is_err()) {
            assert_eq!(code(refused), format!("hold_{expected}"), "round {round}");
        }
    }
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_holds_captures_and_transfers_never_deadlock() {
    let (world, tenant, _, left, right) = bank("cross-holds").await;
    world.run(&tenant, crate::bank_world::deposit(right, 1_000)).await.unwrap();
    let rounds = (0..24_i64).map(|number| {
        let (from, to) = if number % 2 == 0 { (left, right) } else { (right, left) };
        let (world, tenant) = (&world, &tenant);
        async move {
            let one = world.run(tenant, hold(from, Some(to), 10)).await.unwrap();
            world.run(tenant, transfer(to, from, 3)).await.unwrap();
            if number % 3 == 0 {
                world.run(tenant, ReleaseHold { hold_id: one.id }).await.unwrap();
            } else {
                world.run(tenant, capture(&one, Some(4), false)).await.unwrap();
                world.run(tenant, capture(&one, None, true)).await.unwrap();
            }
        }
    });
    join_all(rounds).await;
    let ((left, left_held), (right, right_held)) =
        (sums(&world, left).await, sums(&world, right).await);
    assert_eq!((left + right, left_held, right_held), (2_000, 0, 0));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_decided_in_its_order_and_a_refusal_is_its_own() {
    let (world, tenant, person, from, to) = bank("hold-batch").await;
    let orders = [
        (hold(from, Some(to), 600), None),
        (hold(from, None, 300), None),
        (hold(from, Some(to), 200), Some("insufficient_funds")),
        (hold(from, Some(from), 1), Some("same_account")),
        (hold(to, Some(from), 1), Some("not_found")),
        (
            AuthoriseHold { description: "x".repeat(141), ..hold(from, None, 1) },
            Some("validation_failed"),
        ),
        (hold(from, None, 0), Some("invalid_amount")),
        (hold(from, Some(to), 100), None),
    ];
    let calls = orders.iter().enumerate().map(|(number, (command, _))| Call {
        context: person.clone(),
        idempotency_key: Some(format!("k{number}")),
        command: command.clone(),
    });
    let results = world.operations.run(calls.collect()).await;
    let mut made = Vec::new();
    for (result, (order, expected)) in results.into_iter().zip(&orders) {
        let result = refused(result).map(|reply| reply.output);
        let said = result.as_ref().err().map(|refusal| &*refusal.code);
        assert_eq!(said, *expected, "{order:?}");
        made.extend(result.ok());
    }
    assert_eq!(sums(&world, from).await, (1_000, 1_000));

    // Two captures of one hold in one batch see each other; the unknown one hurts nobody.
    let unknown = Hold { id: Uuid::from_u128(7), ..made[0].clone() };
    let captures = [
        (capture(&made[0], Some(250), false), None),
        (capture(&unknown, None, true), Some("not_found")),
        (capture(&made[0], Some(351), false), Some("capture_exceeds_hold")),
        (capture(&made[0], None, true), None),
        (capture(&made[0], None, true), Some("hold_captured")),
        (capture(&made[1], Some(1), true), None),
        (capture(&made[2], None, false), None),
    ];
    let calls = captures.iter().map(|(command, _)| Call {
        context: tenant.clone(),
        idempotency_key: None,
        command: *command,
    });
    for (result, (order, expected)) in
        world.operations.run(calls.collect()).await.into_iter().zip(&captures)
    {
        let said = refused(result).err().map(|refusal| refusal.code);
        assert_eq!(said.as_deref(), *expected, "{order:?}");
    }
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((299, 0), (700, 0)));
    let row = &world
        .rows("SELECT captured_amount, remaining, status, version FROM holds WHERE amount = 600")
        .await[0];
    let found: (i64, i64, String, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, (600, 0, "captured".to_owned(), 3));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn the_clock_ends_a_hold_and_the_worker_returns_its_money() {
    let (world, tenant, person, from, to) = bank("clock-bank").await;
    let soon = world.clock.now() + SignedDuration::from_secs(60);
    let order = AuthoriseHold { expires_at: Some(soon), ..hold(from, Some(to), 400) };
    let one = world.run(&person, order).await.unwrap();
    let other = world.run(&person, hold(from, Some(to), 100)).await.unwrap();
    world.run(&tenant, capture(&one, Some(50), false)).await.unwrap();
    assert_eq!(expire_due(&world.operations, &worker(&tenant)).await.unwrap(), 0);

    world.clock.advance(SignedDuration::from_secs(60));
    let before = world.dump().await;
    for result in [
        code(&world.run(&tenant, capture(&one, None, true)).await),
        code(&world.run(&tenant, capture(&one, Some(1), false)).await),
        code(&world.run(&tenant, ReleaseHold { hold_id: one.id }).await),
    ] {
        assert_eq!(result, "hold_expired");
    }
    assert_eq!(world.dump().await, before, "refusals left a trace");
    assert_eq!(expire_due(&world.operations, &worker(&tenant)).await.unwrap(), 1);
    assert_eq!(sums(&world, from).await, (950, 100));
    assert_eq!(
        (status(&world, &one).await, status(&world, &other).await),
        ("expired".to_owned(), "authorized".to_owned())
    );
    // The same words behind the worker as before it, and nothing more for a second run.
    assert_eq!(code(&world.run(&tenant, capture(&one, None, true)).await), "hold_expired");
    assert_eq!(expire_due(&world.operations, &worker(&tenant)).await.unwrap(), 0);
    let records = world
        .rows("SELECT user_id IS NULL FROM audit_log WHERE action = 'hold.expire' AND old_values IS NOT NULL")
        .await;
    assert_eq!(records.len(), 1, "one record of one expiry");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_expired_holds_is_ended_once_by_two_workers() {
    let (world, tenant, person, from, to) = bank("backlog-bank").await;
    let calls = (0..450).map(|_| Call {
        context: person.clone(),
        idempotency_key: None,
        command: hold(from, Some(to), 1),
    });
    let made = world.operations.run(calls.collect()).await;
    assert!(made.iter().all(Result::is_ok));
    assert_eq!(sums(&world, from).await, (1_000, 450));
    // Another tenant's holds are not this worker's.
    let neighbour = world.tenant("backlog-neighbour").await;
    let (their_person, customer) = world.banking_customer(&neighbour).await;
    let theirs = world.account(&neighbour, customer.id, 10).await;
    world.run(&their_person, hold(theirs.id, None, 10)).await.unwrap();
    world.clock.advance(SignedDuration::from_hours(7 * 24));
    let (left, right) = (worker(&tenant), worker(&tenant));
    let (left, right) =
        tokio::join!(expire_due(&world.operations, &left), expire_due(&world.operations, &right));
    assert_eq!(left.unwrap() + right.unwrap(), 450);
    assert_eq!(sums(&world, from).await, (1_000, 0));
    assert_eq!(sums(&world, theirs.id).await, (10, 10));
    world.assert_books_are_right(&tenant).await;
    world.assert_books_are_right(&neighbour).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_and_payments_that_wait_together_share_transactions() {
    let (world, tenant, person, from, to) = bank("group-holds").await;
    // One transaction's audit records are one statement.
    let transactions = || async {
        let sql = "SELECT count(DISTINCT xmin::text) FROM audit_log \
             WHERE action IN ('hold.create', 'hold.capture') AND result = 'success'";
        world.rows(sql).await[0].get::<_, i64>(0)
    };
    let promises = Group::<AuthoriseHold>::new(world.operations.clone());
    let made = (0..120_i64).map(|number| {
        let destination = if number % 2 == 0 { Some(to) } else { None };
        // Every third is more than there is, and hurts nobody.
        let amount = if number % 3 == 2 { 1_001 } else { 10 };
        let command = hold(from, destination, amount);
        promises.run_one(Call {
            context: person.clone(),
            idempotency_key: Some(format!("k{number}")),
            command,
        })
    });
    let results: Vec<_> = join_all(made).await.into_iter().map(refused).collect();
    let counts = counted(&results);
    assert_eq!(counts, BTreeMap::from([("insufficient_funds".into(), 40), ("ok".into(), 80)]));
    assert_eq!(sums(&world, from).await, (1_000, 800));
    let authorised = transactions().await;
    assert!(authorised < 40, "{authorised} transactions for 80 holds");

    let payments = Group::<CaptureHold>::new(world.operations.clone());
    let holds: Vec<Hold> = results.into_iter().filter_map(|made| Some(made.ok()?.output)).collect();
    let twice = holds.iter().chain(&holds).map(|hold| {
        let command = capture(hold, None, true);
        payments.run_one(Call { context: tenant.clone(), idempotency_key: None, command })
    });
    let results: Vec<_> = join_all(twice).await.into_iter().map(refused).collect();
    assert_eq!(
        counted(&results),
        BTreeMap::from([("hold_captured".into(), 80), ("ok".into(), 80)])
    );
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((200, 0), (400, 0)));
    let captured = transactions().await - authorised;
    assert!(captured < 40, "{captured} transactions for 80 captures");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn a_transaction_that_dies_leaves_what_is_held_as_it_was() {
    let (world, tenant, person, from, to) = bank("dying-bank").await;
    let one = world.run(&person, hold(from, Some(to), 400)).await.unwrap();
    let before = world.dump().await;
    let transaction = world.app.begin(&tenant).await.unwrap();
    let order = ledger::holds::Capture {
        hold_id: one.id,
        amount: None,
        is_final: true,
        transfer_id: world.clock.new_id(),
        business_date: jiff::civil::date(2026, 3, 1),
        created_by: tenant.actor.id,
        at: world.clock.now(),
    };
    let question = Query::new("SELECT 1", &[]);
    let admitted = |_: &[Row], _: &ledger::holds::Capture, _: &Hold| Ok(true);
    let record = |_: usize, done: &ledger::holds::Captured| {
        operation::event(&tenant, audit::EventType::LedgerPosting, "hold.capture", "transfer")
            .resource_id(done.posting.transfer_id)
    };
    let orders = [order];
    let done =
        ledger::holds::capture(&transaction, &world.clock, &orders, question, admitted, record);
    assert!(done.await.unwrap()[0].is_ok());
    // The connection is closed as a crash would close it.
    drop(transaction);
    assert_eq!(world.dump().await, before);
    world.run(&tenant, capture(&one, None, true)).await.unwrap();
    assert_eq!((sums(&world, from).await, sums(&world, to).await), ((600, 0), (400, 0)));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn an_account_with_holds_is_not_closed() {
    let (world, tenant, _, _, to) = bank("close-bank").await;
    let overdrawable = world.customer(&tenant, None).await;
    let account = banking::NewAccount {
        overdraft_limit: 500,
        ..banking::NewAccount::plain(overdrawable.id, "EUR".parse().unwrap())
    };
    let account = world.account_like(&tenant, account, 0).await;
    let one = world.run(&tenant, hold(account.id, Some(to), 500)).await.unwrap();
    let close = CloseAccount { account_id: account.id, expected_version: None };
    let refused = world.run(&tenant, close.clone()).await;
    assert_eq!(code(&refused), "account_has_holds");
    world.run(&tenant, ReleaseHold { hold_id: one.id }).await.unwrap();
    world.run(&tenant, close).await.unwrap();
    assert_eq!(code(&world.run(&tenant, hold(account.id, Some(to), 1)).await), "account_closed");
}

#[tokio::test]
async fn verify_names_what_holds_and_accounts_disagree_about() {
    type Found = fn(&Fault) -> bool;
    let table: [(&str, Found); 4] = [
        (
            "UPDATE ledger_accounts SET held = held + 1 WHERE held = 300",
            |fault| matches!(fault, Fault::Held { held: 301, holds, .. } if holds == "300"),
        ),
        (
            "ALTER TABLE holds DISABLE TRIGGER only_forward; \
             UPDATE holds SET amount = amount + 5, remaining = remaining + 5 WHERE amount = 300; \
             ALTER TABLE holds ENABLE TRIGGER only_forward",
            |fault| matches!(fault, Fault::Held { held: 300, holds, .. } if holds == "305"),
        ),
        (
            "ALTER TABLE holds DISABLE TRIGGER only_forward; \
             UPDATE holds SET captured_amount = 90 WHERE captured_amount = 100; \
             ALTER TABLE holds ENABLE TRIGGER only_forward",
            |fault| matches!(fault, Fault::Captured { captured_amount: 90, transfers, .. } if transfers == "100"),
        ),
        (
            "ALTER TABLE transfers DISABLE TRIGGER append_only; \
             UPDATE transfers SET hold_id = '00000000-0000-0000-0000-000000000001' WHERE hold_id IS NOT NULL; \
             ALTER TABLE transfers ENABLE ALWAYS TRIGGER append_only",
            |fault| matches!(fault, Fault::Captured { captured_amount: 0, .. }),
        ),
    ];
    let world = BankWorld::new().await;
    let owner = connect(&world.database.url_as("strongroom_owner")).await;
    for (number, (damage, found)) in table.into_iter().enumerate() {
        let tenant = world.tenant(&format!("held-bank-{number}")).await;
        let (person, customer) = world.banking_customer(&tenant).await;
        let from = world.account(&tenant, customer.id, 1_000).await;
        let to = world.account(&tenant, customer.id, 0).await;
        let done = world.run(&person, hold(from.id, Some(to.id), 200)).await.unwrap();
        world.run(&tenant, capture(&done, Some(100), true)).await.unwrap();
        world.run(&person, hold(from.id, Some(to.id), 300)).await.unwrap();
        world.assert_books_are_right(&tenant).await;
        let damage = format!("SET app.current_tenant = '{}'; {damage}", tenant.tenant_id());
        owner.batch_execute(&damage).await.unwrap();
        let app = open(&world.database, "strongroom_app");
        let report = verify(&tenant, &app, |_| {}).await.unwrap();
        assert!(report.faults.first().is_some_and(found), "{damage}: {:?}", report.faults);
    }
}

#[tokio::test]
async fn what_a_hold_promises_cannot_be_changed_nor_a_dead_one_revived() {
    let (world, tenant, person, from, to) = bank("firm-bank").await;
    let live = world.run(&person, hold(from, Some(to), 400)).await.unwrap();
    let dead = world.run(&person, hold(from, Some(to), 100)).await.unwrap();
    world.run(&tenant, ReleaseHold { hold_id: dead.id }).await.unwrap();
    let before = world.dump().await;
    let app = connect(&world.database.url_as("strongroom_app")).await;
    let setting = format!("SET app.current_tenant = '{}'", tenant.tenant_id());
    app.batch_execute(&setting).await.unwrap();
    for (statement, state) in [
        ("UPDATE holds SET to_account_id = account_id", SqlState::INSUFFICIENT_PRIVILEGE),
        ("UPDATE holds SET amount = 1000000", SqlState::INSUFFICIENT_PRIVILEGE),
        (
            "UPDATE holds SET expires_at = expires_at + interval '1 year'",
            SqlState::INSUFFICIENT_PRIVILEGE,
        ),
        ("DELETE FROM holds", SqlState::INSUFFICIENT_PRIVILEGE),
        (
            "UPDATE holds SET remaining = 5 WHERE status = 'authorized'",
            SqlState::INTEGRITY_CONSTRAINT_VIOLATION,
        ),
        (
            "UPDATE holds SET status = 'released' WHERE status = 'authorized'",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "UPDATE holds SET status = 'authorized', remaining = amount WHERE status = 'released'",
            SqlState::INTEGRITY_CONSTRAINT_VIOLATION,
        ),
        (
            "UPDATE holds SET status = 'expired' WHERE status = 'released'",
            SqlState::INTEGRITY_CONSTRAINT_VIOLATION,
        ),
    ] {
        let error = app.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&state), "{statement}: {error:?}");
    }
    assert_eq!(world.dump().await, before);
    for statement in ["DELETE FROM holds", "TRUNCATE holds CASCADE"] {
        let error = world.superuser.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
    assert_eq!(live.status, HoldStatus::Authorized);
}

#[tokio::test]
async fn the_migration_goes_down_with_live_holds_and_up_again() {
    let (world, tenant, person, from, to) = bank("down-bank").await;
    let done = world.run(&person, hold(from, Some(to), 300)).await.unwrap();
    world.run(&tenant, capture(&done, Some(100), false)).await.unwrap();
    let neighbour = world.tenant("down-neighbour").await;
    let (their_person, customer) = world.banking_customer(&neighbour).await;
    let theirs = world.account(&neighbour, customer.id, 10).await;
    world.run(&their_person, hold(theirs.id, None, 10)).await.unwrap();
    let mut owner = connect(&world.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let newer = migrator.status(&owner).await.unwrap().len();
    let count = u32::try_from(newer).unwrap() - 6;
    migrator.down(&mut owner, count).await.unwrap();
    assert_eq!((sums(&world, from).await, sums(&world, theirs.id).await), ((900, 0), (10, 0)));
    let left = world.rows("SELECT count(*) FROM pg_class WHERE relname LIKE 'hold%'").await;
    assert_eq!(left[0].get::<_, i64>(0), 0);
    migrator.up(&mut owner, None).await.unwrap();
    world.run(&person, hold(from, Some(to), 900)).await.unwrap();
    world.assert_books_are_right(&tenant).await;
    world.assert_books_are_right(&neighbour).await;
}
