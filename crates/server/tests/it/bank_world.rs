//! A bank in a database of its own, for the tests of ledger and banking: tenants
//! with keys, people with roles, customers with accounts, all through the same
//! operations that the API calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use access::Policies;
use banking::{
    Account, CreateCustomer, CreateTransfer, CustomerFilter, CustomerRecord, CustomerType, Deposit,
    ListCustomers, NewAccount, NewCustomer, OpenAccount, PersonalData, Transfer,
};
use jiff::Timestamp;
use operation::{
    AccessLog, Call, Command, OperationError, Operations, PageRequest, Refusal, Reply, View,
};
use tenancy::{
    Actor, ActorKind, Blueprint, Clock, Database, DatabaseConfig, OpContext, TenantId, TenantRef,
    keyring::Keyring,
};
use testkit::{TestDatabase, connect};
use tokio_postgres::{Client, Row};
use uuid::Uuid;
use vault::{RootKey, RootKeys};

pub(crate) struct BankWorld {
    pub(crate) database: TestDatabase,
    pub(crate) app: Database,
    pub(crate) operations: Operations,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: Clock,
    pub(crate) superuser: Client,
}

/// Crockford's digits, as referral codes are written.
const DIGITS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl BankWorld {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let app = open(&database, "strongroom_app");
        let roots = RootKeys::new(RootKey::from_bytes(&[7; 32]), None);
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let policies = Arc::new(Policies::load().unwrap());
        let superuser = connect(&database.superuser_url()).await;
        Self {
            operations: Operations::new(app.clone(), policies, AccessLog::default()),
            keyring: Arc::new(Keyring::new(roots)),
            clock: Clock::manual(start),
            database,
            app,
            superuser,
        }
    }

    /// A core-bank tenant with keys and roles; the context is the command line's.
    pub(crate) async fn tenant(&self, slug: &str) -> OpContext {
        let id = self.clock.new_id();
        self.run_sql(
            "INSERT INTO tenants (id, slug, name, blueprint, modules) VALUES ($1, $2, $2, 'core-bank', '{banking}')",
            &[&id, &slug],
        )
        .await;
        for (rank, role) in (0_i16..).zip(Blueprint::CoreBank.roles()) {
            self.run_sql(
                "INSERT INTO roles (tenant_id, name, rank) VALUES ($1, $2, $3)",
                &[&id, role, &rank],
            )
            .await;
        }
        let tenant = TenantRef {
            id: TenantId(id),
            slug: slug.to_owned(),
            blueprint: Blueprint::CoreBank,
            modules: vec!["banking".to_owned()],
            time_zone: "UTC".to_owned(),
        };
        let context = OpContext::system(Arc::new(tenant), ActorKind::Cli, self.clock.clone());
        let transaction = self.app.begin(&context).await.unwrap();
        self.keyring.create_tenant_keys(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        context
    }

    /// A person with a role in the tenant of `context`.
    pub(crate) async fn person(&self, context: &OpContext, role: &str) -> OpContext {
        let id = self.clock.new_id();
        let name = format!("u{}", id.simple());
        let code: String = id.as_bytes()[6..]
            .iter()
            .map(|byte| char::from(DIGITS[usize::from(byte % 32)]))
            .collect();
        self.run_sql(
            "INSERT INTO users (tenant_id, id, username, username_key, role, referral_code) \
             VALUES ($1, $2, $3, $3, $4, $5)",
            &[&context.tenant_id(), &id, &name, &role, &code],
        )
        .await;
        OpContext { actor: Actor::user(id, vec![role.to_owned()]), ..context.clone() }
    }

    /// A customer without a login, or with the one of `login`.
    pub(crate) async fn customer(
        &self,
        context: &OpContext,
        login: Option<&OpContext>,
    ) -> CustomerRecord {
        let customer = NewCustomer {
            customer_type: CustomerType::Individual,
            personal: PersonalData {
                first_name: Some("Jana".to_owned()),
                last_name: Some("Nováková".to_owned()),
                ..PersonalData::default()
            },
            user_id: login.map(|login| login.actor.id),
        };
        let command = CreateCustomer { keyring: Arc::clone(&self.keyring), customer };
        self.run(context, command).await.unwrap()
    }

    /// A person with the role customer, recorded as a customer.
    pub(crate) async fn banking_customer(
        &self,
        context: &OpContext,
    ) -> (OpContext, CustomerRecord) {
        let login = self.person(context, "customer").await;
        let record = self.customer(context, Some(&login)).await;
        (login, record)
    }

    pub(crate) async fn account(&self, context: &OpContext, owner: Uuid, balance: i64) -> Account {
        let account = NewAccount::plain(owner, "EUR".parse().unwrap());
        self.account_like(context, account, balance).await
    }

    pub(crate) async fn account_like(
        &self,
        context: &OpContext,
        account: NewAccount,
        balance: i64,
    ) -> Account {
        let account = self.run(context, OpenAccount { account }).await.unwrap();
        if balance > 0 {
            self.run(context, deposit(account.id, balance)).await.unwrap();
        }
        account
    }

    /// Runs a command without an idempotency key.
    pub(crate) async fn run<C: Command>(
        &self,
        context: &OpContext,
        command: C,
    ) -> Result<C::Output, Refusal> {
        self.run_keyed(context, None, command).await.map(|reply| reply.output)
    }

    pub(crate) async fn run_keyed<C: Command>(
        &self,
        context: &OpContext,
        key: Option<&str>,
        command: C,
    ) -> Result<Reply<C::Output>, Refusal> {
        let call =
            Call { context: context.clone(), idempotency_key: key.map(str::to_owned), command };
        refused(self.operations.run_one(call).await)
    }

    pub(crate) async fn balance(&self, account: Uuid) -> i64 {
        let rows = self
            .superuser
            .query("SELECT balance FROM ledger_accounts WHERE id = $1", &[&account])
            .await
            .unwrap();
        rows[0].get(0)
    }

    /// Every row of the business tables as text: two equal dumps mean that nothing happened.
    pub(crate) async fn dump(&self) -> Vec<String> {
        let mut dump = Vec::new();
        for table in [
            "ledger_accounts",
            "transfers",
            "transactions",
            "holds",
            "approvals",
            "customers",
            "savings_accounts",
            "account_parties",
            "subject_keys",
        ] {
            let sql = format!("SELECT row.ctid::text || row::text FROM {table} row ORDER BY 1");
            let rows = self.superuser.query(&sql, &[]).await.unwrap();
            dump.extend(rows.iter().map(|row| format!("{table} {}", row.get::<_, String>(0))));
        }
        dump
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        self.superuser.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    pub(crate) async fn run_sql(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) {
        self.superuser
            .execute(sql, parameters)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The books are right, and nothing but what was asked for is in them.
    pub(crate) async fn assert_books_are_right(&self, context: &OpContext) {
        let auditor = open(&self.database, "strongroom_auditor");
        let report = ledger::verify::verify(context, &auditor, |_| {}).await.unwrap();
        assert!(report.is_clean(), "{:?}", report.faults);
    }
}

pub(crate) fn open(database: &TestDatabase, role: &'static str) -> Database {
    let mut config = DatabaseConfig::new(database.superuser_url()).with_role(role);
    config.wait_timeout_ms = 60_000;
    config.max_connections = 20;
    Database::new(&config).unwrap()
}

/// Only refusals are expected; anything else fails the test.
pub(crate) fn refused<T>(outcome: Result<T, OperationError>) -> Result<T, Refusal> {
    outcome.map_err(|error| match error {
        OperationError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    })
}

pub(crate) fn transfer(from: Uuid, to: Uuid, amount: i64) -> CreateTransfer {
    CreateTransfer {
        from_account_id: from,
        to_account_id: to,
        amount,
        currency: "EUR".parse().unwrap(),
        description: "Rent".to_owned(),
        reference: None,
    }
}

pub(crate) fn deposit(account: Uuid, amount: i64) -> Deposit {
    Deposit {
        account_id: account,
        amount,
        currency: None,
        description: String::new(),
        reference: None,
        value_date: None,
    }
}

/// The code and the field of a refusal.
pub(crate) fn what(result: &Result<Transfer, Refusal>) -> (String, String) {
    let refusal = result.as_ref().expect_err("a refusal");
    let field = refusal.errors.first().map(|error| error.field.to_string());
    (refusal.code.to_string(), field.unwrap_or_default())
}

/// Reads a view; anything but a refusal fails the test.
pub(crate) async fn read<V: View>(
    world: &BankWorld,
    context: &OpContext,
    view: &V,
) -> Result<V::Output, Refusal> {
    refused(world.operations.read(context, view).await)
}

/// The ids of all pages of a list of customers; none where it is refused.
pub(crate) async fn list_customers(
    world: &BankWorld,
    context: &OpContext,
    filter: CustomerFilter,
) -> Vec<Uuid> {
    let mut ids = Vec::new();
    let mut page = PageRequest { limit: 3, after: None, ..PageRequest::default() };
    loop {
        let keyring = Arc::clone(&world.keyring);
        let list =
            ListCustomers::new(&world.operations, context, keyring, filter.clone(), page.clone());
        let Ok(answer) = world.run(context, list).await else { return Vec::new() };
        ids.extend(answer.data.iter().map(|customer| customer.record.id));
        let Some(next) = answer.next else { return ids };
        page.after = Some(next);
    }
}
