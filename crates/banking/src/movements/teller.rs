//! Cash over the counter: deposits and withdrawals against the bank's cash account
//! of the currency. Never on an account that the teller holds: policy forbids it on
//! the fact that is brought here. Above the tenant's ceiling it needs a second person,
//! whom it cannot wait for yet: `approval_required`.

use access::Permission;
use jiff::civil::Date;
use ledger::{InternalAccount, Posted, Posting, TransactionType, TransferKind};
use money::Currency;
use operation::{Command, Failure, Refusal, Target, command::Outcome};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Transfer,
    alone::{post_alone, posted_answer},
    business_date,
    error::Fields,
    posting_event,
    transfer::check_texts,
};
use crate::accounts::movement_target;

const COUNTER: &str = tenancy::sql!("banking/accounts.sql", "counter");

/// Cash in. Answers 201. An account that the actor may not read is 404.
#[derive(Clone, Debug)]
pub struct Deposit {
    /// The account (from the path).
    pub account_id: Uuid,
    /// Minor units; anything but 1 to 2^53 − 1 is refused.
    pub amount: i64,
    /// Of the amount; none means the account's own.
    pub currency: Option<Currency>,
    /// Text on the statement; may be empty.
    pub description: String,
    /// The payer's reference.
    pub reference: Option<String>,
    /// Back-dated where the cash came in earlier; never in the future
    /// or before the account's opening.
    pub value_date: Option<Date>,
}

/// Cash out. Answers 201. An account that the actor may not read is 404.
#[derive(Clone, Debug)]
pub struct Withdraw {
    /// The account (from the path).
    pub account_id: Uuid,
    /// Minor units; anything but 1 to 2^53 − 1 is refused.
    pub amount: i64,
    /// Of the amount; none means the account's own.
    pub currency: Option<Currency>,
    /// Text on the statement; may be empty.
    pub description: String,
    /// The payer's reference.
    pub reference: Option<String>,
    /// Back-dated where the cash went out earlier; never in the future
    /// or before the account's opening.
    pub value_date: Option<Date>,
}

/// What both, and fees, have in common: one customer's account in the path, and one of
/// the bank's own on the other side.
pub(super) struct Order<'a> {
    pub(super) account_id: Uuid,
    pub(super) amount: i64,
    pub(super) currency: Option<Currency>,
    pub(super) description: &'a str,
    pub(super) reference: Option<&'a str>,
    pub(super) value_date: Option<Date>,
}

macro_rules! teller_command {
    ($command:ident, $name:literal, $resource:literal, $permission:ident, $kind:ident) => {
        impl $command {
            fn order(&self) -> Order<'_> {
                Order {
                    account_id: self.account_id,
                    amount: self.amount,
                    currency: self.currency,
                    description: &self.description,
                    reference: self.reference.as_deref(),
                    value_date: self.value_date,
                }
            }
        }

        impl Command for $command {
            const NAME: &'static str = $name;
            const RESOURCE: &'static str = $resource;
            type Output = Transfer;

            fn permission(&self) -> Permission {
                Permission::$permission
            }

            fn fingerprint(&self) -> Value {
                self.order().fingerprint()
            }

            async fn target(
                &self,
                transaction: &TenantTx,
                context: &OpContext,
            ) -> Result<Target, DbError> {
                let account = (self.account_id, Permission::TransactionRead);
                let amount = Some((self.amount, self.currency));
                movement_target(transaction, context, account, amount).await
            }

            async fn execute(
                &self,
                transaction: &TenantTx,
                context: &OpContext,
            ) -> Outcome<Transfer> {
                self.order().execute(transaction, context, Self::NAME, TransferKind::$kind).await
            }
        }
    };
}
teller_command!(Deposit, "deposit.create", "deposit", TransactionDeposit, Deposit);
teller_command!(Withdraw, "withdrawal.create", "withdrawal", TransactionWithdraw, Withdrawal);

impl Order<'_> {
    pub(super) fn fingerprint(&self) -> Value {
        json!({
            "account_id": self.account_id,
            "amount": self.amount.to_string(),
            "currency": self.currency,
            "description": self.description,
            "reference": self.reference,
            "value_date": self.value_date.map(|date| date.to_string()),
        })
    }

    pub(super) async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        action: &'static str,
        kind: TransferKind,
    ) -> Outcome<Transfer> {
        check_texts(self.description, self.reference)?;
        let today = business_date(context)?;
        let value_date = self.value_date.unwrap_or(today);
        if value_date > today {
            let detail = "The value date must not lie in the future";
            return Err(Refusal::rule("value_date_in_future", "value_date", detail).into());
        }
        let currency = self.currency(transaction, value_date).await?;
        let counter =
            if kind == TransferKind::Fee { InternalAccount::Fees } else { InternalAccount::Cash };
        let counter =
            ledger::accounts::internal(transaction, &context.clock, counter, currency).await?;
        let posting = Posting {
            transfer_id: context.clock.new_id(),
            kind,
            amount: self.amount,
            currency,
            legs: self.legs(counter, kind),
            description: self.description.to_owned(),
            reference: self.reference.filter(|text| !text.is_empty()).map(str::to_owned),
            value_date,
            booking_date: today,
            posted_at: context.clock.now(),
            created_by: context.actor.id,
            reverses_transfer_id: None,
            waive_limits: false,
        };
        let record = |_: &Posted| posting_event(context, action, &Transfer::of(&posting));
        let order = (&posting, Fields::TELLER);
        let entered = post_alone(transaction, context, order, record).await?;
        Ok(posted_answer(&posting, entered))
    }

    fn legs(&self, counter: Uuid, kind: TransferKind) -> Vec<ledger::Leg> {
        let own = match kind {
            TransferKind::Deposit => TransactionType::Deposit,
            TransferKind::Fee => TransactionType::Fee,
            _ => TransactionType::Withdrawal,
        };
        let (account, counter) = ((self.account_id, own), (counter, own));
        if kind == TransferKind::Deposit {
            Posting::two_legs(counter, account, self.amount)
        } else {
            Posting::two_legs(account, counter, self.amount)
        }
    }

    /// The order's currency, or the account's; an order that names another one, or a
    /// day before the account was there, is refused before a cash account is made.
    async fn currency(
        &self,
        transaction: &TenantTx,
        value_date: Date,
    ) -> Result<Currency, Failure> {
        // Read without its lock, which is the engine's to take in order: neither ever changes.
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &self.account_id];
        let row =
            transaction.query_opt(COUNTER, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let column = |error: tokio_postgres::Error| Failure::from(DbError::from(error));
        let own = ledger::model::stored_currency(row.try_get("currency").map_err(column)?)?;
        if value_date < row.try_get::<_, Date>("opened_date").map_err(column)? {
            let detail = "The value date must not lie before the account's opening";
            return Err(Refusal::rule("value_date_before_opening", "value_date", detail).into());
        }
        match self.currency {
            Some(named) if named != own => {
                let detail = "The account holds another currency";
                Err(Refusal::rule("currency_mismatch", "currency", detail).into())
            }
            _ => Ok(own),
        }
    }
}
