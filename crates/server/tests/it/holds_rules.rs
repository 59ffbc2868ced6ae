//! Who may promise, see, pay out and let go; what is refused and leaves no trace;
//! keys; lists that obey the policy of single reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use banking::{
    AccountChange, AccountStatus, AuthoriseHold, Hold, HoldFilter, HoldList, HoldStatus, HoldView,
    NewAccount, ReleaseHold, UpdateAccount,
};
use jiff::SignedDuration;
use operation::{PageRequest, Refusal};
use tenancy::OpContext;
use uuid::Uuid;

use crate::{
    bank_world::{BankWorld, read},
    holds::{capture, code, hold},
};

/// Roles that serve customers.
const STAFF: [&str; 5] = ["customer_service", "officer", "manager", "admin", "super_admin"];

/// Code and field of a refusal.
fn said<T: std::fmt::Debug>(result: &Result<T, Refusal>) -> (u16, String, String) {
    let refusal = result.as_ref().expect_err("a refusal");
    let field = refusal.errors.first().map(|error| error.field.to_string());
    (refusal.kind.status(), refusal.code.to_string(), field.unwrap_or_default())
}

fn rule(code: &str, field: &str) -> (u16, String, String) {
    (422, code.to_owned(), field.to_owned())
}

fn denied() -> (u16, String, String) {
    (403, "permission_denied".to_owned(), String::new())
}

fn missing() -> (u16, String, String) {
    (404, "not_found".to_owned(), String::new())
}

async fn freeze(world: &BankWorld, tenant: &OpContext, account_id: Uuid, status: AccountStatus) {
    let change = AccountChange { status: Some(status), ..AccountChange::default() };
    let update = UpdateAccount { account_id, expected_version: None, change };
    world.run(tenant, update).await.unwrap();
}

