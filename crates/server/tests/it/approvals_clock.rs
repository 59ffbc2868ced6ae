//! Approvals and time: what nobody decides is over when the clock says so, worker or
//! none; and what the table itself refuses, whoever asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use banking::approvals::{LIFETIME, expire_due};
use banking::{
    Approval, ApprovalFilter, ApprovalList, ApprovalStatus, ApprovalView, ApproveRequest,
    RejectRequest, Transfer, TransferView,
};
use jiff::SignedDuration;
use operation::{PageRequest, Refusal};
use tenancy::{ActorKind, OpContext, TenantRef};
use uuid::Uuid;

use crate::bank_world::{BankWorld, read, transfer};

struct Scene {
    world: BankWorld,
    bank: OpContext,
    officer: OpContext,
    manager: OpContext,
    accounts: [Uuid; 2],
}

impl Scene {
    async fn new() -> Self {
        let world = BankWorld::new().await;
        let bank = world.tenant("clocks").await;
        world
            .run_sql(
                "INSERT INTO security_policies (tenant_id, policy) VALUES ($1, '{\"transfer_ceiling_minor\": 1000}')",
                &[&bank.tenant_id()],
            )
            .await;
        let mut people = Vec::new();
        for role in ["officer", "manager"] {
            let mut person = world.person(&bank, role).await;
            person.actor.sees_all_users = true;
            world
                .run_sql(
                    "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, $3)",
                    &[&bank.tenant_id(), &person.actor.id, &role],
                )
                .await;
            people.push(person);
        }
        let owner = world.customer(&bank, None).await.id;
        let accounts =
            [world.account(&bank, owner, 10_000).await.id, world.account(&bank, owner, 0).await.id];
        let manager = people.pop().unwrap();
        Self { world, bank, officer: people.pop().unwrap(), manager, accounts }
    }

    async fn waiting(&self) -> Transfer {
        let [from, to] = self.accounts;
        let made = self.world.run(&self.officer, transfer(from, to, 1_001)).await.unwrap();
        assert_eq!(made.status, "pending_approval");
        made
    }

    async fn approve(&self, approval_id: Uuid) -> Result<Approval, Refusal> {
        let operations = self.world.operations.clone();
        let command = ApproveRequest { operations, approval_id, payload_hash: None, note: None };
        self.world.run(&self.manager, command).await
    }

    async fn reject(&self, approval_id: Uuid) -> Result<Approval, Refusal> {
        self.world
            .run(&self.manager, RejectRequest { approval_id, payload_hash: None, note: None })
            .await
    }

    async fn count(&self, status: ApprovalStatus) -> usize {
        let filter = ApprovalFilter { status: Some(status), kind: None };
        let list = ApprovalList { filter, page: PageRequest::default() };
        read(&self.world, &self.manager, &list).await.unwrap().data.len()
    }
}

#[tokio::test]
async fn time_ends_an_approval_before_any_worker_runs() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let (early, late) = (scene.waiting().await, scene.waiting().await);
    let (early_id, late_id) = (early.approval_id.unwrap(), late.approval_id.unwrap());
    world.clock.advance(LIFETIME - SignedDuration::from_micros(1));
    assert_eq!(scene.count(ApprovalStatus::Pending).await, 2);
    assert_eq!(scene.approve(early_id).await.unwrap().status, ApprovalStatus::Approved);
    world.clock.advance(SignedDuration::from_micros(1));
    for outcome in [scene.approve(late_id).await, scene.reject(late_id).await] {
        assert_eq!(outcome.unwrap_err().code, "approval_expired");
    }
    let shown = read(world, &scene.manager, &ApprovalView { approval_id: late_id }).await.unwrap();
    assert_eq!((shown.status, shown.decided_at), (ApprovalStatus::Expired, None));
    assert_eq!(scene.count(ApprovalStatus::Expired).await, 1);
    assert_eq!(scene.count(ApprovalStatus::Pending).await, 0);
    let view = TransferView { transfer_id: late.id };
    assert_eq!(read(world, &scene.officer, &view).await.unwrap().status, "expired");
    assert_eq!(world.balance(scene.accounts[1]).await, 1_001);
    // The answer to the order was posted on the day of the approval.
    let view = TransferView { transfer_id: early.id };
    let posted = read(world, &scene.officer, &view).await.unwrap();
    assert_eq!((posted.status.as_str(), posted.approval_id), ("posted", Some(early_id)));
    assert!(posted.value_date > early.value_date);
    world.assert_books_are_right(&scene.bank).await;
}

