//! Reading movements: an account's entries, its balance on a day, one transfer.

use access::{Permission, Scope};
use jiff::civil::Date;
use operation::{
    Found, Page, PageRequest, View,
    read::{ViewFailure, told_filter},
};
use serde_json::Value;
use tenancy::{Database, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Balance, Movement, Transaction, TransactionFilter, Transfer, business_date_at};
use crate::{
    accounts::{ACCOUNT, resource_of},
    approvals,
    paging::invalid_cursor,
};

const ENTRIES: &str = tenancy::sql!("banking/history.sql", "entries");
const BALANCE_AS_OF: &str = tenancy::sql!("banking/history.sql", "balance_as_of");
const TRANSFER: &str = tenancy::sql!("banking/history.sql", "transfer");
const MOVEMENT_ENTRIES: &str = tenancy::sql!("banking/movements.sql", "movement_entries");

/// The entries of one account, the newest first.
#[derive(Clone, Debug)]
pub struct TransactionList {
    /// Which account.
    pub account_id: Uuid,
    /// Which entries.
    pub filter: TransactionFilter,
    /// Which page.
    pub page: PageRequest,
}

/// The balance of one account at the end of a day.
#[derive(Clone, Copy, Debug)]
pub struct BalanceAsOf {
    /// Which account.
    pub account_id: Uuid,
    /// Which day.
    pub date: Date,
}

/// One movement, posted or waiting for approval.
#[derive(Clone, Copy, Debug)]
pub struct TransferView {
    /// Which.
    pub transfer_id: Uuid,
}

/// One movement with its entries: all of them for whoever may read every account, else
/// those in accounts of their own.
#[derive(Clone, Copy, Debug)]
pub struct MovementView {
    /// Which.
    pub transfer_id: Uuid,
}

impl View for TransactionList {
    const NAME: &'static str = "transaction.list";
    const RESOURCE: &'static str = "transaction";
    type Output = Page<Transaction>;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.account_id)
    }

    fn filter(&self) -> Option<Value> {
        told_filter(self.filter.told())
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Page<Transaction>>, ViewFailure> {
        let before: i64 = match &self.page.after {
            None => i64::MAX,
            Some(text) => text.parse().map_err(|_| invalid_cursor())?,
        };
        let tenant = context.tenant_id();
        let TransactionFilter { from, to, transaction_type } = self.filter;
        let transaction_type = transaction_type.map(ledger::TransactionType::as_str);
        let fetch = self.page.fetch();
        let account: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &context.actor.id];
        let entries: [&(dyn ToSql + Sync); 7] =
            [&tenant, &self.account_id, &before, &from, &to, &transaction_type, &fetch];
        let answers = database
            .read(context, &[Query::new(ACCOUNT, &account), Query::new(ENTRIES, &entries)])
            .await?;
        let [account, entries] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(account) = account.first() else { return Ok(Found::Missing) };
        let entries: Vec<Transaction> =
            entries.iter().map(Transaction::from_row).collect::<Result<_, _>>()?;
        let value = Page::of(entries, &self.page, |last| last.account_sequence.to_string());
        let resource = resource_of(account, Permission::TransactionRead, self.account_id)?;
        Ok(Found::Object { value, resource })
    }
}

impl View for BalanceAsOf {
    const NAME: &'static str = "account.balance";
    const RESOURCE: &'static str = "account";
    type Output = Balance;

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
    ) -> Result<Found<Balance>, ViewFailure> {
        let tenant = context.tenant_id();
        let account: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &context.actor.id];
        let sum: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &self.date];
        let answers = database
            .read(context, &[Query::new(ACCOUNT, &account), Query::new(BALANCE_AS_OF, &sum)])
            .await?;
        let [account, sum] = answers.as_slice() else { return Ok(Found::Missing) };
        let (Some(account), Some(sum)) = (account.first(), sum.first()) else {
            return Ok(Found::Missing);
        };
        let resource = resource_of(account, Permission::AccountRead, self.account_id)?;
        let currency = account.try_get("currency").map_err(tenancy::DbError::from)?;
        let value = Balance {
            account_id: self.account_id,
            currency: ledger::model::stored_currency(currency)?,
            date: self.date,
            balance: sum.try_get("balance").map_err(tenancy::DbError::from)?,
        };
        Ok(Found::Object { value, resource })
    }
}

impl View for TransferView {
    const NAME: &'static str = "transfer.read";
    const RESOURCE: &'static str = "transfer";
    type Output = Transfer;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.transfer_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Transfer>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &self.transfer_id, &context.actor.id];
        let rows = database.look_up(context, Query::new(approvals::TRANSFER, &parameters)).await?;
        let Some(row) = rows.first() else {
            return Ok(Found::Missing);
        };
        let resource = resource_of(row, Permission::TransactionRead, self.transfer_id)?;
        let mut value = Transfer::from_row(row)?;
        if !value.is_posted() {
            // The day of the order, as the answer to it said: the tenant's, not UTC's.
            let day = business_date_at(context, value.posted_at)?;
            (value.value_date, value.booking_date) = (day, day);
        }
        Ok(Found::Object { value, resource })
    }
}

impl View for MovementView {
    const NAME: &'static str = "posting.read";
    const RESOURCE: &'static str = "transfer";
    type Output = Movement;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.transfer_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Movement>, ViewFailure> {
        let tenant = context.tenant_id();
        let actor = context.actor.id;
        // Everything narrower than "all" is "own": accounts know no other scope.
        let party = (!scope.is_all()).then_some(actor);
        let movement: [&(dyn ToSql + Sync); 3] = [&tenant, &self.transfer_id, &actor];
        let entries: [&(dyn ToSql + Sync); 3] = [&tenant, &self.transfer_id, &party];
        let queries = [Query::new(TRANSFER, &movement), Query::new(MOVEMENT_ENTRIES, &entries)];
        let answers = database.read(context, &queries).await?;
        let [movement, entries] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(row) = movement.first() else { return Ok(Found::Missing) };
        let resource = resource_of(row, Permission::TransactionRead, self.transfer_id)?;
        let transfer = Transfer::from_row(row)?;
        let entries = entries.iter().map(Transaction::from_row).collect::<Result<_, _>>()?;
        Ok(Found::Object { value: Movement { transfer, entries }, resource })
    }
}
