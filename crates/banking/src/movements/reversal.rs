//! Reversal: a movement is undone by another that mirrors all its legs and names it.
//! Nothing is ever changed or removed.
//!
//! Decided as banks do it:
//! - at most once, whoever races; a reversal itself is not reversed (the movement is
//!   made anew), nor is imported history (it happened elsewhere; a journal corrects it);
//! - it needs the funds: money that was spent since is not taken by force below the
//!   account's floor. The bank then grants an overdraft first, or books a journal against
//!   an account of its own;
//! - a frozen or closed account is not reached; it is released first, or a journal is booked;
//! - nobody reverses what touches an account that they hold;
//! - what two people have agreed to, or what exceeds the tenant's ceiling, nobody undoes
//!   alone: refused until reversals can wait for a second person;
//! - the value date is today or any day back to the movement's own: on that day the
//!   balance is then as if nothing had happened.

use access::{Permission, Resource};
use jiff::civil::Date;
use ledger::{Leg, Posted, Posting, TransactionType, TransferKind};
use money::Currency;
use operation::{Command, Failure, Refusal, RefusalKind, Target, command::Outcome};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    Transfer,
    alone::{post_alone_by_factor, posted_answer},
    business_date,
    error::Fields,
    posting_event,
};
use crate::{approvals::approval_required, text::check_note};

const FACTS: &str = tenancy::sql!("banking/movements.sql", "reversal_facts");
const REVERSIBLE: &str = tenancy::sql!("banking/movements.sql", "reversible");
const LEGS: &str = tenancy::sql!("banking/movements.sql", "legs");
const REVERSAL_OF: &str = tenancy::sql!("banking/movements.sql", "reversal_of");

/// Undoes a movement. Answers 201 with the counter-movement. A movement that the actor
/// may not read is 404.
///
/// Refusals, first found: the reason too long; `not_reversible`; `already_reversed`;
/// `approval_required` of what two people have agreed to; the value date; then the ledger's
/// in the order of [`ledger::PostingError`], `approval_required` of what exceeds the
/// tenant's ceiling and `step_up_required` (403) of what exceeds its limit of proofs, where a
/// person used no second factor within five minutes, before those about the balance.
#[derive(Clone, Debug)]
pub struct ReverseTransaction {
    /// An entry's id, or the movement's own (from the path).
    pub transaction_id: Uuid,
    /// Text on the statements of the counter-movement; the movement's own where absent.
    pub reason: Option<String>,
    /// From the movement's own value date to today, which it is where absent.
    pub value_date: Option<Date>,
}

/// The movement that is to be undone.
struct Original {
    id: Uuid,
    kind: TransferKind,
    amount: i64,
    currency: Currency,
    sides: [Uuid; 2],
    description: String,
    reference: Option<String>,
    value_date: Date,
    is_approved: bool,
}

impl Command for ReverseTransaction {
    const NAME: &'static str = "transaction.reverse";
    const RESOURCE: &'static str = "transaction";
    type Output = Transfer;

    fn permission(&self) -> Permission {
        Permission::TransactionReverse
    }

    fn fingerprint(&self) -> Value {
        json!({
            "transaction_id": self.transaction_id,
            "reason": self.reason,
            "value_date": self.value_date.map(|date| date.to_string()),
        })
    }

