//! Movements that one person orders and nobody approves: posted up to the tenant's
//! ceiling, refused above it. Only transfers can wait for a second person
//! ([`crate::approvals`]).

use ledger::{Posted, Posting, posting::post_admitted};
use operation::{Applied, Failure};
use tenancy::{DbError, OpContext, Query, TenantTx};

use super::{Transfer, error::Fields, error::rule, posting_event};
use crate::approvals::{CEILING, Ceiling};

/// Posts one movement. Refusals, first found: the ledger's in the order of
/// [`ledger::PostingError`], `approval_required` before those about the balance.
pub(super) async fn post_alone(
    transaction: &TenantTx,
    context: &OpContext,
    posting: &Posting,
    fields: Fields,
) -> Result<Posted, Failure> {
    let tenant = transaction.tenant();
    let mut ceiling = Ceiling::default();
    let results = post_admitted(
        transaction,
        &context.clock,
        std::slice::from_ref(posting),
        Query::new(CEILING, &[&tenant]),
        |answer, batch| {
            ceiling = Ceiling::of(answer)?;
            let allowed = |one: &Posting| ceiling.allows_alone(one.created_by, one.amount);
            Ok(batch.iter().map(allowed).collect())
        },
    )
    .await?;
    match results.into_iter().next() {
        Some(Ok(Some(posted))) => Ok(posted),
        Some(Ok(None)) => Err(rule("approval_required", fields.whole(), &ceiling.detail()).into()),
        Some(Err(error)) => Err(fields.refusal(error).into()),
        None => Err(DbError::Corrupt("a posting without a result".to_owned()).into()),
    }
}

/// The answer to an order that is posted.
pub(super) fn posted_answer(
    context: &OpContext,
    action: &'static str,
    posting: &Posting,
) -> Applied<Transfer> {
    let transfer = Transfer::of(posting);
    let events = vec![posting_event(context, action, &transfer)];
    Applied { output: transfer, status: 201, events }
}
