//! Generations of keys side by side, on several nodes: each opens what it sealed wherever it
//! is read, a node that does not know the newest looks for it at once, and none of them goes
//! back. Rotation itself is not here: the tests make the next generation themselves, as the
//! application's role.

use std::sync::Arc;

use banking::{
    CreateCustomer, CustomerRecord, CustomerType, ListCustomers, NewCustomer, PersonalData,
    ReadCustomer,
};
use operation::{AccessLog, Call, OperationError, Operations, PageRequest};
use tenancy::{DbError, OpContext, keyring::Keyring};
use tokio_postgres::error::SqlState;
use uuid::Uuid;
use vault::{
    DataKey, Kek, KeyContext, KeyId, Purpose, RootKey, RootKeys, TenantKey as _, WrappedKey,
    WrappingKey as _,
};

use crate::bank_world::BankWorld;
use crate::harness::App;

pub(crate) const RETIRE_KEK: &str = "UPDATE tenant_keks SET status = 'retired' \
    WHERE tenant_id = $1::uuid AND purpose = 'field_kek' AND status = 'active'";
pub(crate) const RETIRE_DATA_KEY: &str = "UPDATE data_keys SET status = 'retired' \
    WHERE tenant_id = $1::uuid AND purpose = 'field_data' AND status = 'active'";
pub(crate) const NEW_KEK: &str = "INSERT INTO tenant_keks (tenant_id, purpose, epoch, key_id, wrapped_key, status) \
    VALUES ($1::uuid, 'field_kek', $2::integer, $3::uuid, $4::bytea, 'active')";
const NEW_DATA_KEY: &str = "INSERT INTO data_keys \
    (tenant_id, key_id, purpose, epoch, kek_purpose, kek_epoch, wrapped_key, status) \
    VALUES ($1::uuid, $2::uuid, 'field_data', $3::integer, 'field_kek', $3::integer, $4::bytea, 'active')";
const REWRAP_DATA_KEY: &str = "UPDATE data_keys SET kek_epoch = $2::integer, wrapped_key = $3::bytea \
    WHERE tenant_id = $1::uuid AND key_id = $4::uuid";
const REWRAP_SUBJECT_KEY: &str = "UPDATE subject_keys SET kek_epoch = $2::integer, wrapped_key = $3::bytea \
    WHERE tenant_id = $1::uuid AND subject_id = $4::uuid";
pub(crate) const DESTROY: &str = "UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = app_now() \
    WHERE tenant_id = $1::uuid AND purpose = 'field_kek' AND epoch = $2::integer";

pub(crate) fn roots() -> RootKeys {
    RootKeys::new(RootKey::from_bytes(&[7; 32]), None)
}

/// One node more on the database of a world.
pub(crate) struct Node {
    operations: Operations,
    pub(crate) keyring: Arc<Keyring>,
}

impl Node {
    pub(crate) fn start(world: &BankWorld) -> Self {
        let policies = Arc::new(access::Policies::load().unwrap());
        Self {
            operations: Operations::new(world.app.clone(), policies, AccessLog::default()),
            keyring: Arc::new(Keyring::new(roots())),
        }
    }

    pub(crate) async fn create(&self, context: &OpContext, name: &str) -> CustomerRecord {
        let personal = PersonalData {
            first_name: Some(name.to_owned()),
            last_name: Some("Nováková".to_owned()),
            ..PersonalData::default()
        };
        let customer =
            NewCustomer { customer_type: CustomerType::Individual, personal, user_id: None };
        let command = CreateCustomer { keyring: Arc::clone(&self.keyring), customer };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.operations.run_one(call).await.unwrap().output
    }

    pub(crate) async fn read(
        &self,
        context: &OpContext,
        id: Uuid,
    ) -> Result<PersonalData, OperationError> {
        let command = ReadCustomer { keyring: Arc::clone(&self.keyring), customer_id: id };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.operations.run_one(call).await.map(|reply| reply.output.personal)
    }

    pub(crate) async fn name(&self, context: &OpContext, id: Uuid) -> String {
        self.read(context, id).await.unwrap().first_name.unwrap()
    }

