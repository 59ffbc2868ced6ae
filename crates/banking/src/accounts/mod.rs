//! Savings accounts: opening, changing, closing, and looking at them.
//!
//! Owns numbers, parties and product settings. Balance, limits and status stand in
//! the ledger account of the same id and are changed under the ledger's lock.

mod model;
mod parties;
mod series;
mod view;

use std::collections::{HashMap, HashSet};

use access::{Permission, Resource};
use audit::EventType;
use jiff::civil::Date;
use ledger::{AccountState, AccountStatus};
use money::{AccountNumber, Currency};
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, command::Outcome, event};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

pub use model::{Account, AccountChange, AccountType, NewAccount, Opening, Party, PartyRole};
pub(crate) use model::{account_closed, parsed_by_name};
pub use parties::{AccountParties, PARTY_ACCOUNTS_MAX, PartyAccounts};
pub use series::{
    AccountSeries, EntryFilter, EntrySearch, SEARCH_ENTRIES_MAX, SERIES_DAYS_MAX, Series,
};
pub use view::{AccountFilter, AccountList, AccountView};
pub(crate) use view::{facts, resource_of};

use crate::movements::business_date;

pub(crate) const ACCOUNT: &str = tenancy::sql!("banking/accounts.sql", "account");
const INSERT_ACCOUNTS: &str = tenancy::sql!("banking/accounts.sql", "insert_accounts");
const INSERT_PARTIES: &str = tenancy::sql!("banking/accounts.sql", "insert_parties");
const CUSTOMERS_STATUS: &str = tenancy::sql!("banking/accounts.sql", "customers_status");
const ANY_OWN_CUSTOMER: &str = tenancy::sql!("banking/accounts.sql", "any_own_customer");
const PATH_FACTS: &str = tenancy::sql!("banking/accounts.sql", "path_facts");
const SAVE_ACCOUNT: &str = tenancy::sql!("banking/accounts.sql", "save_account");

/// Draws of an account number before giving up: with ten random digits a tenant of
/// a hundred million accounts meets a taken one in a hundred draws.
const NUMBER_DRAWS: u32 = 20;

/// Opens an account, empty and active. Answers 201.
#[derive(Clone, Debug)]
pub struct OpenAccount {
    /// What to open.
    pub account: NewAccount,
}

/// Changes settings of an account, or freezes or releases it.
#[derive(Clone, Debug)]
pub struct UpdateAccount {
    /// Which (from the path).
    pub account_id: Uuid,
    /// The version that the change was made on (`If-Match`); none for any.
    pub expected_version: Option<i64>,
    /// What to change.
    pub change: AccountChange,
}

/// Closes an account that is empty; for ever.
#[derive(Clone, Debug)]
pub struct CloseAccount {
    /// Which (from the path).
    pub account_id: Uuid,
    /// The version that was seen (`If-Match`); none for any.
    pub expected_version: Option<i64>,
}

impl Command for OpenAccount {
    const NAME: &'static str = "account.open";
    const RESOURCE: &'static str = "account";
    type Output = Account;

    fn permission(&self) -> Permission {
        Permission::AccountCreate
    }

    fn fingerprint(&self) -> Value {
        let account = &self.account;
        json!({
            "customer_id": account.customer_id,
            "account_type": account.account_type,
            "currency": account.currency,
            "interest_rate": account.interest_rate.normalize().to_string(),
            "overdraft_limit": account.overdraft_limit,
            "minimum_balance": account.minimum_balance,
            "parties": account.parties,
        })
    }

