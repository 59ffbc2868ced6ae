//! Transfers between accounts on somebody's order. A batch is one call of the
//! posting engine: decided in memory, so there is no savepoint, and one refusal
//! leaves its neighbours alone. What exceeds the tenant's ceiling is not posted but
//! waits for a second person ([`crate::approvals`]).

use access::{Permission, Resource};
use ledger::{
    Posting, TransactionType, TransferKind,
    posting::{Entered, Posted, PostingError, post_admitted},
};
use money::Currency;
use operation::{Applied, Call, Command, Grouped, Refusal, Target, command::Outcome};
use serde_json::{Value, json};
use tenancy::{Clock, DbError, OpContext, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Transfer, alone::posted_answer, business_date, error::Fields, posting_event};
use crate::{accounts::facts, approvals, text::check_note};

/// Moves money from one account to another. Answers 201; over the tenant's ceiling with
/// a transfer that waits for approval (`pending_approval`) and has moved nothing. Above the
/// tenant's limit it uses up a proof of this payment ([`crate::approvals`]), where it is made
/// or ordered and not where it is refused.
///
/// Refusals, first found: `from_account_id` not to be used by the actor
/// (`not_found`), text too long, then the ledger's in the order of
/// [`ledger::PostingError`]; of what has to wait or to be proven all but those about the
/// balance, and then `step_up_required` (403) or `too_many_pending`.
#[derive(Clone, Debug)]
pub struct CreateTransfer {
    /// The account to debit; a customer must be a party to it.
    pub from_account_id: Uuid,
    /// The account to credit; anybody's in the tenant, but of the actor's own only
    /// where the debited one is as well.
    pub to_account_id: Uuid,
    /// Minor units; anything but 1 to 2^53 − 1 is refused.
    pub amount: i64,
    /// Of the amount and of both accounts.
    pub currency: Currency,
    /// Text on both statements; may be empty.
    pub description: String,
    /// The payer's reference.
    pub reference: Option<String>,
}

impl CreateTransfer {
    fn check(&self) -> Result<(), Refusal> {
        check_texts(&self.description, self.reference.as_deref())
    }

    fn posting(&self, context: &OpContext) -> Result<Posting, DbError> {
        let today = business_date(context)?;
        Ok(Posting {
            transfer_id: context.clock.new_id(),
            kind: TransferKind::Transfer,
            amount: self.amount,
            currency: self.currency,
            legs: Posting::two_legs(
                (self.from_account_id, TransactionType::TransferOut),
                (self.to_account_id, TransactionType::TransferIn),
                self.amount,
            ),
            description: self.description.clone(),
            reference: self.reference.clone().filter(|text| !text.is_empty()),
            value_date: today,
            booking_date: today,
            posted_at: context.clock.now(),
            created_by: context.actor.id,
            reverses_transfer_id: None,
            waive_limits: false,
        })
    }
}

impl Command for CreateTransfer {
    const NAME: &'static str = "transfer.create";
    const RESOURCE: &'static str = "transfer";
    type Output = Transfer;

    fn permission(&self) -> Permission {
        Permission::TransactionCreate
    }