#[tokio::test]
async fn what_waits_is_dated_by_the_banks_own_zone_as_the_order_was() {
    let scene = Scene::new().await;
    let world = &scene.world;
    // Eight in the evening in London is the next morning in Tokyo.
    world.clock.advance(SignedDuration::from_hours(8));
    for (zone, day) in [("Asia/Tokyo", "2026-03-02"), ("UTC", "2026-03-01")] {
        let tenant = TenantRef { time_zone: zone.to_owned(), ..(*scene.officer.tenant).clone() };
        let officer = OpContext { tenant: Arc::new(tenant), ..scene.officer.clone() };
        let [from, to] = scene.accounts;
        let made = world.run(&officer, transfer(from, to, 1_001)).await.unwrap();
        assert_eq!(made.value_date.to_string(), day, "{zone}");
        let shown = read(world, &officer, &TransferView { transfer_id: made.id }).await.unwrap();
        assert_eq!((&*shown.status, shown.value_date), ("pending_approval", made.value_date));
        assert_eq!(shown.booking_date, made.booking_date, "{zone}");
    }
}

#[tokio::test]
async fn the_worker_writes_down_what_is_over_once() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let over = scene.waiting().await.approval_id.unwrap();
    world.clock.advance(SignedDuration::from_hours(1));
    let fresh = scene.waiting().await.approval_id.unwrap();
    world.clock.advance(LIFETIME - SignedDuration::from_hours(1));
    let mut worker = scene.bank.clone();
    worker.actor = tenancy::Actor::system(ActorKind::Worker);
    let (one, other) = tokio::join!(
        expire_due(&world.operations, &worker),
        expire_due(&world.operations, &worker)
    );
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(expire_due(&world.operations, &worker).await.unwrap(), 0);
    let rows =
        world.rows("SELECT resource_id FROM audit_log WHERE action = 'approval.expire' AND event_type = 'data_modification'").await;
    let told: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, [over]);
    let shown = read(world, &scene.manager, &ApprovalView { approval_id: over }).await.unwrap();
    assert_eq!((shown.status, shown.version), (ApprovalStatus::Expired, 2));
    assert!(shown.decided_at.is_some() && shown.decided_by.is_none());
    assert_eq!(scene.approve(over).await.unwrap_err().code, "approval_expired");
    assert_eq!(scene.approve(fresh).await.unwrap().status, ApprovalStatus::Approved);
    // Only the system writes it down.
    let command = banking::approvals::ExpireApprovals { limit: 1 };
    assert_eq!(world.run(&scene.manager, command).await.unwrap_err().code, "permission_denied");
}

#[tokio::test]
async fn the_system_decides_nothing_that_it_has_ordered() {
    let scene = Scene::new().await;
    let [from, to] = scene.accounts;
    // No exemption for the command line either.
    let made = scene.world.run(&scene.bank, transfer(from, to, 1_001)).await.unwrap();
    let approval_id = made.approval_id.unwrap();
    let operations = scene.world.operations.clone();
    let command = ApproveRequest { operations, approval_id, payload_hash: None, note: None };
    let refused = scene.world.run(&scene.bank, command).await.unwrap_err();
    assert_eq!(refused.code, "permission_denied");
    assert_eq!(scene.approve(approval_id).await.unwrap().status, ApprovalStatus::Approved);
    // Nor is it the second person of what somebody else has ordered.
    let approval_id = scene.waiting().await.approval_id.unwrap();
    let operations = scene.world.operations.clone();
    let approve = ApproveRequest { operations, approval_id, payload_hash: None, note: None };
    let refused = scene.world.run(&scene.bank, approve).await.unwrap_err();
    assert_eq!(refused.code, "permission_denied");
    let reject = RejectRequest { approval_id, payload_hash: None, note: None };
    let refused = scene.world.run(&scene.bank, reject).await.unwrap_err();
    assert_eq!(refused.code, "permission_denied");
}

#[tokio::test]
async fn the_table_refuses_second_decisions_and_makers_who_decide() {
    let scene = Scene::new().await;
    let (open, done) = (scene.waiting().await, scene.waiting().await);
    let done = done.approval_id.unwrap();
    scene.reject(done).await.unwrap();
    let maker = scene.officer.actor.id;
    let open = open.approval_id.unwrap();
    let statements = [
        format!(
            "UPDATE approvals SET status = 'pending', decided_by = NULL, decided_at = NULL WHERE id = '{done}'"
        ),
        format!(
            "UPDATE approvals SET status = 'approved', result_id = object_id WHERE id = '{done}'"
        ),
        format!("UPDATE approvals SET amount = 1 WHERE id = '{open}'"),
        format!(
            "UPDATE approvals SET status = 'rejected', decided_by = '{maker}', decided_at = app_now() WHERE id = '{open}'"
        ),
        format!(
            "UPDATE approvals SET status = 'approved', decided_at = app_now() WHERE id = '{open}'"
        ),
        format!("DELETE FROM approvals WHERE id = '{open}'"),
        "TRUNCATE approvals".to_owned(),
    ];
    for statement in statements {
        assert!(scene.world.superuser.batch_execute(&statement).await.is_err(), "{statement}");
    }
    // The app role cannot even try to change an order.
    let transaction = scene.world.app.begin(&scene.bank).await.unwrap();
    let refused = transaction
        .execute(
            "UPDATE approvals SET payload = '{}' WHERE tenant_id = $1",
            &[&transaction.tenant()],
        )
        .await;
    assert!(refused.is_err());
}