    pub(crate) async fn names(&self, context: &OpContext) -> Vec<String> {
        let command = ListCustomers::new(
            &self.operations,
            context,
            Arc::clone(&self.keyring),
            banking::CustomerFilter::default(),
            PageRequest { limit: 100, after: None, ..PageRequest::default() },
        );
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let page = self.operations.run_one(call).await.unwrap().output;
        let mut names: Vec<String> =
            page.data.into_iter().map(|one| one.personal.first_name.unwrap()).collect();
        names.sort();
        names
    }
}

/// The tenant's field KEK of a generation, opened with the root.
async fn kek(world: &BankWorld, tenant: Uuid, epoch: i32) -> Kek {
    let sql = "SELECT key_id, wrapped_key FROM tenant_keks WHERE tenant_id = $1 AND purpose = 'field_kek' AND epoch = $2";
    let row = world.superuser.query_one(sql, &[&tenant, &epoch]).await.unwrap();
    let context = KeyContext {
        tenant,
        purpose: Purpose::FieldKek,
        key: KeyId(row.get(0)),
        epoch: u32::try_from(epoch).unwrap(),
    };
    roots().field().unwrap_key(&context, &WrappedKey::from_bytes(row.get(1)).unwrap()).unwrap()
}

/// Makes the next generation of the field KEK, and of the data key under it.
pub(crate) async fn rotate(world: &BankWorld, context: &OpContext, epoch: u32) {
    let tenant = context.tenant_id();
    let kek = Kek::generate(tenant, Purpose::FieldKek, epoch).unwrap();
    let key = DataKey::generate(tenant, Purpose::FieldData, epoch).unwrap();
    let (outer, inner) = (roots().field().wrap_key(&kek).unwrap(), kek.wrap_key(&key).unwrap());
    let epoch = i32::try_from(epoch).unwrap();
    let transaction = world.app.begin(context).await.unwrap();
    assert_eq!(transaction.execute(RETIRE_KEK, &[&tenant]).await.unwrap(), 1);
    assert_eq!(transaction.execute(RETIRE_DATA_KEY, &[&tenant]).await.unwrap(), 1);
    let id = kek.context().key.0;
    transaction.execute(NEW_KEK, &[&tenant, &epoch, &id, &outer.as_bytes()]).await.unwrap();
    transaction
        .execute(NEW_DATA_KEY, &[&tenant, &key.id().0, &epoch, &inner.as_bytes()])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

/// Wraps what generation `from` of the field KEK wraps by generation `to`: the tenant's keys,
/// and with `people` those of people.
pub(crate) async fn rewrap(
    world: &BankWorld,
    context: &OpContext,
    (from, to): (i32, i32),
    people: bool,
) {
    let tenant = context.tenant_id();
    let (old, new) = (kek(world, tenant, from).await, kek(world, tenant, to).await);
    let anew = |purpose: Purpose, key: Uuid, epoch: u32, wrapped: Vec<u8>| {
        let context = KeyContext { tenant, purpose, key: KeyId(key), epoch };
        let secret = old.unwrap(&context, &WrappedKey::from_bytes(wrapped).unwrap()).unwrap();
        new.wrap(&context, &secret).unwrap().into_bytes()
    };
    let transaction = world.app.begin(context).await.unwrap();
    let sql = "SELECT key_id, purpose, epoch, wrapped_key FROM data_keys WHERE tenant_id = $1 \
        AND kek_purpose = 'field_kek' AND kek_epoch = $2";
    for row in world.superuser.query(sql, &[&tenant, &from]).await.unwrap() {
        let (key, epoch): (Uuid, i32) = (row.get(0), row.get(2));
        let purpose = Purpose::parse(row.get(1)).unwrap();
        let wrapped = anew(purpose, key, u32::try_from(epoch).unwrap(), row.get(3));
        transaction.execute(REWRAP_DATA_KEY, &[&tenant, &to, &wrapped, &key]).await.unwrap();
    }
    let sql = "SELECT subject_id, key_id, wrapped_key FROM subject_keys WHERE tenant_id = $1 AND kek_epoch = $2";
    let subjects = world.superuser.query(sql, &[&tenant, &from]).await.unwrap();
    for row in subjects.iter().filter(|_| people) {
        let subject: Uuid = row.get(0);
        let wrapped = anew(Purpose::SubjectData, row.get(1), 1, row.get(2));
        transaction.execute(REWRAP_SUBJECT_KEY, &[&tenant, &to, &wrapped, &subject]).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

pub(crate) async fn destroy(
    world: &BankWorld,
    context: &OpContext,
    epoch: i32,
) -> Result<(), DbError> {
    let transaction = world.app.begin(context).await?;
    transaction.execute(DESTROY, &[&context.tenant_id(), &epoch]).await?;
    transaction.commit().await
}

pub(crate) async fn epoch_of(world: &BankWorld, subject: Uuid) -> i32 {
    let sql = "SELECT kek_epoch FROM subject_keys WHERE subject_id = $1";
    world.superuser.query_one(sql, &[&subject]).await.unwrap().get(0)
}

#[tokio::test]
async fn two_nodes_open_two_generations_and_a_new_one_is_known_at_once() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("epoch-bank").await;
    let (first, second) = (Node::start(&world), Node::start(&world));
    let ann = first.create(&tenant, "Ann").await;
    // Both have read the keys just now: what follows comes before they read them again.
    first.keyring.tenant(&world.app, &tenant).await.unwrap();
    second.keyring.tenant(&world.app, &tenant).await.unwrap();
    assert_eq!(second.name(&tenant, ann.id).await, "Ann");

    rotate(&world, &tenant, 2).await;
    // A third node has read nothing before, so it seals under the new generation.
    let third = Node::start(&world);
    let bob = third.create(&tenant, "Bob").await;
    assert_eq!((epoch_of(&world, ann.id).await, epoch_of(&world, bob.id).await), (1, 2));
    for node in [&first, &second, &third] {
        assert_eq!(node.names(&tenant).await, ["Ann", "Bob"]);
        assert_eq!(node.name(&tenant, bob.id).await, "Bob");
        assert_eq!(node.name(&tenant, ann.id).await, "Ann");
    }
    // They read the keys, and seal under the new generation from then on.
    for (node, name) in [(&first, "Cyd"), (&second, "Dan")] {
        node.keyring.tenant(&world.app, &tenant).await.unwrap();
        let made = node.create(&tenant, name).await;
        assert_eq!(epoch_of(&world, made.id).await, 2, "{name}");
    }
    // A generation that meets nothing unknown is noticed within the second.
    rotate(&world, &tenant, 3).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let eve = first.create(&tenant, "Eve").await;
    assert_eq!(epoch_of(&world, eve.id).await, 3);
    assert_eq!(second.names(&tenant).await, ["Ann", "Bob", "Cyd", "Dan", "Eve"]);
}

#[tokio::test]
async fn a_tenants_own_secret_opens_with_the_key_that_it_names() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("own-bank").await;
    let (old, new) = (Node::start(&world), Node::start(&world));
    let cell = ("notices", "values_sealed", Uuid::from_u128(5));
    let before = old.keyring.tenant(&world.app, &tenant).await.unwrap();
    let one = before.seal(before.field(), cell, "before").unwrap();
    rotate(&world, &tenant, 2).await;
    let after = new.keyring.tenant(&world.app, &tenant).await.unwrap();
    let two = after.seal(after.field(), cell, "after").unwrap();
    assert_eq!(after.open_own(cell, one.clone()).unwrap(), "before");
    // The old node does not know it, says so, and knows it the next time it is asked.
    let refused = DbError::from(before.open_own(cell, two.clone()).unwrap_err());
    assert!(matches!(refused, DbError::StaleKeys(_)), "{refused}");
    let again = old.keyring.tenant(&world.app, &tenant).await.unwrap();
    assert_eq!(again.open_own(cell, two.clone()).unwrap(), "after");
    assert_eq!(again.open_own(cell, one).unwrap(), "before");
    // A key of another tenant is looked for once; then there is none, and nothing is read again.
    let elsewhere = world.tenant("far-bank").await;
    let theirs = old.keyring.tenant(&world.app, &elsewhere).await.unwrap();
    let foreign = theirs.seal(theirs.field(), cell, "theirs").unwrap();
    assert!(matches!(
        DbError::from(again.open_own(cell, foreign.clone()).unwrap_err()),
        DbError::StaleKeys(_)
    ));
    let last = old.keyring.tenant(&world.app, &tenant).await.unwrap();
    let refused = DbError::from(last.open_own(cell, foreign).unwrap_err());
    assert!(
        matches!(&refused, DbError::Corrupt(text) if text.contains("has no data key")),
        "{refused}"
    );
    assert!(!last.is_stale());
}

#[tokio::test]
async fn a_generation_in_use_is_not_destroyed_and_a_destroyed_one_is_an_error() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("gone-bank").await;
    let (node, other) = (Node::start(&world), Node::start(&world));
    let ann = node.create(&tenant, "Ann").await;
    other.keyring.tenant(&world.app, &tenant).await.unwrap();
    // The one that seals now, and one that others are wrapped by.
    for retired in [false, true] {
        if retired {
            rotate(&world, &tenant, 2).await;
        }
        let refused = destroy(&world, &tenant, 1).await.unwrap_err();
        assert_eq!(refused.state(), Some("23000"), "{refused}");
    }
    rewrap(&world, &tenant, (1, 2), true).await;
    destroy(&world, &tenant, 1).await.unwrap();
    assert_eq!(epoch_of(&world, ann.id).await, 2);
    assert_eq!(node.name(&tenant, ann.id).await, "Ann");
    // A node that still seals by the destroyed one is stopped, reads again, and seals by the new.
    let bob = other.create(&tenant, "Bob").await;
    assert_eq!(epoch_of(&world, bob.id).await, 2);
    assert_eq!(Node::start(&world).names(&tenant).await, ["Ann", "Bob"]);

    // What was destroyed against the rules (a database from somewhere else) is said, and no
    // person reads as an empty one.
    rotate(&world, &tenant, 3).await;
    rewrap(&world, &tenant, (2, 3), false).await;
    assert!(destroy(&world, &tenant, 2).await.is_err());
    world.run_sql("ALTER TABLE tenant_keks DISABLE TRIGGER refuse_kek_revival", &[]).await;
    destroy(&world, &tenant, 2).await.unwrap();
    let node = Node::start(&world);
    match node.read(&tenant, ann.id).await {
        Err(OperationError::Database(error)) => {
            let text = error.to_string();
            assert!(text.contains("field_kek epoch 2 was destroyed"), "{text}");
        }
        found => panic!("{found:?}"),
    }
    let eve = node.create(&tenant, "Eve").await;
    assert_eq!(node.name(&tenant, eve.id).await, "Eve");
}

