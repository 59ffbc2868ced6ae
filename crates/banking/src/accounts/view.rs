//! Reading accounts: one, and lists confined to what the actor may see.

use access::{Permission, Resource, Scope};
use ledger::AccountStatus;
use money::Currency;
use operation::{
    Found, Page, PageRequest, View,
    read::{ViewFailure, told_filter},
};
use serde_json::{Value, json};
use tenancy::{Database, DbError, Gathered, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Account, AccountType};
use crate::paging::Position;

/// [`super::ACCOUNT`] for many who ask at the same moment.
const ACCOUNTS: Gathered = Gathered(tenancy::sql!("banking/accounts.sql", "accounts"));
const FACTS: &str = tenancy::sql!("banking/accounts.sql", "facts");
const LIST_ALL: &str = tenancy::sql!("banking/accounts.sql", "list_all");
const LIST_OF_CUSTOMER: &str = tenancy::sql!("banking/accounts.sql", "list_of_customer");
const LIST_OWN: &str = tenancy::sql!("banking/accounts.sql", "list_own");
const LIST_BY_NUMBER: &str = tenancy::sql!("banking/accounts.sql", "list_by_number");

/// One account.
#[derive(Clone, Copy, Debug)]
pub struct AccountView {
    /// Which.
    pub account_id: Uuid,
}

/// Which accounts of a list; what is `None` does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// With this number: at most one.
    pub account_number: Option<String>,
    /// Of this owner.
    pub customer_id: Option<Uuid>,
    /// In this status.
    pub status: Option<AccountStatus>,
    /// Of this type.
    pub account_type: Option<AccountType>,
    /// Holding this currency.
    pub currency: Option<Currency>,
}

/// Accounts, the newest first, then by id.
#[derive(Clone, Debug, Default)]
pub struct AccountList {
    /// Which.
    pub filter: AccountFilter,
    /// Which page.
    pub page: PageRequest,
}

impl View for AccountView {
    const NAME: &'static str = "account.read";
    const RESOURCE: &'static str = "account";
    type Output = Account;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.account_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Account>, ViewFailure> {
        let Some(row) = database.read_one(context, ACCOUNTS, self.account_id).await? else {
            return Ok(Found::Missing);
        };
        let resource = resource_of(&row, Permission::AccountRead, self.account_id)?;
        Ok(Found::Object { value: Account::from_row(&row)?, resource })
    }
}

impl View for AccountList {
    const NAME: &'static str = "account.list";
    const RESOURCE: &'static str = "account";
    type Output = Page<Account>;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    fn filter(&self) -> Option<Value> {
        let AccountFilter { account_number, customer_id, status, account_type, currency } =
            &self.filter;
        told_filter(json!({
            "account_number": account_number.as_ref().map(|_| true),
            "customer_id": customer_id,
            "status": status.map(AccountStatus::as_str),
            "account_type": account_type,
            "currency": currency,
        }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Page<Account>>, ViewFailure> {
        let rows = self.rows(database, context, scope).await?;
        let accounts: Vec<Account> =
            rows.iter().map(Account::from_row).collect::<Result<_, _>>()?;
        let page = Page::of(accounts, &self.page, |last| Position::text(last.created_at, last.id));
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

impl AccountList {
    async fn rows(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Vec<Row>, ViewFailure> {
        let bound = Position::of(&self.page)?;
        let tenant = context.tenant_id();
        let AccountFilter { account_number, customer_id, status, account_type, currency } =
            &self.filter;
        let status = status.map(AccountStatus::as_str);
        // Everything narrower than "all" is "own": accounts know no other scope.
        let party = (!scope.is_all()).then_some(context.actor.id);
        let fetch = self.page.fetch();
        let all: [&(dyn ToSql + Sync); 8] = [
            &tenant,
            &bound.created_at,
            &bound.id,
            &status,
            &fetch,
            &party,
            customer_id,
            account_number,
        ];
        let (sql, count) = match (account_number, customer_id, party) {
            (Some(_), _, _) => (LIST_BY_NUMBER, 8),
            (None, Some(_), _) => (LIST_OF_CUSTOMER, 7),
            (None, None, Some(_)) => (LIST_OWN, 6),
            (None, None, None) => (LIST_ALL, 5),
        };
        let account_type = account_type.map(AccountType::as_str);
        let currency = currency.map(Currency::code);
        let narrow: [&(dyn ToSql + Sync); 2] = [&account_type, &currency];
        let parameters = [&all[..count], &narrow].concat();
        let query = Query::new(sql, &parameters);
        Ok(database.read(context, &[query]).await?.pop().unwrap_or_default())
    }
}

/// What policy needs to know of an account's row with the column `owned`.
pub(crate) fn resource_of(
    row: &Row,
    permission: Permission,
    id: Uuid,
) -> Result<Resource<'static>, DbError> {
    Ok(Resource::for_permission(permission, Some(id)).owned(row.try_get("owned")?))
}

/// Whether each actor is a party to each account; `None` where there is no such
/// account. One round trip for all.
pub(crate) async fn facts(
    transaction: &TenantTx,
    wanted: &[(Uuid, Uuid)],
) -> Result<Vec<Option<bool>>, DbError> {
    let (accounts, users): (Vec<Uuid>, Vec<Uuid>) = wanted.iter().copied().unzip();
    let rows = transaction.query(FACTS, &[&transaction.tenant(), &accounts, &users]).await?;
    let mut facts = vec![None; wanted.len()];
    for row in rows {
        let position: i64 = row.try_get("position")?;
        let slot = usize::try_from(position).ok().and_then(|position| facts.get_mut(position));
        *slot.ok_or_else(|| DbError::Corrupt("position of an account".to_owned()))? =
            Some(row.try_get("owned")?);
    }
    Ok(facts)
}