    fn fingerprint(&self) -> Value {
        json!({
            "from_account_id": self.from_account_id,
            "to_account_id": self.to_account_id,
            "amount": self.amount.to_string(),
            "currency": self.currency,
            "description": self.description,
            "reference": self.reference,
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Transfer> {
        let call = Call { context: context.clone(), idempotency_key: None, command: self.clone() };
        let mut outcomes = Self::execute_all(transaction, &[&call]).await?;
        outcomes.pop().unwrap_or_else(|| {
            Err(DbError::Corrupt("a batch of one gave no result".to_owned()).into())
        })
    }

    async fn targets(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Target>, DbError> {
        let field = Some("from_account_id");
        // Both sides of every transfer in one statement: first those debited, then those credited.
        let side = |account: fn(&Self) -> Uuid| {
            calls.iter().map(move |call| (account(&call.command), call.context.actor.id))
        };
        let debited = side(|command| command.from_account_id);
        let credited = side(|command| command.to_account_id);
        let wanted: Vec<(Uuid, Uuid)> = debited.chain(credited).collect();
        let facts = facts(transaction, &wanted).await?;
        let (debited, credited) = facts.split_at(calls.len());
        let sides = debited.iter().zip(credited);
        let targets = calls.iter().zip(sides).map(|(call, sides)| match sides {
            (None, _) => Target::Missing { field },
            (&Some(owned), held) => Target::Object {
                resource: Resource::for_permission(
                    Permission::TransactionCreate,
                    Some(call.command.from_account_id),
                )
                .owned(owned)
                .held(held.unwrap_or(false))
                .amount(call.command.amount, call.command.currency.code()),
                read_permission: Permission::TransactionRead,
                field,
            },
        });
        Ok(targets.collect())
    }

    async fn execute_all(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Outcome<Transfer>>, DbError> {
        let mut postings = Vec::with_capacity(calls.len());
        let mut contexts = Vec::with_capacity(calls.len());
        let mut orders = approvals::Orders::default();
        let checked: Vec<Result<(), Refusal>> =
            calls.iter().map(|call| call.command.check()).collect();
        for (call, check) in calls.iter().zip(&checked) {
            if check.is_ok() {
                let posting = call.command.posting(&call.context)?;
                orders.push(&call.context, &posting)?;
                postings.push(posting);
                contexts.push(&call.context);
            }
        }
        let Some(first) = calls.first() else { return Ok(Vec::new()) };
        let batch = (&first.context.clock, contexts, &postings[..]);
        let (results, admission) = post(transaction, batch, &orders).await?;
        let waits =
            (postings.iter().zip(&results).enumerate()).filter(|(position, (_, result))| {
                matches!(result, Ok(None)) && admission.waits(*position)
            });
        let makers = waits.map(|(_, (posting, _))| posting.created_by).collect();
        let mut waiting = approvals::Requests::of(transaction, makers).await?;
        let mut used = approvals::Used::default();
        let mut posted = postings.iter().zip(results).enumerate();
        let mut outcomes = Vec::with_capacity(calls.len());
        for (call, check) in calls.iter().zip(checked) {
            if let Err(refusal) = check {
                outcomes.push(Err(refusal.into()));
                continue;
            }
            let (position, (posting, result)) = posted
                .next()
                .ok_or_else(|| DbError::Corrupt("a posting without a result".to_owned()))?;
            let outcome = match result {
                Ok(Some(entered)) => Ok(posted_answer(posting, entered)),
                Ok(None) if !admission.waits(position) => Err(approvals::unproven().into()),
                Ok(None) => {
                    let waits =
                        waiting.add(&call.context, Self::NAME, (posting, admission.required()));
                    waits.map(|(approval_id, record)| {
                        let output = Transfer::pending(posting, approval_id);
                        Applied { output, status: 201, events: vec![record] }
                    })
                }
                Err(error) => Err(Fields::TRANSFER.refusal(error).into()),
            };
            if outcome.is_ok() {
                used.push(admission.of(position), posting.transfer_id);
            }
            outcomes.push(outcome);
        }
        waiting.store(transaction).await?;
        used.consume(transaction).await?;
        Ok(outcomes)
    }
}

type Results = Vec<Result<Option<Entered>, PostingError>>;

/// Posts what may be posted at once; the rest waits, or has to be proven.
async fn post(
    transaction: &TenantTx,
    (clock, contexts, postings): (&Clock, Vec<&OpContext>, &[Posting]),
    orders: &approvals::Orders,
) -> Result<(Results, approvals::Admission), DbError> {
    let tenant = transaction.tenant();
    let parameters = orders.parameters(&tenant);
    let question = approvals::Orders::question(&parameters);
    let mut admission = None;
    let admitted =
        |answer: &[Row], _: &[Posting]| Ok(admission.insert(orders.admission(answer)?).at_once());
    let record = |position: usize, _: &Posted| {
        let transfer = Transfer::of(&postings[position]);
        posting_event(contexts[position], CreateTransfer::NAME, &transfer)
    };
    let results = post_admitted(transaction, clock, postings, question, admitted, record).await?;
    let admission =
        admission.ok_or_else(|| DbError::Corrupt("a question unanswered".to_owned()))?;
    Ok((results, admission))
}

impl Grouped for CreateTransfer {
    fn locks(&self) -> impl Iterator<Item = Uuid> {
        [self.from_account_id, self.to_account_id].into_iter()
    }
}

/// Description and reference, both at fault together.
pub(super) fn check_texts(description: &str, reference: Option<&str>) -> Result<(), Refusal> {
    let checks = [
        check_note("description", description),
        check_note("reference", reference.unwrap_or_default()),
    ];
    let faults: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
    if faults.is_empty() { Ok(()) } else { Err(Refusal::validation(faults)) }
}
