//! Owns the first operation of a demo: its people and their accounts, all or none.

use std::collections::HashMap;
use std::sync::Arc;

use access::Permission;
use audit::EventType;
use banking::accounts::{self, Opening};
use banking::{NewAccount, NewCustomer, Party, customers};
use jiff::civil::Date;
use operation::{Applied, Command, Failure, command::Outcome, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::keyring::Keyring;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::memory::{Ids, plan_mark, remember};
use super::plan::{Plan, PlannedAccount};

/// Makes the people and accounts of a plan.
pub(super) struct Enrol {
    pub(super) keyring: Arc<Keyring>,
    pub(super) plan: Arc<Plan>,
    /// The logins of the tenant, by user name.
    pub(super) logins: HashMap<String, Uuid>,
    /// The day that the plan was made for.
    pub(super) today: Date,
    pub(super) seed: u64,
}

/// What was made, in the plan's order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Enrolled {
    people: Vec<Uuid>,
    accounts: Vec<Uuid>,
}

impl From<Enrolled> for Ids {
    fn from(made: Enrolled) -> Self {
        Self { people: made.people, accounts: made.accounts }
    }
}

impl Command for Enrol {
    const NAME: &'static str = "development.enrol";
    const RESOURCE: &'static str = "customer";
    type Output = Enrolled;

    fn permission(&self) -> Permission {
        Permission::CustomerCreate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Enrolled> {
        let people = self.people(transaction, context).await?;
        let openings = self
            .plan
            .accounts
            .iter()
            .map(|account| opening(account, &people))
            .collect::<Result<Vec<_>, Failure>>()?;
        let accounts = accounts::store(transaction, context, &openings).await?;
        let mut made = vec![plan_mark(self.today, self.seed, context.clock.new_id())];
        let keys = self.plan.people.iter().map(|person| person.key.clone());
        made.extend(keys.zip(&people).map(|(key, id)| ("customer", key, *id)));
        let keys = self.plan.accounts.iter().map(|account| account.key.clone());
        made.extend(keys.zip(&accounts).map(|(key, id)| ("account", key, *id)));
        remember(transaction, &made).await?;
        let record = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .personal_fields()
            .details(json!({ "customers": people, "accounts": accounts }));
        Ok(Applied { output: Enrolled { people, accounts }, status: 201, events: vec![record] })
    }
}

impl Enrol {
    async fn people(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Vec<Uuid>, Failure> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let mut new = Vec::with_capacity(self.plan.people.len());
        for person in &self.plan.people {
            person.personal.check(person.customer_type, self.today)?;
            new.push(NewCustomer {
                customer_type: person.customer_type,
                personal: person.personal.clone(),
                user_id: person.username.and_then(|name| self.logins.get(name).copied()),
            });
        }
        let records = customers::store(transaction, context, &keys, &new).await?;
        Ok(records.into_iter().map(|record| record.id).collect())
    }
}

fn opening(planned: &PlannedAccount, people: &[Uuid]) -> Result<Opening, Failure> {
    let wrong =
        |what: &str| DbError::Corrupt(format!("{what} of {} in the demo's plan", planned.key));
    let rate =
        format!("{}.{:02}", planned.rate_basis_points / 100, planned.rate_basis_points % 100);
    let parties = planned
        .others
        .iter()
        .map(|(person, party_role)| Party { customer_id: people[*person], party_role: *party_role })
        .collect();
    let account = NewAccount {
        account_type: planned.account_type,
        interest_rate: rate.parse().map_err(|_| wrong("the rate"))?,
        overdraft_limit: planned.overdraft_limit,
        parties,
        ..NewAccount::plain(
            people[planned.owner],
            planned.currency.parse().map_err(|_| wrong("the currency"))?,
        )
    };
    account.check()?;
    Ok(Opening { account, opened_date: planned.opened, account_number: None })
}