#[tokio::test]
async fn a_refused_hold_leaves_every_row_as_it_was() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("no-hold-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let stranger = world.customer(&tenant, None).await;
    let rival = world.tenant("rival-hold-bank").await;
    let rivals = world.customer(&rival, None).await;
    let rivals = world.account(&rival, rivals.id, 500).await.id;
    let full = world.account(&tenant, customer.id, 500).await.id;
    let empty = world.account(&tenant, customer.id, 0).await.id;
    let foreign = world.account(&tenant, stranger.id, 500).await.id;
    let koruna = NewAccount::plain(customer.id, "CZK".parse().unwrap());
    let koruna = world.account_like(&tenant, koruna, 0).await.id;
    let frozen = world.account(&tenant, customer.id, 500).await.id;
    freeze(&world, &tenant, frozen, AccountStatus::Frozen).await;
    // The first promise to settlement makes that account; later refusals leave no trace.
    let first = world.run(&person, hold(full, None, 1)).await.unwrap();
    world.run(&tenant, ReleaseHold { hold_id: first.id }).await.unwrap();
    let settlement = first.to_account_id;

    let to = Some(empty);
    let base = hold(full, to, 1);
    let now = world.clock.now();
    let dollars = Some("USD".parse().unwrap());
    let with = |change: fn(&mut AuthoriseHold)| {
        let mut order = base.clone();
        change(&mut order);
        order
    };
    let until = |at| AuthoriseHold { expires_at: Some(at), ..base.clone() };
    let table = [
        (hold(full, to, 501), "insufficient_funds", "amount"),
        (hold(full, to, 0), "invalid_amount", "amount"),
        (hold(full, to, -1), "invalid_amount", "amount"),
        (hold(full, to, i64::MIN), "invalid_amount", "amount"),
        (hold(full, to, 1 << 53), "amount_too_large", "amount"),
        (hold(full, None, i64::MAX), "amount_too_large", "amount"),
        (hold(full, Some(full), 1), "same_account", "to_account_id"),
        (hold(full, Some(koruna), 1), "currency_mismatch", "to_account_id"),
        (AuthoriseHold { currency: dollars, ..base.clone() }, "currency_mismatch", "currency"),
        (hold(frozen, to, 1), "account_frozen", "account_id"),
        (hold(full, Some(frozen), 1), "account_frozen", "to_account_id"),
        (hold(foreign, to, 1), "not_found", "account_id"),
        (hold(rivals, to, 1), "not_found", "account_id"),
        (hold(Uuid::from_u128(1), to, 1), "not_found", "account_id"),
        (hold(settlement, to, 1), "not_found", "account_id"),
        (hold(full, Some(rivals), 1), "not_found", "to_account_id"),
        (hold(full, Some(settlement), 1), "not_found", "to_account_id"),
        (hold(full, Some(Uuid::nil()), 1), "not_found", "to_account_id"),
        (with(|order| order.description = "ř".repeat(141)), "validation_failed", "description"),
        (
            with(|order| order.reference = Some("a\u{0}".to_owned())),
            "validation_failed",
            "reference",
        ),
        (until(now), "validation_failed", "expires_at"),
        (until(jiff::Timestamp::MIN), "validation_failed", "expires_at"),
        (until(now + SignedDuration::from_hours(721)), "validation_failed", "expires_at"),
        (until(jiff::Timestamp::MAX), "validation_failed", "expires_at"),
    ];
    let before = world.dump().await;
    for (order, code, field) in table {
        let name = format!("{order:?}");
        let result = world.run(&person, order).await;
        assert_eq!(said(&result), rule(code, field), "{name}");
        assert_eq!(world.dump().await, before, "{name} left a trace");
    }
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn a_refused_capture_leaves_every_row_as_it_was() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("no-capture-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let stranger = world.customer(&tenant, None).await;
    let rival = world.tenant("rival-capture-bank").await;
    let from = world.account(&tenant, customer.id, 500).await.id;
    let to = world.account(&tenant, stranger.id, 0).await.id;
    let live = world.run(&person, hold(from, Some(to), 100)).await.unwrap();
    let gone = world.run(&person, hold(from, Some(to), 100)).await.unwrap();
    world.run(&tenant, ReleaseHold { hold_id: gone.id }).await.unwrap();
    let officer = world.person(&tenant, "officer").await;
    let outsider = world.person(&rival, "officer").await;
    let nobody = Hold { id: Uuid::from_u128(3), ..live.clone() };
    let table = [
        (&officer, capture(&live, Some(0), true), rule("invalid_amount", "amount")),
        (&officer, capture(&live, Some(-1), true), rule("invalid_amount", "amount")),
        (&officer, capture(&live, Some(i64::MIN), true), rule("invalid_amount", "amount")),
        (&officer, capture(&live, Some(101), true), rule("capture_exceeds_hold", "amount")),
        (&officer, capture(&live, Some(1 << 53), true), rule("amount_too_large", "amount")),
        (&officer, capture(&live, Some(i64::MAX), false), rule("amount_too_large", "amount")),
        (&officer, capture(&gone, None, true), rule("hold_released", "")),
        (&officer, capture(&nobody, None, true), missing()),
        (&outsider, capture(&live, None, true), missing()),
        (&person, capture(&live, None, true), denied()),
        (&person, capture(&nobody, None, true), denied()),
    ];
    let before = world.dump().await;
    for (actor, order, expected) in table {
        let result = world.run(actor, order).await;
        assert_eq!(said(&result), expected, "{order:?}");
        assert_eq!(world.dump().await, before, "{order:?} left a trace");
    }
    // Frozen on either side: nothing is paid, everything may be let go.
    for (account, field) in [(from, "account_id"), (to, "to_account_id")] {
        freeze(&world, &tenant, account, AccountStatus::Frozen).await;
        let refused = world.run(&officer, capture(&live, None, true)).await;
        assert_eq!(said(&refused), rule("account_frozen", field));
        freeze(&world, &tenant, account, AccountStatus::Active).await;
    }
    let other = world.run(&person, hold(from, Some(to), 7)).await.unwrap();
    freeze(&world, &tenant, from, AccountStatus::Frozen).await;
    world.run(&officer, ReleaseHold { hold_id: other.id }).await.unwrap();
    freeze(&world, &tenant, from, AccountStatus::Active).await;
    world.run(&officer, capture(&live, None, true)).await.unwrap();
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn staff_promise_and_end_only_what_they_are_no_side_of() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("duty-holds").await;
    let (jana, victim) = world.banking_customer(&tenant).await;
    let shop = world.customer(&tenant, None).await;
    let victims = world.account(&tenant, victim.id, 1_000).await.id;
    let shops = world.account(&tenant, shop.id, 0).await.id;
    for role in STAFF {
        let actor = world.person(&tenant, role).await;
        let own_record = world.customer(&tenant, Some(&actor)).await;
        let own = world.account(&tenant, own_record.id, 100).await.id;
        let second = world.account(&tenant, own_record.id, 0).await.id;
        // Somebody else's money into an account of one's own.
        let theft = world.run(&actor, hold(victims, Some(own), 10)).await;
        assert_eq!(said(&theft), denied(), "{role}");
        // Promised by the victim all the same: another of the staff has to pay it out.
        let gift = world.run(&jana, hold(victims, Some(own), 10)).await.unwrap();
        assert_eq!(said(&world.run(&actor, capture(&gift, None, true)).await), denied(), "{role}");
        let release = ReleaseHold { hold_id: gift.id };
        assert_eq!(said(&world.run(&actor, release).await), denied(), "{role}");
        world.run(&tenant, release).await.unwrap();
        // One's own promise cannot be taken back, nor by capturing a cent of it.
        let promise = world.run(&actor, hold(own, Some(shops), 10)).await.unwrap();
        let cent = world.run(&actor, capture(&promise, Some(1), true)).await;
        assert_eq!(said(&cent), denied(), "{role}");
        let back = world.run(&actor, ReleaseHold { hold_id: promise.id }).await;
        assert_eq!(said(&back), denied(), "{role}");
        // Nor between one's own accounts; the system may.
        let between = world.run(&actor, hold(own, Some(second), 10)).await.unwrap();
        assert_eq!(said(&world.run(&actor, capture(&between, None, true)).await), denied());
        world.run(&tenant, capture(&between, None, true)).await.unwrap();
        // What is nobody's of theirs is their work.
        let work = world.run(&actor, hold(victims, Some(shops), 10)).await.unwrap();
        world.run(&actor, capture(&work, Some(5), false)).await.unwrap();
        world.run(&actor, ReleaseHold { hold_id: work.id }).await.unwrap();
    }
    let auditor = world.person(&tenant, "auditor").await;
    let one = world.run(&jana, hold(victims, Some(shops), 1)).await.unwrap();
    assert_eq!(said(&world.run(&auditor, hold(victims, Some(shops), 1)).await), denied());
    assert_eq!(said(&world.run(&auditor, capture(&one, None, true)).await), denied());
    assert_eq!(read(&world, &auditor, &HoldView { hold_id: one.id }).await.unwrap().id, one.id);
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn a_repeated_key_keeps_back_and_pays_once() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("key-holds").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let (other, shop) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 1_000).await.id;
    let to = world.account(&tenant, shop.id, 1_000).await.id;
    let order = hold(from, Some(to), 100);
    let first = world.run_keyed(&person, Some("k"), order.clone()).await.unwrap();
    let again = world.run_keyed(&person, Some("k"), order.clone()).await.unwrap();
    assert_eq!((first.status, first.replayed, again.replayed), (201, false, true));
    assert_eq!(first.output, again.output);
    let changed = AuthoriseHold { amount: 101, ..order };
    assert_eq!(
        code(&world.run_keyed(&person, Some("k"), changed).await.map(drop)),
        "idempotency_key_reused"
    );
    // Another's key of the same name is another key.
    let theirs = world.run_keyed(&other, Some("k"), hold(to, None, 5)).await.unwrap();
    assert!(!theirs.replayed);
    let one = first.output;
    let part = capture(&one, Some(30), false);
    for replayed in [false, true, true] {
        let done = world.run_keyed(&tenant, Some("c"), part).await.unwrap();
        assert_eq!((done.status, done.replayed), (200, replayed));
        assert_eq!((done.output.hold.remaining, done.output.amount), (70, 30));
        assert_eq!(done.output.hold.last_transfer_id, Some(done.output.transfer_id));
    }
    // The default and what it stands for are the same request, a keep is another.
    let rest = capture(&one, Some(30), true);
    let reused = world.run_keyed(&tenant, Some("c"), rest).await.map(drop);
    assert_eq!(code(&reused), "idempotency_key_reused");
    let release = ReleaseHold { hold_id: one.id };
    let let_go = world.run_keyed(&tenant, Some("r"), release).await.unwrap();
    let replay = world.run_keyed(&tenant, Some("r"), release).await.unwrap();
    assert_eq!(let_go.output, replay.output);
    assert_eq!((replay.replayed, replay.output.status), (true, HoldStatus::Released));
    // What is answered is what is read.
    assert_eq!(read(&world, &person, &HoldView { hold_id: one.id }).await.unwrap(), replay.output);
    // A final refusal is remembered with its key: another key asks again.
    let late = world.run_keyed(&tenant, Some("late"), part).await.map(drop);
    assert_eq!(code(&late), "hold_released");
    world.assert_books_are_right(&tenant).await;
}

