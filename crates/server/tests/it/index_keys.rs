//! The key of blind indexes is rotated: whoever is looked for is found all the while, what is
//! unique stays so across generations, and when all indexes are made anew the old key goes.

use std::sync::Arc;

use banking::{
    CreateCustomer, CustomerChange, CustomerFilter, CustomerType, NewCustomer, PersonalData,
    UpdateCustomer,
};
use futures_util::future::join_all;
use jiff::SignedDuration;
use operation::{Call, KeyInventory, OperationError, Refusal, ResealValues, ValuesResealed};
use serde_json::{Value, json};
use server::compose::SEALED;
use tenancy::{
    Clock, OpContext,
    keyring::{Keyring, Rotatable},
};
use uuid::Uuid;

use crate::{
    bank_world::{BankWorld, list_customers, refused},
    harness::{App, PASSWORD},
    key_changes::{destroy, rotate, tenant},
    key_epochs::roots,
};

const INDEX: Rotatable = Rotatable::BlindIndex;

fn number(number: usize) -> NewCustomer {
    NewCustomer {
        customer_type: CustomerType::Individual,
        personal: PersonalData {
            first_name: Some("Jana".to_owned()),
            last_name: Some("Nováková".to_owned()),
            email: Some(format!("jana.{number}@Banka.cz")),
            phone: Some(format!("+42060{number:07}")),
            tax_id: Some(format!("CZ-{number:08}")),
            ..PersonalData::default()
        },
        user_id: None,
    }
}

async fn create(world: &BankWorld, context: &OpContext, which: usize) -> Result<Uuid, Refusal> {
    let command = CreateCustomer { keyring: Arc::clone(&world.keyring), customer: number(which) };
    world.run(context, command).await.map(|record| record.id)
}

async fn found(world: &BankWorld, context: &OpContext, which: usize) -> Vec<Uuid> {
    let email = Some(format!("JANA.{which}@banka.cz"));
    list_customers(world, context, CustomerFilter { email, ..CustomerFilter::default() }).await
}

async fn step(world: &BankWorld, context: &OpContext) -> ValuesResealed {
    let command = ResealValues { keyring: Arc::clone(&world.keyring), sealed: SEALED };
    world.run(context, command).await.unwrap()
}

/// Until nothing is left for now: values made anew and values that were skipped.
async fn reindex(world: &BankWorld, context: &OpContext) -> (usize, usize) {
    let (mut values, mut skipped) = (0, 0);
    loop {
        let page = step(world, context).await;
        (values, skipped) = (values + page.values, skipped + page.skipped);
        if page.is_over {
            return (values, skipped);
        }
    }
}

/// How many rows of `customers` are indexed by each generation.
async fn counted(world: &BankWorld, context: &OpContext, column: &str) -> Vec<(i32, i64)> {
    let lines = world.operations.read(context, &KeyInventory { sealed: SEALED }).await.unwrap();
    let ours = lines.into_iter().filter(|line| line.table == "customers" && line.column == column);
    ours.map(|line| (line.epoch.unwrap(), line.values)).collect()
}

/// Past the time in which a node may not know the newest key yet.
fn spread(clock: &Clock) {
    clock.advance(SignedDuration::from_secs(6));
}

