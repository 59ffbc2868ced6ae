//! Owns the bank under test: a tenant with customers who hold funded accounts,
//! limits that no load meets, and tokens that outlive the test. Made in this
//! process, through the same operations as everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::ApiConfig;
use banking::{
    CreateCustomer, CustomerType, Deposit, NewAccount, NewCustomer, OpenAccount, PersonalData,
};
use identity::{NewPassword, NewTenant, NewUser};
use operation::{Call, Command};
use serde_json::json;
use server::compose::{Ingredients, Installation};
use tenancy::policy::PolicyOverrides;
use tenancy::{ActorKind, Blueprint, DatabaseConfig, OpContext};
use testkit::connect;
use uuid::Uuid;
use vault::{RootKey, RootKeys};

use super::client::{Client, Request};
use super::place::ROOT;

pub(crate) const SLUG: &str = "bank";
/// Everybody's.
pub(crate) const PASSWORD: &str = "Correct-Horse-9-Battery";
/// On each account at the start, minor units; no load uses it up.
pub(crate) const FUNDS: i64 = 1_000_000_000;
const CUSTOMERS: [&str; 4] = ["anna", "boris", "clara", "dan"];
/// Who takes cash in, and ends holds.
pub(crate) const OFFICER: &str = "olga";
const ACCOUNTS_EACH: usize = 3;

/// The bank, as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Bank {
    pub(crate) tenant: Uuid,
    pub(crate) customers: Vec<Customer>,
    /// The bank's own account that cash comes from.
    pub(crate) cash: Uuid,
}

/// Somebody who signs in and moves money.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) username: &'static str,
    pub(crate) accounts: Vec<Uuid>,
}

impl Bank {
    /// Founds it in a migrated database; `url` is the superuser's.
    pub(crate) async fn found(url: &str) -> Self {
        let installation = assemble(url);
        let overrides =
            PolicyOverrides { access_lifetime_s: Some(8 * 3_600), ..PolicyOverrides::default() };
        let tenant = NewTenant {
            slug: SLUG.to_owned(),
            name: SLUG.to_owned(),
            blueprint: Blueprint::CoreBank,
            time_zone: "UTC".to_owned(),
            overrides,
        };
        let made = installation.identity.create_tenant(tenant).await.unwrap();
        let unlimited = "UPDATE security_policies SET policy = jsonb_set(policy, '{rate_limits}', \
             (SELECT jsonb_object_agg(key, 100000000) FROM jsonb_each(policy -> 'rate_limits'))) \
             WHERE tenant_id = $1";
        connect(url).await.execute(unlimited, &[&made.id]).await.unwrap();
        let tenant = installation.directory.by_slug(SLUG).await.unwrap().unwrap();
        let context = installation.context(tenant, ActorKind::Cli);
        let hash = installation.hasher.hash(PASSWORD).await.unwrap();
        let roles = CUSTOMERS.iter().map(|username| (*username, "customer"));
        let people = roles.chain([(OFFICER, "officer")]).map(|(username, role)| NewUser {
            username: username.to_owned(),
            email: None,
            phone: None,
            full_name: None,
            password: NewPassword::Hashed(hash.clone()),
            role: role.to_owned(),
            department: None,
            organization_id: None,
            referral_code: None,
        });
        let ids = installation.identity.create_users(&context, people.collect()).await.unwrap();
        let mut customers = Vec::new();
        for (username, id) in CUSTOMERS.into_iter().zip(ids) {
            let accounts = endow(&installation, &context, id.unwrap()).await;
            customers.push(Customer { username, accounts });
        }
        let cash = "SELECT id FROM ledger_accounts WHERE tenant_id = $1 AND code = 'cash'";
        let cash = connect(url).await.query_one(cash, &[&made.id]).await.unwrap().get(0);
        Self { tenant: made.id, customers, cash }
    }

    /// All accounts.
    pub(crate) fn accounts(&self) -> Vec<Uuid> {
        self.customers.iter().flat_map(|customer| customer.accounts.clone()).collect()
    }

    /// What every account holds before anything is moved; what customers have came in cash.
    pub(crate) fn opening_balances(&self) -> BTreeMap<Uuid, i64> {
        let mut balances: BTreeMap<Uuid, i64> =
            self.accounts().into_iter().map(|account| (account, FUNDS)).collect();
        balances.insert(self.cash, -balances.values().sum::<i64>());
        balances
    }
}

/// An access token out of the real server.
pub(crate) async fn sign_in(port: u16, username: &str) -> String {
    let answer = Client::new(port).send(&sign_in_request(username)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["access_token"].as_str().unwrap().to_owned()
}

pub(crate) fn sign_in_request(username: &str) -> Request {
    let body = json!({ "tenant": SLUG, "username": username, "password": PASSWORD });
    Request::post("/v1/auth/login", None, None, body)
}

/// The parts of the product over a database, without listeners and workers.
pub(crate) fn assemble(url: &str) -> Installation {
    Installation::assemble(Ingredients {
        app: DatabaseConfig::new(url).with_role("strongroom_app"),
        sealer: DatabaseConfig::new(url).with_role("strongroom_sealer"),
        anchor: None,
        shares: None,
        roots: RootKeys::new(RootKey::from_bytes(&ROOT), None),
        token_secret: None,
        exempt_loopback: true,
        api: ApiConfig::default(),
    })
    .unwrap()
}

async fn endow(installation: &Installation, context: &OpContext, user_id: Uuid) -> Vec<Uuid> {
    let customer = NewCustomer {
        customer_type: CustomerType::Individual,
        personal: PersonalData {
            first_name: Some("Jana".to_owned()),
            last_name: Some("Nováková".to_owned()),
            ..PersonalData::default()
        },
        user_id: Some(user_id),
    };
    let command = CreateCustomer { keyring: Arc::clone(&installation.keyring), customer };
    let owner = run(installation, context, command).await.id;
    let mut accounts = Vec::new();
    for _ in 0..ACCOUNTS_EACH {
        let account = NewAccount::plain(owner, "EUR".parse().unwrap());
        let account_id = run(installation, context, OpenAccount { account }).await.id;
        let deposit = Deposit {
            account_id,
            amount: FUNDS,
            currency: None,
            description: "Opening".to_owned(),
            reference: None,
            value_date: None,
        };
        run(installation, context, deposit).await;
        accounts.push(account_id);
    }
    accounts
}

async fn run<C: Command>(
    installation: &Installation,
    context: &OpContext,
    command: C,
) -> C::Output {
    let call = Call { context: context.clone(), idempotency_key: None, command };
    installation.operations.run_one(call).await.unwrap().output
}