/// All pages of a list.
async fn listed(world: &BankWorld, actor: &OpContext, filter: HoldFilter) -> Vec<Hold> {
    let mut all = Vec::new();
    let mut page = PageRequest { limit: 3, after: None, ..PageRequest::default() };
    loop {
        let view = HoldList { filter, page: page.clone() };
        let Ok(answer) = read(world, actor, &view).await else { return all };
        all.extend(answer.data);
        let Some(next) = answer.next else { return all };
        page.after = Some(next);
    }
}

#[tokio::test]
async fn lists_are_what_single_reads_allow() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("list-holds").await;
    let rival = world.tenant("rival-list-holds").await;
    let (jana, first) = world.banking_customer(&tenant).await;
    let (petr, second) = world.banking_customer(&tenant).await;
    let mut accounts = Vec::new();
    for owner in [&first, &first, &second] {
        accounts.push(world.account(&tenant, owner.id, 1_000).await.id);
    }
    let (_, theirs) = world.banking_customer(&rival).await;
    let theirs = world.account(&rival, theirs.id, 100).await.id;
    let strange = world.run(&rival, hold(theirs, None, 1)).await.unwrap();
    let mut all = vec![strange];
    for number in 0..16_usize {
        let from = accounts[number % 3];
        let to = if number % 2 == 0 { None } else { Some(accounts[(number + 1) % 3]) };
        let one = world.run(&tenant, hold(from, to, 10)).await.unwrap();
        if number % 4 == 1 {
            world.run(&tenant, capture(&one, Some(4), number % 8 == 1)).await.unwrap();
        }
        if number % 4 == 2 {
            world.run(&tenant, ReleaseHold { hold_id: one.id }).await.unwrap();
        }
        all.push(one);
        if number % 3 == 0 {
            world.clock.advance(SignedDuration::from_secs(1));
        }
    }
    let staff = world.person(&tenant, "auditor").await;
    let outsider = world.person(&rival, "auditor").await;
    let accounts = [None, Some(accounts[0]), Some(accounts[2]), Some(theirs)];
    let statuses = std::iter::once(None).chain(HoldStatus::ALL.iter().copied().map(Some));
    let mut seen = 0;
    for status in statuses {
        for account_id in accounts {
            for actor in [&jana, &petr, &staff, &outsider] {
                let mut expected = BTreeSet::new();
                for one in &all {
                    let Ok(one) = read(&world, actor, &HoldView { hold_id: one.id }).await else {
                        continue;
                    };
                    if status.is_none_or(|status| status == one.status)
                        && account_id.is_none_or(|account| account == one.account_id)
                    {
                        expected.insert(one.id);
                    }
                }
                let list = listed(&world, actor, HoldFilter { account_id, status }).await;
                let positions: Vec<_> = list.iter().map(|one| (one.created_at, one.id)).collect();
                assert!(positions.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
                let found: BTreeSet<Uuid> = list.iter().map(|one| one.id).collect();
                assert_eq!(found.len(), list.len(), "no hold twice");
                assert_eq!(found, expected, "{status:?} {account_id:?}");
                seen += found.len();
            }
        }
    }
    assert!(seen > 100, "only {seen}");
}

