//! The tenant's ceiling where nothing can wait for a second person yet: what one person
//! alone may not move, promise, pay out or undo, and how many transfers may wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use banking::approvals::{LIFETIME, PENDING_MAX};
use banking::{
    ApproveRequest, CaptureHold, ChargeFee, Hold, InternalAccount, JournalAccount, JournalEntry,
    PostJournal, RejectRequest, ReleaseHold, ReverseTransaction, Withdraw,
};
use operation::{Call, Refusal};
use tenancy::OpContext;
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, refused, transfer};
use crate::holds::{capture, hold};

const CEILING: i64 = 1_000;
const FUNDS: i64 = 100_000;

struct Scene {
    world: BankWorld,
    bank: OpContext,
    person: OpContext,
    from: Uuid,
    to: Uuid,
}

impl Scene {
    /// A bank without a ceiling, and two customers with money.
    async fn new(slug: &str) -> Self {
        let world = BankWorld::new().await;
        let bank = world.tenant(slug).await;
        let (person, customer) = world.banking_customer(&bank).await;
        let (_, merchant) = world.banking_customer(&bank).await;
        let from = world.account(&bank, customer.id, FUNDS).await.id;
        let to = world.account(&bank, merchant.id, FUNDS).await.id;
        Self { world, bank, person, from, to }
    }

    async fn set_ceiling(&self, ceiling: Option<i64>) {
        let sql = "INSERT INTO security_policies (tenant_id, policy) \
             VALUES ($1, jsonb_build_object('transfer_ceiling_minor', $2::bigint)) \
             ON CONFLICT (tenant_id) DO UPDATE SET policy = EXCLUDED.policy";
        self.world.run_sql(sql, &[&self.bank.tenant_id(), &ceiling]).await;
    }

    /// Somebody of the bank, as those who decide have to know them.
    async fn staff(&self, role: &str) -> OpContext {
        let mut person = self.world.person(&self.bank, role).await;
        person.actor.sees_all_users = true;
        let sql = "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, $3)";
        self.world.run_sql(sql, &[&self.bank.tenant_id(), &person.actor.id, &role]).await;
        person
    }

    /// Orders so much in every way that one person orders alone; what came of each.
    async fn order_all(&self, actor: &OpContext, amount: i64) -> Vec<(&'static str, Said)> {
        let (world, account_id) = (&self.world, self.from);
        let withdraw = Withdraw {
            account_id,
            amount,
            currency: None,
            description: String::new(),
            reference: None,
            value_date: None,
        };
        let fee = ChargeFee {
            account_id,
            amount,
            currency: None,
            description: String::new(),
            reference: None,
        };
        vec![
            ("deposit", said(world.run(actor, deposit(account_id, amount)).await)),
            ("withdrawal", said(world.run(actor, withdraw).await)),
            ("fee", said(world.run(actor, fee).await)),
            ("journal", said(world.run(actor, self.journal(amount)).await)),
            ("hold", said(world.run(actor, hold(account_id, Some(self.to), amount)).await)),
            ("settlement", said(world.run(actor, hold(account_id, None, amount)).await)),
        ]
    }

    /// Two debits, one credit: none of its legs alone is more than the whole.
    fn journal(&self, amount: i64) -> PostJournal {
        let leg = |account, amount| JournalEntry { account, amount };
        PostJournal {
            currency: "EUR".parse().unwrap(),
            description: "Correction".to_owned(),
            reference: None,
            value_date: None,
            entries: vec![
                leg(JournalAccount::Customer(self.from), -amount + 1),
                leg(JournalAccount::Customer(self.to), -1),
                leg(JournalAccount::Internal(InternalAccount::Suspense), amount),
            ],
        }
    }
}

/// Code, field and detail of a refusal; nothing where it was done.
type Said = Option<(String, String, String)>;

fn said<T>(result: Result<T, Refusal>) -> Said {
    let refusal = result.err()?;
    let field = refusal.errors.first().map(|error| error.field.to_string());
    Some((refusal.code.to_string(), field.unwrap_or_default(), refusal.detail))
}

fn code(said: &Said) -> &str {
    said.as_ref().map_or("ok", |(code, _, _)| code)
}

fn reverse(transaction_id: Uuid) -> ReverseTransaction {
    ReverseTransaction { transaction_id, reason: None, value_date: None }
}