    /// Held where the actor is a party to any account that the movement touched.
    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &self.transaction_id, &context.actor.id];
        let Some(row) = transaction.query_opt(FACTS, &parameters).await? else {
            return Ok(Target::Missing { field: None });
        };
        let owned = row.try_get("owned")?;
        let resource =
            Resource::for_permission(Permission::TransactionReverse, Some(row.try_get("id")?));
        Ok(Target::Object {
            resource: resource.owned(owned).held(owned),
            read_permission: Permission::TransactionRead,
            field: None,
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Transfer> {
        check_note("reason", self.reason.as_deref().unwrap_or_default())
            .map_err(|fault| Refusal::validation(vec![fault]))?;
        let original = self.original(transaction).await?;
        if matches!(original.kind, TransferKind::Reversal | TransferKind::Import) {
            return Err(not_reversible(original.kind).into());
        }
        let legs = original.mirrored(transaction).await?;
        let accounts: Vec<Uuid> = legs.iter().map(|leg| leg.account_id).collect();
        ledger::posting::lock(transaction, &accounts).await?;
        let tenant = transaction.tenant();
        if transaction.query_opt(REVERSAL_OF, &[&tenant, &original.id]).await?.is_some() {
            let detail = "The movement has been reversed before";
            return Err(Refusal::new(RefusalKind::Rule, "already_reversed", detail).into());
        }
        if original.is_approved && !context.actor.is_system() {
            let detail = "Two people have agreed to this movement, so one alone cannot undo it";
            return Err(approval_required(detail).into());
        }
        let posting = self.posting(context, original, legs)?;
        let record = |_: &Posted| posting_event(context, Self::NAME, &Transfer::of(&posting));
        let order = (&posting, Fields::REVERSAL);
        let entered = post_alone_by_factor(transaction, context, order, record).await?;
        Ok(posted_answer(&posting, entered))
    }
}

impl ReverseTransaction {
    async fn original(&self, transaction: &TenantTx) -> Result<Original, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &self.transaction_id];
        let row = transaction.query_opt(REVERSIBLE, &parameters).await?;
        let row = row.ok_or_else(Refusal::not_found)?;
        Ok(Original::from_row(&row)?)
    }

    fn posting(
        &self,
        context: &OpContext,
        original: Original,
        legs: Vec<Leg>,
    ) -> Result<Posting, Failure> {
        let today = business_date(context)?;
        let value_date = self.value_date.unwrap_or(today);
        if value_date > today {
            let detail = "The value date must not lie in the future";
            return Err(Refusal::rule("value_date_in_future", "value_date", detail).into());
        }
        // One that is not chosen is never before what it undoes.
        let value_date = if self.value_date.is_none() {
            value_date.max(original.value_date)
        } else {
            value_date
        };
        if value_date < original.value_date {
            let detail = "The value date must not lie before that of the movement";
            return Err(Refusal::rule("value_date_before_original", "value_date", detail).into());
        }
        Ok(Posting {
            transfer_id: context.clock.new_id(),
            kind: TransferKind::Reversal,
            amount: original.amount,
            currency: original.currency,
            legs,
            description: self.reason.clone().unwrap_or(original.description),
            reference: original.reference,
            value_date,
            booking_date: today,
            posted_at: context.clock.now(),
            created_by: context.actor.id,
            reverses_transfer_id: Some(original.id),
            waive_limits: false,
        })
    }
}

impl Original {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get::<_, &str>("kind")?.parse::<TransferKind>()?,
            amount: row.try_get("amount")?,
            currency: ledger::model::stored_currency(row.try_get("currency")?)?,
            sides: [row.try_get("from_account_id")?, row.try_get("to_account_id")?],
            description: row.try_get("description")?,
            reference: row.try_get("reference")?,
            value_date: row.try_get("value_date")?,
            is_approved: row.try_get("is_approved")?,
        })
    }

    /// Every leg the other way round, the movement's two sides first: the counter-movement
    /// goes from where the movement went, to where it came from.
    async fn mirrored(&self, transaction: &TenantTx) -> Result<Vec<Leg>, DbError> {
        let rows = transaction.query(LEGS, &[&transaction.tenant(), &self.id]).await?;
        let mut legs = rows
            .iter()
            .map(|row| {
                Ok(Leg {
                    account_id: row.try_get("account_id")?,
                    amount: -row.try_get::<_, i64>("amount")?,
                    transaction_type: TransactionType::Reversal,
                })
            })
            .collect::<Result<Vec<_>, DbError>>()?;
        legs.sort_by_key(|leg| (!self.sides.contains(&leg.account_id), leg.account_id));
        Ok(legs)
    }
}

fn not_reversible(kind: TransferKind) -> Refusal {
    let detail = if kind == TransferKind::Reversal {
        "A reversal is not reversed: make the movement again"
    } else {
        "Imported history is not reversed: book a journal"
    };
    Refusal::new(RefusalKind::Rule, "not_reversible", detail)
}