#[tokio::test]
async fn no_key_goes_back() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("one-way-bank").await;
    let node = Node::start(&world);
    let ann = node.create(&tenant, "Ann").await;
    rotate(&world, &tenant, 2).await;
    rewrap(&world, &tenant, (1, 2), true).await;
    destroy(&world, &tenant, 1).await.unwrap();
    rotate(&world, &tenant, 3).await;
    let field_kek = "WHERE purpose = 'field_kek' AND epoch";
    let field_data = "WHERE purpose = 'field_data' AND epoch";
    // Even as a superuser.
    let refused = [
        format!("UPDATE tenant_keks SET status = 'active' {field_kek} = 2"),
        format!(
            "UPDATE tenant_keks SET status = 'retired', wrapped_key = '\\x01', destroyed_at = NULL {field_kek} = 1"
        ),
        format!("UPDATE tenant_keks SET destroyed_at = now() {field_kek} = 1"),
        format!("UPDATE tenant_keks SET key_id = gen_random_uuid() {field_kek} = 3"),
        format!("UPDATE tenant_keks SET epoch = 9 {field_kek} = 3"),
        format!(
            "UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = now() {field_kek} = 3"
        ),
        format!("UPDATE data_keys SET status = 'active' {field_data} = 1"),
        format!(
            "UPDATE data_keys SET status = 'destroyed', wrapped_key = NULL, destroyed_at = now() {field_data} = 3"
        ),
        format!("UPDATE data_keys SET wrapped_key = '\\x01' {field_data} = 2"),
        format!("UPDATE data_keys SET kek_epoch = 3 {field_data} = 2"),
        format!("UPDATE data_keys SET kek_epoch = 2, wrapped_key = '\\x01' {field_data} = 3"),
        format!("UPDATE data_keys SET key_id = gen_random_uuid() {field_data} = 2"),
        "UPDATE subject_keys SET wrapped_key = '\\x01'".to_owned(),
        "UPDATE subject_keys SET kek_epoch = 3".to_owned(),
        "UPDATE subject_keys SET kek_epoch = 1, wrapped_key = '\\x01'".to_owned(),
        "UPDATE subject_keys SET key_id = gen_random_uuid(), kek_epoch = 3, wrapped_key = '\\x01'"
            .to_owned(),
    ];
    for statement in refused {
        let error = world.superuser.batch_execute(&statement).await.expect_err(&statement);
        assert_eq!(error.code(), Some(&SqlState::INTEGRITY_CONSTRAINT_VIOLATION), "{statement}");
    }
    // Nothing is stored under what was destroyed.
    let statement = format!(
        "INSERT INTO subject_keys (tenant_id, subject_id, key_id, kek_epoch, wrapped_key) \
         VALUES ('{}', gen_random_uuid(), gen_random_uuid(), 1, '\\x01')",
        tenant.tenant_id()
    );
    let error = world.superuser.batch_execute(&statement).await.expect_err(&statement);
    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    assert_eq!(node.name(&tenant, ann.id).await, "Ann");
    // An erased key stays erased, whatever wraps it.
    world.run_sql("UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now()", &[]).await;
    let again = "UPDATE subject_keys SET kek_epoch = 3, wrapped_key = '\\x01', shredded_at = NULL";
    let error = world.superuser.batch_execute(again).await.expect_err(again);
    assert_eq!(error.code(), Some(&SqlState::INTEGRITY_CONSTRAINT_VIOLATION));
    assert_eq!(node.read(&tenant, ann.id).await.unwrap(), PersonalData::default());
}