#[tokio::test]
async fn nobody_alone_moves_or_promises_more_than_the_ceiling() {
    let scene = Scene::new("lone-bank").await;
    scene.set_ceiling(Some(CEILING)).await;
    for role in ["customer_service", "officer", "manager", "admin", "super_admin"] {
        let actor = scene.staff(role).await;
        let books = !["customer_service", "officer"].contains(&role);
        for (what, said) in scene.order_all(&actor, CEILING).await {
            let expected = if what == "journal" && !books { "permission_denied" } else { "ok" };
            assert_eq!(code(&said), expected, "{what} of the ceiling by {role}");
        }
        let before = scene.world.dump().await;
        for (what, said) in scene.order_all(&actor, CEILING + 1).await {
            if what == "journal" && !books {
                continue;
            }
            let (code, field, detail) = said.expect(what);
            let expected = if what == "journal" { "entries" } else { "amount" };
            assert_eq!((&*code, &*field), ("approval_required", expected), "{what} by {role}");
            assert!(detail.contains("1000 minor units"), "{detail}");
        }
        assert_eq!(scene.world.dump().await, before, "{role} left a trace");
    }
    // Neither does the customer promise so much of their own.
    let own = scene.world.run(&scene.person, hold(scene.from, None, CEILING + 1)).await;
    assert_eq!(code(&said(own)), "approval_required");
    // The bank's own runs have no second person, and a bank may have no ceiling.
    let manager = scene.staff("manager").await;
    for (actor, ceiling) in [(&scene.bank, Some(CEILING)), (&manager, None)] {
        scene.set_ceiling(ceiling).await;
        for (what, said) in scene.order_all(actor, CEILING + 1).await {
            assert_eq!(code(&said), "ok", "{what} under {ceiling:?}");
        }
    }
    scene.world.assert_books_are_right(&scene.bank).await;
}

#[tokio::test]
async fn the_ceiling_is_looked_at_behind_the_order_and_before_the_funds() {
    let scene = Scene::new("order-bank").await;
    scene.set_ceiling(Some(CEILING)).await;
    let officer = scene.staff("officer").await;
    let nobody = Uuid::from_u128(1);
    let holds = [
        (hold(scene.from, Some(scene.to), FUNDS * 2), "approval_required"),
        (hold(scene.from, None, 1 << 53), "amount_too_large"),
        (hold(scene.from, Some(scene.from), CEILING + 1), "same_account"),
        (hold(scene.from, Some(nobody), CEILING + 1), "not_found"),
        (hold(nobody, None, CEILING + 1), "not_found"),
    ];
    let before = scene.world.dump().await;
    for (order, expected) in holds {
        let name = format!("{order:?}");
        let result = scene.world.run(&officer, order).await;
        assert_eq!(code(&said(result)), expected, "{name}");
    }
    for (account, amount, expected) in [
        (scene.from, (1 << 53) - 1, "approval_required"),
        (scene.from, 1 << 53, "amount_too_large"),
        (nobody, CEILING + 1, "not_found"),
    ] {
        let result = scene.world.run(&officer, deposit(account, amount)).await;
        assert_eq!(code(&said(result)), expected, "{account} {amount}");
    }
    assert_eq!(scene.world.dump().await, before);
}

#[tokio::test]
async fn who_authorised_does_not_capture_what_a_lower_ceiling_forbids() {
    let scene = Scene::new("lowered-bank").await;
    let (clerk, officer) = (scene.staff("customer_service").await, scene.staff("officer").await);
    let world = &scene.world;
    let mut made: Vec<Hold> = Vec::new();
    for (actor, amount) in [
        (&clerk, CEILING + 1),
        (&clerk, CEILING + 1),
        (&clerk, CEILING),
        (&scene.bank, CEILING + 1),
        (&scene.person, CEILING + 1),
    ] {
        made.push(world.run(actor, hold(scene.from, Some(scene.to), amount)).await.unwrap());
    }
    scene.set_ceiling(Some(CEILING)).await;
    // Not in parts either: each would be below it.
    let before = world.dump().await;
    for amount in [None, Some(1), Some(CEILING)] {
        let own = said(world.run(&clerk, capture(&made[0], amount, false)).await).unwrap();
        assert_eq!((&*own.0, &*own.1), ("approval_required", ""), "{amount:?}");
        assert!(own.2.contains("1000 minor units"), "{}", own.2);
    }
    // What is wrong with the order or the hold comes first.
    let more = world.run(&clerk, capture(&made[0], Some(CEILING + 2), true)).await;
    assert_eq!(code(&said(more)), "capture_exceeds_hold");
    assert_eq!(world.dump().await, before);
    // Somebody else does, letting go is nobody's gain, and below it one suffices.
    let table: [(&OpContext, CaptureHold); 4] = [
        (&officer, capture(&made[0], None, true)),
        (&clerk, capture(&made[2], None, true)),
        (&clerk, capture(&made[3], None, true)),
        (&clerk, capture(&made[4], None, true)),
    ];
    for (actor, order) in table {
        world.run(actor, order).await.unwrap_or_else(|refusal| panic!("{order:?}: {refusal}"));
    }
    world.run(&clerk, ReleaseHold { hold_id: made[1].id }).await.unwrap();
    let ended = world.run(&clerk, capture(&made[1], None, true)).await;
    assert_eq!(code(&said(ended)), "hold_released");
    world.assert_books_are_right(&scene.bank).await;
}

