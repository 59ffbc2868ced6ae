//! Keeping money back. A batch is one call of the ledger, decided in memory: one
//! refusal leaves its neighbours alone.

use std::collections::HashMap;

use access::{Permission, Resource};
use audit::EventType;
use jiff::Timestamp;
use ledger::{
    Hold, InternalAccount,
    holds::{Authorisation, Destination, HoldError},
};
use money::Currency;
use operation::{Applied, Call, Command, Grouped, Refusal, Target, command::Outcome, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{LIFETIME_DEFAULT, LIFETIME_MAX, RESOURCE, error::refusal};
use crate::{
    accounts::facts,
    approvals::{self, Ceiling},
    text::{check_note, fault},
};

const SIDES: &str = tenancy::sql!("banking/holds.sql", "sides");

/// Keeps money back on an account for another one. Answers 201.
///
/// Refusals, first found: `account_id` not to be used by the actor (`not_found`), text
/// or expiry not acceptable, then the ledger's in the order of [`HoldError`] and
/// [`ledger::PostingError`], `approval_required` (more than the tenant's ceiling) before
/// those about the balance.
#[derive(Clone, Debug)]
pub struct AuthoriseHold {
    /// The account to keep it back on; a customer must be a party to it.
    pub account_id: Uuid,
    /// The account it is promised to: anybody's in the tenant, of the actor's own only
    /// where the other is as well. None means the bank's settlement account.
    pub to_account_id: Option<Uuid>,
    /// Minor units; anything but 1 to 2^53 − 1 is refused.
    pub amount: i64,
    /// Of the amount; none means the account's own.
    pub currency: Option<Currency>,
    /// Text on both statements when it is captured; may be empty.
    pub description: String,
    /// The payer's or an outside system's reference.
    pub reference: Option<String>,
    /// When it ends by itself: later than now, at most [`LIFETIME_MAX`] ahead. None
    /// means [`LIFETIME_DEFAULT`] ahead.
    pub expires_at: Option<Timestamp>,
}

/// What is known of an account before it is locked; none of it ever changes.
struct Side {
    currency: Currency,
    settlement_id: Option<Uuid>,
}

impl AuthoriseHold {
    /// Without an amount where no currency is named: a ceiling is one of a currency.
    fn resource(&self) -> Resource<'static> {
        let resource = Resource::for_permission(Permission::HoldCreate, Some(self.account_id));
        match self.currency {
            Some(currency) => resource.amount(self.amount, currency.code()),
            None => resource,
        }
    }

    /// What can be said without looking anything up; all faults together.
    fn check(&self, now: Timestamp) -> Result<Timestamp, Refusal> {
        let texts = [
            check_note("description", &self.description),
            check_note("reference", self.reference.as_deref().unwrap_or_default()),
        ];
        let mut faults: Vec<_> = texts.into_iter().filter_map(Result::err).collect();
        let expires_at = self.expires_at.map_or(now + LIFETIME_DEFAULT, whole_microseconds);
        if expires_at <= now {
            faults.push(fault("expires_at", "expires_in_past", "Must lie in the future"));
        } else if expires_at > now + LIFETIME_MAX {
            faults.push(fault("expires_at", "expires_too_late", "At most 30 days ahead"));
        }
        if faults.is_empty() { Ok(expires_at) } else { Err(Refusal::validation(faults)) }
    }

    fn order(
        &self,
        context: &OpContext,
        (side, destination): (&Side, Destination),
        (now, expires_at): (Timestamp, Timestamp),
    ) -> Authorisation {
        Authorisation {
            hold_id: context.clock.new_id(),
            account_id: self.account_id,
            destination,
            amount: self.amount,
            currency: self.currency.unwrap_or(side.currency),
            description: self.description.clone(),
            reference: self.reference.clone().filter(|text| !text.is_empty()),
            expires_at,
            created_by: context.actor.id,
            at: now,
        }
    }
}

