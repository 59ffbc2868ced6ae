//! The accounts on the two sides of a movement, as those who order or read it may know
//! them: by number, never by owner.

use access::{Permission, Scope};
use money::Currency;
use operation::{Found, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::accounts::resource_of;

const PAYEE: &str = tenancy::sql!("banking/overview.sql", "payee");
const SIDES: &str = tenancy::sql!("banking/overview.sql", "sides");
const TRANSFER: &str = tenancy::sql!("banking/history.sql", "transfer");

/// The account that a number names, to be paid. Whoever may order transfers may pay any
/// account of the tenant, so they learn that it exists and its currency, and no more.
#[derive(Clone, Debug)]
pub struct PayeeByNumber {
    /// As it is stored: without spaces, letters in upper case.
    pub account_number: String,
}

/// An account that can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payee {
    /// Its id.
    pub account_id: Uuid,
    /// Its number.
    pub account_number: String,
    /// What it holds.
    pub currency: Currency,
    /// Whether the actor is a party to it.
    pub is_own: bool,
}

impl View for PayeeByNumber {
    const NAME: &'static str = "payee.read";
    const RESOURCE: &'static str = "account";
    type Output = Option<Payee>;

    fn permission(&self) -> Permission {
        Permission::TransactionCreate
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&tenant, &context.actor.id, &self.account_number];
        let rows = database.look_up(context, Query::new(PAYEE, &parameters)).await?;
        let value = rows
            .first()
            .map(|row| {
                Ok::<_, DbError>(Payee {
                    account_id: row.try_get("id")?,
                    account_number: row.try_get("account_number")?,
                    currency: ledger::model::stored_currency(row.try_get("currency")?)?,
                    is_own: row.try_get("owned")?,
                })
            })
            .transpose()?;
        let count = usize::from(value.is_some());
        Ok(Found::List { value, count })
    }
}

/// The accounts that a movement touched, for whoever may read the movement.
#[derive(Clone, Copy, Debug)]
pub struct MovementSides {
    /// Which movement.
    pub transfer_id: Uuid,
}

/// An account that a movement touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its id.
    pub account_id: Uuid,
    /// Its number; none where it is the bank's own.
    pub account_number: Option<String>,
    /// The bank's own account's name, such as `cash`.
    pub code: Option<String>,
    /// Whether the actor may read the account itself.
    pub is_readable: bool,
}

impl View for MovementSides {
    const NAME: &'static str = "transfer.sides";
    const RESOURCE: &'static str = "transfer";
    /// Debits first, the largest first among them.
    type Output = Vec<Side>;

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
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &self.transfer_id, &context.actor.id];
        let queries = [Query::new(TRANSFER, &parameters), Query::new(SIDES, &parameters)];
        let answers = database.read(context, &queries).await?;
        let [transfer, sides] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(row) = transfer.first() else { return Ok(Found::Missing) };
        let resource = resource_of(row, Permission::TransactionRead, self.transfer_id)?;
        let value = sides
            .iter()
            .map(|row| {
                let account_number: Option<String> = row.try_get("account_number")?;
                let is_own: bool = row.try_get("owned")?;
                Ok(Side {
                    account_id: row.try_get("account_id")?,
                    is_readable: account_number.is_some() && (scope.is_all() || is_own),
                    account_number,
                    code: row.try_get("code")?,
                })
            })
            .collect::<Result<_, DbError>>()?;
        Ok(Found::Object { value, resource })
    }
}
