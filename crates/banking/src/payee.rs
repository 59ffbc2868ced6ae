//! The accounts on the two sides of a movement, as those who order or read it may know
//! them: by number, never by owner.

use access::{Permission, Resource, Scope};
use ledger::PostingError;
use money::{AMOUNT_MAX, Currency};
use operation::{Found, OperationError, Operations, Refusal, RefusalKind, View, read::ViewFailure};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{accounts::resource_of, movements::Fields};

const PAYMENT_SIDES: &str = tenancy::sql!("banking/overview.sql", "payment_sides");
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

    fn filter(&self) -> Option<Value> {
        Some(json!({ "account_number": true }))
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
        let value = rows.first().map(payee_of).transpose()?;
        let count = usize::from(value.is_some());
        Ok(Found::List { value, count })
    }
}

/// A transfer that somebody is about to prove by a second factor.
#[derive(Clone, Copy, Debug)]
pub struct PaymentToProve {
    /// The account to debit.
    pub from_account_id: Uuid,
    /// The account to credit.
    pub to_account_id: Uuid,
    /// Minor units.
    pub amount: i64,
    /// Of both accounts.
    pub currency: Currency,
}

impl PaymentToProve {
    /// The account that would be paid, which the proof has to name. Refused as the transfer
    /// would be, so that nobody is asked to agree to what cannot be made: `from_account_id`
    /// not to be used (`not_found`), the amount, the two the same, `to_account_id` unknown,
    /// the currency.
    pub async fn payee(
        &self,
        operations: &Operations,
        context: &OpContext,
    ) -> Result<Payee, OperationError> {
        let payee = match operations.read(context, self).await {
            Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
                return Err(Refusal::invisible("from_account_id").into());
            }
            read => read?,
        };
        Ok(payee?)
    }

    /// What is asked of its owner, in the words of a message: "to pay …".
    pub fn purpose(&self, payee: &Payee) -> String {
        let amount = self.currency.format_minor(self.amount);
        format!("to pay {amount} {} to account {}", self.currency.code(), payee.account_number)
    }

    fn judged(&self, from: &Payee, to: Option<&Payee>) -> Result<Payee, Refusal> {
        let refused = |error| Fields::TRANSFER.refusal(error);
        if self.amount <= 0 {
            return Err(refused(PostingError::InvalidAmount));
        }
        if self.amount > AMOUNT_MAX {
            return Err(refused(PostingError::AmountTooLarge));
        }
        if self.from_account_id == self.to_account_id {
            return Err(refused(PostingError::SameAccount { leg: 1 }));
        }
        let to = to.ok_or_else(|| Refusal::invisible("to_account_id"))?;
        for (leg, side) in [from, to].into_iter().enumerate() {
            if side.currency != self.currency {
                return Err(refused(PostingError::CurrencyMismatch { leg }));
            }
        }
        Ok(to.clone())
    }
}

impl View for PaymentToProve {
    const NAME: &'static str = "payment.prove";
    const RESOURCE: &'static str = "account";
    /// The account that is paid, or why there is nothing to prove: said to whoever may use
    /// the account that pays, and to nobody else.
    type Output = Result<Payee, Refusal>;

    fn permission(&self) -> Permission {
        Permission::TransactionCreate
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.from_account_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&tenant, &context.actor.id, &self.from_account_id, &self.to_account_id];
        let rows = database.look_up(context, Query::new(PAYMENT_SIDES, &parameters)).await?;
        let sides = rows.iter().map(payee_of).collect::<Result<Vec<_>, DbError>>()?;
        let side = |id: Uuid| sides.iter().find(|side| side.account_id == id);
        let Some(from) = side(self.from_account_id) else { return Ok(Found::Missing) };
        let to = side(self.to_account_id);
        let resource = Resource::for_permission(self.permission(), Some(self.from_account_id))
            .owned(from.is_own)
            .held(to.is_some_and(|to| to.is_own))
            .amount(self.amount, self.currency.code());
        Ok(Found::Object { value: self.judged(from, to), resource })
    }
}

fn payee_of(row: &Row) -> Result<Payee, DbError> {
    Ok(Payee {
        account_id: row.try_get("id")?,
        account_number: row.try_get("account_number")?,
        currency: ledger::model::stored_currency(row.try_get("currency")?)?,
        is_own: row.try_get("owned")?,
    })
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