#[tokio::test]
async fn everybody_is_found_while_indexes_move_and_the_old_key_goes_when_all_have() {
    const CUSTOMERS: usize = 503;
    let world = BankWorld::new().await;
    let (ours, theirs) = (tenant(&world, "our-bank").await, tenant(&world, "their-bank").await);
    let mut ids = Vec::new();
    for which in 0..CUSTOMERS {
        ids.push(create(&world, &ours, which).await.unwrap());
    }
    let alien = create(&world, &theirs, 0).await.unwrap();
    assert_eq!(rotate(&world, &ours, INDEX).await.unwrap(), 2);
    // Until every node knows the new key the old one is written.
    let fresh = async || Keyring::new(roots()).tenant(&world.app, &ours).await.unwrap();
    assert_eq!(fresh().await.index().version(), 1);
    assert_eq!(fresh().await.indexes("customers.email", "x").len(), 2);
    assert_eq!(reindex(&world, &ours).await, (0, 0));
    spread(&world.clock);
    assert_eq!(fresh().await.index().version(), 2);
    // A node reads its keys again after a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    ids.push(create(&world, &ours, CUSTOMERS).await.unwrap());
    assert!(world.operations.is_reseal_due(&ours, SEALED).await.unwrap());

    let first = step(&world, &ours).await;
    assert_eq!((first.values, first.left, first.is_over), (500, 3, false));
    assert_eq!(counted(&world, &ours, "email_index").await, [(1, 3), (2, 501)]);
    for which in [0, 1, 250, 499, 500, 501, 502, CUSTOMERS] {
        assert_eq!(found(&world, &ours, which).await, [ids[which]], "{which}");
    }
    let refused = destroy(&world, &ours, INDEX, 1).await.unwrap_err();
    assert_eq!((refused.kind.status(), &*refused.code), (409, "key_in_use"));
    assert_eq!(reindex(&world, &ours).await, (3 * CUSTOMERS - 500, 0));
    world.clock.advance(SignedDuration::from_mins(6));
    assert_eq!(reindex(&world, &ours).await, (0, 0), "the second pass finds nothing");
    assert!(!world.operations.is_reseal_due(&ours, SEALED).await.unwrap());
    for column in ["email_index", "phone_index", "tax_id_index"] {
        assert_eq!(counted(&world, &ours, column).await, [(2, 504)], "{column}");
    }
    assert_eq!(destroy(&world, &ours, INDEX, 1).await.unwrap(), "destroyed");
    assert_eq!(fresh().await.indexes("customers.email", "x").len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for which in [0, 499, 502, CUSTOMERS] {
        assert_eq!(found(&world, &ours, which).await, [ids[which]], "{which}");
    }
    // A change of version is what others look at; this was none.
    let versions = "SELECT DISTINCT version FROM customers";
    assert_eq!(world.rows(versions).await[0].get::<_, i64>(0), 1);
    assert_eq!(counted(&world, &theirs, "email_index").await, [(1, 1)]);
    assert_eq!(found(&world, &theirs, 0).await, [alien]);
}

#[tokio::test]
async fn a_tax_number_is_one_customers_across_generations() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "our-bank").await;
    let first = create(&world, &ours, 1).await.unwrap();
    let other = create(&world, &ours, 2).await.unwrap();
    rotate(&world, &ours, INDEX).await.unwrap();
    // Some nodes write by the old key and some by the new one.
    let ahead = OpContext {
        clock: Clock::manual(world.clock.now().checked_add(SignedDuration::from_secs(6)).unwrap()),
        ..ours.clone()
    };
    let nodes = [Keyring::new(roots()), Keyring::new(roots())].map(Arc::new);
    for (node, (context, version)) in nodes.iter().zip([(&ours, 1), (&ahead, 2)]) {
        let keys = node.tenant(&world.app, context).await.unwrap();
        assert_eq!(keys.index().version(), version);
    }
    let contexts = [&ours, &ahead];
    let at = async |node: usize, which: usize| {
        let keyring = Arc::clone(&nodes[node]);
        let command = CreateCustomer { keyring, customer: number(which) };
        let call = Call { context: contexts[node].clone(), idempotency_key: None, command };
        let made: Result<_, OperationError> = world.operations.run_one(call).await;
        refused(made.map(|reply| reply.output.id))
    };
    for node in [0, 1] {
        let taken = at(node, 1).await.unwrap_err();
        assert_eq!((&*taken.code, &*taken.errors[0].field), ("tax_id_taken", "tax_id"));
    }
    let race = join_all((0..50).map(|turn| at(turn % 2, 7))).await;
    assert_eq!(race.iter().filter(|made| made.is_ok()).count(), 1);
    for lost in race.iter().filter_map(|made| made.as_ref().err()) {
        assert_eq!(lost.code, "tax_id_taken");
    }
    let change = |tax_id: &str| CustomerChange {
        tax_id: Some(Some(tax_id.to_owned())),
        ..CustomerChange::default()
    };
    let update = |customer_id, change| UpdateCustomer {
        keyring: Arc::clone(&nodes[1]),
        customer_id,
        expected_version: None,
        change,
    };
    let taken = world.run(&ahead, update(other, change("cz 00000001"))).await.unwrap_err();
    assert_eq!(taken.code, "tax_id_taken");
    world.run(&ahead, update(first, change("CZ 0000 0001"))).await.unwrap();
    let sql = "SELECT get_byte(tax_id_index, 0) FROM customers WHERE id = $1";
    let row = world.superuser.query_one(sql, &[&first]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 2, "their own number stays theirs, under the new key");
}