/// Action, kind of resource, status before and after, amount captured.
type Record = (String, String, Option<String>, Option<String>, Option<String>);

#[tokio::test]
async fn records_say_what_was_and_what_is() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("record-holds").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await.id;
    let one = world.run(&person, hold(from, None, 50)).await.unwrap();
    let done = world.run(&tenant, capture(&one, Some(20), true)).await.unwrap();
    let sql = format!(
        "SELECT action, resource_type, old_values->>'status', new_values->>'status', \
             new_values->>'captured_amount' \
         FROM audit_log WHERE resource_id IN ('{}', '{}') ORDER BY resource_type, action DESC",
        one.id, done.transfer_id
    );
    let rows = world.rows(&sql).await;
    let found: Vec<Record> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        ("hold.create", "hold", None, text("authorized"), None),
        ("hold.capture", "hold", text("authorized"), text("captured"), text("20")),
        ("hold.capture", "transfer", None, None, None),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(action, kind, old, new, amount)| {
            (action.to_owned(), kind.to_owned(), old, new, amount)
        })
        .collect();
    assert_eq!(found, expected);
    let link = world.rows("SELECT id FROM transfers WHERE hold_id IS NOT NULL").await;
    assert_eq!((link.len(), link[0].get::<_, Uuid>(0)), (1, done.transfer_id));
    let texts = world
        .rows("SELECT count(*) FROM audit_log WHERE convert_from(record, 'UTF8') LIKE '%Hotel%'")
        .await;
    assert_eq!(texts[0].get::<_, i64>(0), 0, "no text of anybody's in the log");
}