    /// Held where the actor's own customer would be a party: policy forbids that,
    /// for the terms are the request's.
    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let parties = self.account.customers();
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &parties, &context.actor.id];
        let row = transaction.query_opt(ANY_OWN_CUSTOMER, &parameters).await?;
        if row.is_none() {
            return Ok(Target::Tenant);
        }
        let resource = Resource::for_permission(Permission::AccountCreate, None);
        Ok(Target::Object {
            // Owned as well, for whoever would hold it might read it.
            resource: resource.owned(true).held(true),
            read_permission: Permission::AccountRead,
            field: None,
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Account> {
        self.account.check()?;
        self.check_customers(transaction).await?;
        let opening = Opening {
            account: self.account.clone(),
            opened_date: business_date(context)?,
            account_number: None,
        };
        let ids = store(transaction, context, &[opening]).await?;
        let id = ids.first().copied().unwrap_or_default();
        let account = stored(transaction, context, id).await?;
        let opened = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(id)
            .new_values(json!({
                "account_number": account.account_number,
                "customer_id": account.customer_id,
                "account_type": account.account_type,
                "currency": account.currency,
                "parties": self.account.parties,
                "settings": account.settings(),
            }))
            .at_version(account.version);
        Ok(Applied { output: account, status: 201, events: vec![opened] })
    }
}

impl OpenAccount {
    /// Owner and parties exist and are active. Unknown ones are invisible, in the
    /// words of every invisible object.
    async fn check_customers(&self, transaction: &TenantTx) -> Result<(), Failure> {
        let ids = self.account.customers();
        let rows = transaction.query(CUSTOMERS_STATUS, &[&transaction.tenant(), &ids]).await?;
        let found: HashMap<Uuid, String> = rows
            .iter()
            .map(|row| Ok((row.try_get("id")?, row.try_get("status")?)))
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(DbError::from)?;
        for (at, id) in ids.iter().enumerate() {
            let field = if at == 0 { "customer_id" } else { "parties" };
            match found.get(id) {
                None => return Err(Refusal::invisible(field).into()),
                Some(status) if status != "active" => {
                    let detail = "The customer is not active";
                    return Err(Refusal::rule("customer_inactive", field, detail).into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Puts accounts, their ledger accounts and their parties into the tables, a
/// statement each, and gives the new ids in order. For commands that have checked
/// what they open; the customers must exist.
pub async fn store(
    transaction: &TenantTx,
    context: &OpContext,
    openings: &[Opening],
) -> Result<Vec<Uuid>, Failure> {
    let ids: Vec<Uuid> = openings.iter().map(|_| context.clock.new_id()).collect();
    let ledger_accounts: Vec<_> = (ids.iter().zip(openings))
        .map(|(&id, opening)| ledger::accounts::NewAccount {
            id,
            currency: opening.account.currency,
            overdraft_limit: opening.account.overdraft_limit,
            minimum_balance: opening.account.minimum_balance,
        })
        .collect();
    ledger::accounts::open(transaction, &ledger_accounts).await?;
    let mut left: Vec<(Uuid, &Opening)> = ids.iter().copied().zip(openings).collect();
    for _ in 0..NUMBER_DRAWS {
        let inserted = insert(transaction, &left).await?;
        left.retain(|(id, _)| !inserted.contains(id));
        if left.iter().any(|(_, opening)| opening.account_number.is_some()) {
            let detail = "Another account has this number";
            return Err(Refusal::rule("account_number_taken", "account_number", detail).into());
        }
        if left.is_empty() {
            insert_parties(transaction, &ids, openings).await?;
            return Ok(ids);
        }
    }
    Err(DbError::Corrupt("no free account number was drawn".to_owned()).into())
}

/// Inserts what has a free number; gives the ids of those.
async fn insert(
    transaction: &TenantTx,
    openings: &[(Uuid, &Opening)],
) -> Result<HashSet<Uuid>, DbError> {
    let ids: Vec<Uuid> = openings.iter().map(|(id, _)| *id).collect();
    let column = |of: fn(&Opening) -> String| -> Vec<String> {
        openings.iter().map(|(_, opening)| of(opening)).collect()
    };
    let numbers = column(|opening| opening.account_number.clone().unwrap_or_else(draw_number));
    let types = column(|opening| opening.account.account_type.to_string());
    let customers: Vec<Uuid> =
        openings.iter().map(|(_, opening)| opening.account.customer_id).collect();
    let rates: Vec<Decimal> =
        openings.iter().map(|(_, opening)| opening.account.interest_rate).collect();
    let dates: Vec<Date> = openings.iter().map(|(_, opening)| opening.opened_date).collect();
    let rows = transaction
        .query(
            INSERT_ACCOUNTS,
            &[&transaction.tenant(), &ids, &customers, &numbers, &types, &rates, &dates],
        )
        .await?;
    Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

/// Random, so that numbers cannot be guessed in a row, with check digits.
fn draw_number() -> String {
    AccountNumber::from_body(u64::from_be_bytes(vault::random_bytes())).to_string()
}

/// The owner of each account and its further parties.
async fn insert_parties(
    transaction: &TenantTx,
    ids: &[Uuid],
    openings: &[Opening],
) -> Result<(), DbError> {
    let mut accounts = Vec::new();
    let mut customers = Vec::new();
    let mut roles = Vec::new();
    for (id, opening) in ids.iter().zip(openings) {
        let account = &opening.account;
        let owner = Party { customer_id: account.customer_id, party_role: PartyRole::Owner };
        for party in std::iter::once(&owner).chain(&account.parties) {
            accounts.push(*id);
            customers.push(party.customer_id);
            roles.push(party.party_role.as_str());
        }
    }
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&transaction.tenant(), &accounts, &customers, &roles];
    transaction.execute(INSERT_PARTIES, &parameters).await?;
    Ok(())
}

impl Command for UpdateAccount {
    const NAME: &'static str = "account.update";
    const RESOURCE: &'static str = "account";
    type Output = Account;

    fn permission(&self) -> Permission {
        Permission::AccountUpdate
    }

    fn fingerprint(&self) -> Value {
        json!({ "account_id": self.account_id, "change": self.change })
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.account_id, Permission::AccountRead).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Account> {
        self.change.check()?;
        let (before, state) =
            locked(transaction, context, self.account_id, self.expected_version).await?;
        let next = self.change.applied_to(&state)?;
        let rate = self.change.interest_rate.unwrap_or(before.interest_rate);
        let after = save(transaction, context, &next, rate, None).await?;
        Ok(changed(context, Self::NAME, &before, after))
    }
}

impl Command for CloseAccount {
    const NAME: &'static str = "account.close";
    const RESOURCE: &'static str = "account";
    type Output = Account;

    fn permission(&self) -> Permission {
        Permission::AccountDelete
    }

    fn fingerprint(&self) -> Value {
        json!({ "account_id": self.account_id })
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.account_id, Permission::AccountRead).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Account> {
        let (before, mut state) =
            locked(transaction, context, self.account_id, self.expected_version).await?;
        if !state.status.may_become(AccountStatus::Closed) {
            return Err(account_closed().into());
        }
        if state.balance != 0 {
            let detail = "Only an account without balance and holds can be closed";
            return Err(Refusal::new(RefusalKind::Rule, "account_not_empty", detail).into());
        }
        if state.held != 0 {
            let detail = "Money is held on the account: capture or release its holds first";
            return Err(Refusal::new(RefusalKind::Rule, "account_has_holds", detail).into());
        }
        state.status = AccountStatus::Closed;
        let today = business_date(context)?.max(before.opened_date);
        let rate = before.interest_rate;
        let after = save(transaction, context, &state, rate, Some(today)).await?;
        Ok(changed(context, Self::NAME, &before, after))
    }
}

/// The facts of a decision on an account that the path names.
pub(crate) async fn path_target(
    transaction: &TenantTx,
    context: &OpContext,
    account_id: Uuid,
    read_permission: Permission,
) -> Result<Target, DbError> {
    movement_target(transaction, context, (account_id, read_permission), None).await
}

/// The same of a movement of some amount, in the account's currency where it names none.
pub(crate) async fn movement_target(
    transaction: &TenantTx,
    context: &OpContext,
    (account_id, read_permission): (Uuid, Permission),
    amount: Option<(i64, Option<Currency>)>,
) -> Result<Target, DbError> {
    let parameters: [&(dyn ToSql + Sync); 3] =
        [&transaction.tenant(), &account_id, &context.actor.id];
    let Some(row) = transaction.query_opt(PATH_FACTS, &parameters).await? else {
        return Ok(Target::Missing { field: None });
    };
    let owned: bool = row.try_get("owned")?;
    let status = row.try_get::<_, &str>("status")?.parse::<AccountStatus>()?;
    let currency = ledger::model::stored_currency(row.try_get("currency")?)?;
    let resource = Resource::for_permission(read_permission, Some(account_id))
        .owned(owned)
        .held(owned)
        .status(Some(status.as_str()));
    let resource = match amount {
        Some((minor, named)) => resource.amount(minor, named.unwrap_or(currency).code()),
        None => resource,
    };
    Ok(Target::Object { resource, read_permission, field: None })
}

/// Locks the account as postings do, reads both of its rows behind the lock, and
/// holds it to the version that the caller saw.
async fn locked(
    transaction: &TenantTx,
    context: &OpContext,
    id: Uuid,
    expected_version: Option<i64>,
) -> Result<(Account, AccountState), Failure> {
    let state = ledger::accounts::lock(transaction, id).await?.ok_or_else(Refusal::not_found)?;
    let account = stored(transaction, context, id).await?;
    if expected_version.is_some_and(|expected| expected != account.version) {
        return Err(version_conflict().into());
    }
    Ok((account, state))
}

async fn save(
    transaction: &TenantTx,
    context: &OpContext,
    state: &AccountState,
    interest_rate: Decimal,
    closed_date: Option<Date>,
) -> Result<Account, DbError> {
    ledger::accounts::save_settings(transaction, state).await?;
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&transaction.tenant(), &state.id, &interest_rate, &closed_date];
    transaction.execute(SAVE_ACCOUNT, &parameters).await?;
    stored(transaction, context, state.id).await
}

fn changed(
    context: &OpContext,
    name: &'static str,
    before: &Account,
    after: Account,
) -> Applied<Account> {
    let record = event(context, EventType::DataModification, name, "account")
        .resource_id(after.id)
        .old_values(before.settings())
        .new_values(after.settings())
        .at_version(after.version);
    Applied { output: after, status: 200, events: vec![record] }
}

async fn stored(transaction: &TenantTx, context: &OpContext, id: Uuid) -> Result<Account, DbError> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &id, &context.actor.id];
    let row: Option<Row> = transaction.query_opt(ACCOUNT, &parameters).await?;
    let row = row.ok_or_else(|| DbError::Corrupt(format!("account {id} has lost a row")))?;
    Account::from_row(&row)
}

/// The object changed since the caller saw it.
pub(crate) fn version_conflict() -> Refusal {
    let detail = "The object has changed since it was read; read it again";
    Refusal::new(RefusalKind::PreconditionFailed, "version_conflict", detail)
}