#[tokio::test]
async fn an_index_that_is_not_its_values_is_told_and_left() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "our-bank").await;
    let mut ids = Vec::new();
    for which in 0..4 {
        ids.push(create(&world, &ours, which).await.unwrap());
    }
    ids.sort_unstable();
    // Two people are found by each other's address.
    let swap = "UPDATE customers AS one SET email_index = other.email_index FROM customers AS other \
        WHERE one.id = ANY ($1) AND other.id = ANY ($1) AND one.id <> other.id";
    world.run_sql(swap, &[&&ids[..2]]).await;
    rotate(&world, &ours, INDEX).await.unwrap();
    spread(&world.clock);
    assert_eq!(reindex(&world, &ours).await, (10, 2));
    assert_eq!(counted(&world, &ours, "email_index").await, [(1, 2), (2, 2)]);
    let sql = "SELECT resource_id, convert_from(record, 'UTF8') FROM audit_log \
        WHERE event_type::text = 'security_violation' AND action = 'data_key.reseal' \
        ORDER BY resource_id";
    let told = world.rows(sql).await;
    assert_eq!(told.iter().map(|row| row.get::<_, Uuid>(0)).collect::<Vec<_>>(), ids[..2]);
    for row in told {
        let record: String = row.get(1);
        assert!(record.contains("email_index") && !record.contains("jana"), "{record}");
    }
    world.clock.advance(SignedDuration::from_mins(6));
    let refused = destroy(&world, &ours, INDEX, 1).await.unwrap_err();
    assert!(refused.detail.contains("2 values"), "{}", refused.detail);
}

#[tokio::test]
async fn keys_of_indexes_have_no_more_generations_than_a_byte_can_tell() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "our-bank").await;
    for expected in 2..=255 {
        assert_eq!(rotate(&world, &ours, INDEX).await.unwrap(), expected);
    }
    let refused = rotate(&world, &ours, INDEX).await.unwrap_err();
    assert_eq!((refused.kind.status(), &*refused.code), (409, "key_generations_exhausted"));
    create(&world, &ours, 1).await.unwrap();
    assert_eq!(found(&world, &ours, 1).await.len(), 1);
}

#[tokio::test]
async fn people_sign_in_by_their_address_all_the_while() {
    let app = App::start().await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let hire = |username: &str, email: &str| {
        let new = json!({ "username": username, "password": PASSWORD, "email": email, "role": "officer" });
        app.post("/v1/users").bearer(&admin).json(&new).send()
    };
    assert_eq!(hire("ann.first", "ann@our-bank.example").await.status, 201);
    let sign_in = async || {
        let who = "Ann@Our-Bank.example";
        let entry = json!({ "tenant": app.bank.slug, "username": who, "password": PASSWORD });
        app.post("/v1/auth/login").json(&entry).send().await.status
    };
    assert_eq!(sign_in().await, 200);
    let index = json!({ "purpose": "blind_index" });
    let made = app.post("/v1/keys/data/rotate").bearer(&admin).json(&index).send().await;
    assert_eq!((made.status, &made.body["epoch"]), (200, &json!(2)), "{}", made.text);
    assert_eq!(sign_in().await, 200);
    // By the machine's clock: until every node knows the new key, and has read that it does.
    tokio::time::sleep(std::time::Duration::from_millis(6_200)).await;
    let taken = hire("ann.second", "ANN@our-bank.example").await;
    assert_eq!((taken.status, taken.code(), taken.field()), (409, "email_taken", "email"));
    assert_eq!(hire("bea", "bea@our-bank.example").await.status, 201);
    let bea: Value = app.get("/v1/users?username=bea").bearer(&admin).send().await.body;
    let path = format!("/v1/users/{}", bea["data"][0]["id"].as_str().unwrap());
    let version = format!("\"{}\"", bea["data"][0]["version"]);
    let theirs = json!({ "email": "ann@our-bank.example" });
    let wish = app.patch(&path).bearer(&admin).header("if-match", &version).json(&theirs);
    let taken = wish.send().await;
    assert_eq!((taken.status, taken.code()), (409, "email_taken"), "{}", taken.text);
    let context = app.cli(&app.bank.slug).await;
    loop {
        let page = app.identity.reseal_values(&context).await.unwrap();
        assert_eq!((page.skipped, sign_in().await), (0, 200));
        if page.is_over {
            break;
        }
    }
    let sql = "SELECT count(*) FROM users WHERE get_byte(email_index, 0) <> 2";
    assert_eq!(app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(sign_in().await, 200);
}
