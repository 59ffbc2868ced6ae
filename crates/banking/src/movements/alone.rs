//! Movements that one person orders and nobody approves: posted up to the tenant's
//! ceiling, refused above it. Only transfers can wait for a second person
//! ([`crate::approvals`]).
//!
//! Journals and reversals move customers' money as transfers do. So above the limit from
//! which transfers are proven, whoever orders one in a session has used a second factor
//! within five minutes. It is not bound to the legs: nobody pays anybody by them, and a
//! journal may have a hundred. What a teller pays in or out is counted at a desk and is not
//! asked for it.

use audit::AuditEvent;
use ledger::{
    Posted, Posting,
    posting::{Entered, post_admitted},
};
use operation::{Applied, Failure, Refusal, RefusalKind};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};

use super::{Transfer, error::Fields, error::rule};
use crate::approvals::{CEILING, Ceiling, session_to_prove_in};

const CEILING_AND_FACTOR: &str = tenancy::sql!("banking/approvals.sql", "ceiling_and_factor");

/// What becomes of a movement on one person's word.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Allowed,
    NeedsApproval,
    NeedsFactor,
}

/// Posts one movement of a teller's with its `record`. Refusals, first found: the ledger's in the order of
/// [`ledger::PostingError`], `approval_required` before those about the balance.
pub(super) async fn post_alone(
    transaction: &TenantTx,
    context: &OpContext,
    (posting, fields): (&Posting, Fields),
    record: impl Fn(&Posted) -> AuditEvent,
) -> Result<Entered, Failure> {
    let tenant = transaction.tenant();
    let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
    let question = Query::new(CEILING, &parameters);
    let within = |_: &[Row]| Ok(false);
    post(transaction, context, (posting, fields), (question, within), record).await
}

/// As [`post_alone`] for what moves the money of others from a desk: `step_up_required`
/// behind `approval_required`.
pub(super) async fn post_alone_by_factor(
    transaction: &TenantTx,
    context: &OpContext,
    (posting, fields): (&Posting, Fields),
    record: impl Fn(&Posted) -> AuditEvent,
) -> Result<Entered, Failure> {
    let tenant = transaction.tenant();
    let session = session_to_prove_in(context);
    let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &session];
    let question = Query::new(CEILING_AND_FACTOR, &parameters);
    let due = |answer: &[Row]| -> Result<bool, DbError> {
        let Some(row) = answer.first().filter(|_| session.is_some()) else { return Ok(false) };
        let limit: Option<i64> = row.try_get("step_up_limit")?;
        let proven: bool = row.try_get("proven")?;
        Ok(!proven && limit.is_some_and(|limit| posting.amount > limit))
    };
    post(transaction, context, (posting, fields), (question, due), record).await
}

/// `factor_due` reads from the answer whether a factor has to be used first.
async fn post(
    transaction: &TenantTx,
    context: &OpContext,
    (posting, fields): (&Posting, Fields),
    (question, factor_due): (Query<'_>, impl FnOnce(&[Row]) -> Result<bool, DbError>),
    record: impl Fn(&Posted) -> AuditEvent,
) -> Result<Entered, Failure> {
    let mut ceiling = Ceiling::default();
    let mut verdict = Verdict::default();
    let results = post_admitted(
        transaction,
        &context.clock,
        std::slice::from_ref(posting),
        question,
        |answer, _| {
            ceiling = Ceiling::of(answer)?;
            if !ceiling.allows_alone(posting.created_by, posting.amount) {
                verdict = Verdict::NeedsApproval;
            } else if factor_due(answer)? {
                verdict = Verdict::NeedsFactor;
            }
            Ok(vec![verdict == Verdict::Allowed])
        },
        |_, posted| record(posted),
    )
    .await?;
    match results.into_iter().next() {
        Some(Ok(Some(entered))) => Ok(entered),
        Some(Ok(None)) if verdict == Verdict::NeedsFactor => Err(factor_due_refusal().into()),
        Some(Ok(None)) => Err(rule("approval_required", fields.whole(), &ceiling.detail()).into()),
        Some(Err(error)) => Err(fields.refusal(error).into()),
        None => Err(DbError::Corrupt("a posting without a result".to_owned()).into()),
    }
}

fn factor_due_refusal() -> Refusal {
    let detail = "Above this amount a second factor is used first (POST /v1/auth/step-up). \
        Somebody without one sets it up before";
    Refusal::new(RefusalKind::Denied, "step_up_required", detail)
}

/// The answer to an order that is posted.
pub(super) fn posted_answer(posting: &Posting, entered: Entered) -> Applied<Transfer> {
    Applied { output: Transfer::of(posting), status: 201, events: vec![entered.record] }
}