#[tokio::test]
async fn what_two_have_agreed_to_or_exceeds_the_ceiling_is_not_undone_by_one() {
    let scene = Scene::new("agreed-bank").await;
    let world = &scene.world;
    let (officer, manager) = (scene.staff("officer").await, scene.staff("manager").await);
    let undoer = scene.staff("admin").await;
    let order = |amount| transfer(scene.from, scene.to, amount);
    let small = world.run(&officer, order(CEILING)).await.unwrap();
    let large = world.run(&officer, order(CEILING + 1)).await.unwrap();
    scene.set_ceiling(Some(CEILING)).await;
    let waits = world.run(&officer, order(CEILING + 1)).await.unwrap();
    let approve = ApproveRequest {
        operations: world.operations.clone(),
        approval_id: waits.approval_id.unwrap(),
        payload_hash: None,
        note: None,
    };
    world.run(&manager, approve).await.unwrap();
    let before = world.dump().await;
    // The ceiling, what is to be undone, the field at fault.
    for (ceiling, undone, field) in [
        (Some(CEILING), large.id, "id"),
        (Some(CEILING), waits.id, ""),
        // Two have agreed, whatever the ceiling is by now.
        (Some(CEILING + 1), waits.id, ""),
        (None, waits.id, ""),
    ] {
        scene.set_ceiling(ceiling).await;
        for actor in [&undoer, &manager] {
            let (code, at, _) = said(world.run(actor, reverse(undone)).await).unwrap();
            assert_eq!((&*code, &*at), ("approval_required", field), "{ceiling:?}");
        }
    }
    assert_eq!(world.dump().await, before);
    scene.set_ceiling(Some(CEILING)).await;
    world.run(&manager, reverse(small.id)).await.unwrap();
    for undone in [large.id, waits.id] {
        world.run(&scene.bank, reverse(undone)).await.unwrap();
    }
    assert_eq!(world.balance(scene.from).await, FUNDS);
    world.assert_books_are_right(&scene.bank).await;
}

#[tokio::test]
async fn one_maker_has_so_many_orders_waiting_and_no_more() {
    let scene = Scene::new("patient-bank").await;
    scene.set_ceiling(Some(CEILING)).await;
    let world = &scene.world;
    let manager = scene.staff("manager").await;
    let order = || transfer(scene.from, scene.to, CEILING + 1);
    let call = || Call { context: scene.person.clone(), idempotency_key: None, command: order() };
    let max = usize::try_from(PENDING_MAX).unwrap();
    let mut results = world.operations.run((0..max + 5).map(|_| call()).collect()).await;
    for late in results.split_off(max) {
        let refusal = refused(late).unwrap_err();
        assert_eq!((refusal.kind.status(), &*refusal.code), (422, "too_many_pending"));
    }
    let mut waiting = Vec::new();
    for made in results {
        waiting.push(refused(made).unwrap().output.approval_id.unwrap());
    }
    let stored = world.rows("SELECT count(*) FROM approvals").await;
    assert_eq!(stored[0].get::<_, i64>(0), PENDING_MAX);
    // It is this maker's own bound, and says nothing of what need not wait.
    world.run(&manager, order()).await.unwrap();
    world.run(&scene.person, transfer(scene.from, scene.to, 1)).await.unwrap();
    assert_eq!(code(&said(world.run(&scene.person, order()).await)), "too_many_pending");
    // Whatever is decided, or over, makes room.
    let reject = RejectRequest { approval_id: waiting[0], payload_hash: None, note: None };
    world.run(&manager, reject).await.unwrap();
    world.run(&scene.person, order()).await.unwrap();
    assert_eq!(code(&said(world.run(&scene.person, order()).await)), "too_many_pending");
    world.clock.advance(LIFETIME);
    world.run(&scene.person, order()).await.unwrap();
}