impl Command for AuthoriseHold {
    const NAME: &'static str = "hold.create";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Hold;

    fn permission(&self) -> Permission {
        Permission::HoldCreate
    }

    fn fingerprint(&self) -> Value {
        json!({
            "account_id": self.account_id,
            "to_account_id": self.to_account_id,
            "amount": self.amount.to_string(),
            "currency": self.currency,
            "description": self.description,
            "reference": self.reference,
            "expires_at": self.expires_at.map(|at| at.to_string()),
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Hold> {
        let call = Call { context: context.clone(), idempotency_key: None, command: self.clone() };
        let mut outcomes = Self::execute_all(transaction, &[&call]).await?;
        outcomes.pop().unwrap_or_else(|| Err(nothing().into()))
    }

    async fn targets(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Target>, DbError> {
        let field = Some("account_id");
        // Both sides in one statement. A promise to settlement is held by nobody: the
        // nil id is no account.
        let side = |account: fn(&Self) -> Uuid| {
            calls.iter().map(move |call| (account(&call.command), call.context.actor.id))
        };
        let debited = side(|command| command.account_id);
        let credited = side(|command| command.to_account_id.unwrap_or_default());
        let wanted: Vec<(Uuid, Uuid)> = debited.chain(credited).collect();
        let facts = facts(transaction, &wanted).await?;
        let (debited, credited) = facts.split_at(calls.len());
        let targets =
            calls.iter().zip(debited.iter().zip(credited)).map(|(call, sides)| match sides {
                (None, _) => Target::Missing { field },
                (&Some(owned), held) => Target::Object {
                    resource: call.command.resource().owned(owned).held(held.unwrap_or(false)),
                    read_permission: Permission::HoldRead,
                    field,
                },
            });
        Ok(targets.collect())
    }

    async fn execute_all(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Outcome<Hold>>, DbError> {
        let sides = sides(transaction, calls).await?;
        let mut unmade: HashMap<Currency, Uuid> = HashMap::new();
        let mut orders = Vec::with_capacity(calls.len());
        let mut checked = Vec::with_capacity(calls.len());
        for call in calls {
            let (command, context) = (&call.command, &call.context);
            let now = context.clock.now();
            let verdict = command.check(now).and_then(|expires_at| {
                let side = sides.get(&command.account_id);
                Ok((side.ok_or_else(|| Refusal::invisible("account_id"))?, expires_at))
            });
            if let Ok((side, expires_at)) = &verdict {
                let destination = destination(call, side, &mut unmade);
                orders.push(command.order(context, (side, destination), (now, *expires_at)));
            }
            checked.push(verdict.map(drop));
        }
        let tenant = transaction.tenant();
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let question = Query::new(approvals::CEILING, &parameters);
        let mut ceiling = Ceiling::default();
        let results = ledger::holds::authorise(transaction, &orders, question, |said, order| {
            ceiling = Ceiling::of(said)?;
            Ok(ceiling.allows_alone(order.created_by, order.amount))
        });
        let mut results = results.await?.into_iter();
        let outcomes = calls.iter().zip(checked).map(|(call, check)| {
            check?;
            answer(&call.context, results.next().ok_or_else(nothing)?, ceiling)
        });
        Ok(outcomes.collect())
    }
}

impl Grouped for AuthoriseHold {
    /// The destination is only looked at.
    fn locks(&self) -> impl Iterator<Item = Uuid> {
        std::iter::once(self.account_id)
    }
}

/// What of the accounts of a batch never changes: one round trip.
async fn sides(
    transaction: &TenantTx,
    calls: &[&Call<AuthoriseHold>],
) -> Result<HashMap<Uuid, Side>, DbError> {
    let ids: Vec<Uuid> = calls.iter().map(|call| call.command.account_id).collect();
    let rows = transaction.query(SIDES, &[&transaction.tenant(), &ids]).await?;
    rows.iter()
        .map(|row| {
            let currency = ledger::model::stored_currency(row.try_get("currency")?)?;
            let settlement_id = row.try_get("settlement_id")?;
            Ok((row.try_get("id")?, Side { currency, settlement_id }))
        })
        .collect()
}

/// Whom an order promises the money to: the bank's settlement account where it names
/// nobody. Where this is the first promise of its currency, the account is made with the
/// hold, so that a refused order makes none.
fn destination(
    call: &Call<AuthoriseHold>,
    side: &Side,
    unmade: &mut HashMap<Currency, Uuid>,
) -> Destination {
    match (call.command.to_account_id, side.settlement_id) {
        (Some(id), _) => Destination::Customer(id),
        (None, Some(id)) => Destination::Internal(id),
        (None, None) => {
            let id = unmade.entry(side.currency).or_insert_with(|| call.context.clock.new_id());
            let (account, currency) = (InternalAccount::Settlement, side.currency);
            Destination::Unmade { id: *id, account, currency }
        }
    }
}

fn answer(context: &OpContext, result: Result<Hold, HoldError>, ceiling: Ceiling) -> Outcome<Hold> {
    let hold = result.map_err(|error| match error {
        HoldError::NotAdmitted => ceiling.refusal(),
        error => refusal(error),
    })?;
    let record = event(context, EventType::DataModification, AuthoriseHold::NAME, RESOURCE)
        .resource_id(hold.id)
        .new_values(json!({
            "account_id": hold.account_id,
            "to_account_id": hold.to_account_id,
            "amount": hold.amount,
            "currency": hold.currency,
            "expires_at": hold.expires_at.to_string(),
            "status": hold.status,
        }))
        .at_version(hold.version);
    Ok(Applied { output: hold, status: 201, events: vec![record] })
}

fn nothing() -> DbError {
    DbError::Corrupt("an authorisation without a result".to_owned())
}

/// What PostgreSQL can store; the fraction beyond it is cut off.
fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use uuid::Uuid;

    use super::AuthoriseHold;

    fn order(expires_at: Option<Timestamp>) -> AuthoriseHold {
        AuthoriseHold {
            account_id: Uuid::nil(),
            to_account_id: None,
            amount: 1,
            currency: None,
            description: String::new(),
            reference: None,
            expires_at,
        }
    }

    #[test]
    fn a_hold_ends_later_and_within_thirty_days() {
        let now: Timestamp = "2026-03-01T12:00:00.000001Z".parse().unwrap();
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        let microsecond = SignedDuration::from_micros(1);
        // expires_at, what it becomes or the code
        let table = [
            (None, Ok(days(7))),
            (Some(now), Err("expires_in_past")),
            // Cut to what the database stores, it is now.
            (Some(now + SignedDuration::from_nanos(900)), Err("expires_in_past")),
            (Some(now + microsecond), Ok(now + microsecond)),
            (Some(days(-1)), Err("expires_in_past")),
            (Some(Timestamp::MIN), Err("expires_in_past")),
            (Some(days(30)), Ok(days(30))),
            (Some(days(30) + microsecond), Err("expires_too_late")),
            (Some(Timestamp::MAX), Err("expires_too_late")),
        ];
        for (expires_at, expected) in table {
            let checked = order(expires_at).check(now);
            let found = checked.as_ref().map_err(|refusal| {
                assert_eq!(refusal.errors[0].field, "expires_at");
                &*refusal.errors[0].code
            });
            assert_eq!(found.copied(), expected, "{expires_at:?}");
        }
    }

    #[test]
    fn texts_and_expiry_are_at_fault_together() {
        let refused = AuthoriseHold {
            description: "x".repeat(141),
            reference: Some("a\u{7}".to_owned()),
            ..order(Some(Timestamp::MIN))
        };
        let refusal = refused.check(Timestamp::UNIX_EPOCH).unwrap_err();
        let fields: Vec<_> = refusal.errors.iter().map(|error| &*error.field).collect();
        assert_eq!(fields, ["description", "reference", "expires_at"]);
    }
}