#[tokio::test]
async fn the_keys_that_sign_go_to_later_keks_alone() {
    let app = App::start().await;
    let of_bank = format!("tenant_id = '{}'", app.bank.id);
    let retire = format!(
        "UPDATE tenant_keks SET status = 'retired' \
         WHERE {of_bank} AND purpose = 'tenant_kek' AND status = 'active'"
    );
    let next = |epoch: i32| {
        format!(
            "{retire}; INSERT INTO tenant_keks (tenant_id, purpose, epoch, key_id, wrapped_key, status) \
             VALUES ('{}', 'tenant_kek', {epoch}, gen_random_uuid(), '\\x01', 'active')",
            app.bank.id
        )
    };
    let destroy = |epoch: i32| {
        format!(
            "UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = now() \
             WHERE {of_bank} AND purpose = 'tenant_kek' AND epoch = {epoch}"
        )
    };
    let log_key = |change: &str| format!("UPDATE audit_log_keys SET {change} WHERE {of_bank}");
    let runs = async |statement: &str| app.superuser.batch_execute(statement).await;
    let refused = async |statement: &str, state: &SqlState| {
        let error = runs(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(state), "{statement}: {error:?}");
    };
    let broken = &SqlState::INTEGRITY_CONSTRAINT_VIOLATION;

    runs(&next(2)).await.unwrap();
    refused(&destroy(1), broken).await;
    refused(&log_key("wrapped_seed = '\\x02'"), broken).await;
    refused(&log_key("kek_epoch = 2"), broken).await;
    refused(&format!("UPDATE signing_keys SET kek_epoch = 2 WHERE {of_bank}"), broken).await;
    runs(&log_key("kek_epoch = 2, wrapped_seed = '\\x02'")).await.unwrap();
    refused(&log_key("kek_epoch = 1, wrapped_seed = '\\x03'"), broken).await;
    refused(&destroy(2), broken).await;

    runs(&next(3)).await.unwrap();
    refused(&destroy(2), broken).await;
    runs(&log_key("kek_epoch = 3, wrapped_seed = '\\x03'")).await.unwrap();
    runs(&destroy(2)).await.unwrap();
    let under_the_destroyed = format!(
        "INSERT INTO audit_log_keys (tenant_id, key_id, key_name, public_key, epoch, kek_epoch, wrapped_seed, status) \
         SELECT tenant_id, gen_random_uuid(), key_name, public_key, 9, 2, wrapped_seed, 'retired' \
         FROM audit_log_keys WHERE {of_bank} LIMIT 1"
    );
    refused(&under_the_destroyed, &SqlState::T_R_SERIALIZATION_FAILURE).await;
    let under_the_destroyed = format!(
        "INSERT INTO signing_keys (tenant_id, key_id, algorithm, epoch, derived, status, longest_lifetime_s, kek_epoch) \
         VALUES ('{}', gen_random_uuid(), 'HS256', 99, true, 'pre_published', 900, 2)",
        app.bank.id
    );
    refused(&under_the_destroyed, &SqlState::T_R_SERIALIZATION_FAILURE).await;
}
