//! From what became of each call to its audit record, its stored answer and its
//! reply. Refuses to know how a call got there.

use audit::{AuditEvent, EventType, Outcome, store::Batch};
use events::Outgoing;
use serde_json::{Value, json};
use tenancy::{DbError, Query, TenantTx};
use uuid::Uuid;

use crate::{
    Applied, Call, Command, Refusal, RefusalKind, Reply, event,
    idempotency::{Answer, Claim, Keys, StoredAnswers},
};

/// The answers of a batch, in order.
pub(crate) type Answers<T> = Vec<Result<Reply<T>, Refusal>>;

/// What becomes of one call.
pub(crate) enum Fate<T> {
    /// It may run.
    Pending,
    /// It ran.
    Applied(Applied<T>),
    /// It was not let run: nothing of that is remembered.
    Refused(Refusal),
    /// A rule stopped it as it ran; with the events of a refusal that is kept.
    Failed(Refusal, Vec<AuditEvent>),
    /// Its key was answered before.
    Replayed { status: u16, response: Value },
    /// Its key stands earlier in the batch, at that position.
    SameAs(usize),
}

/// One call's fate with the object it was about.
pub(crate) struct Case<T> {
    pub(crate) object: Option<Uuid>,
    pub(crate) fate: Fate<T>,
}

impl<T> Case<T> {
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.fate, Fate::Pending)
    }

    /// Takes what is known of the key of a call that may run.
    pub(crate) fn settle(&mut self, claim: Claim) {
        if self.is_pending() {
            self.fate = match claim {
                Claim::Free => Fate::Pending,
                Claim::Answered { status, response } => Fate::Replayed { status, response },
                Claim::Refused(refusal) => Fate::Refused(refusal),
                Claim::SameAs(position) => Fate::SameAs(position),
            };
        }
    }
}

/// What a batch leaves behind.
struct Settled<T> {
    events: Vec<AuditEvent>,
    remembered: Vec<Answer>,
    answers: Answers<T>,
}

/// Audits every outcome, publishes every change, stores the answers, commits: one round trip.
pub(crate) async fn finish<C: Command>(
    transaction: TenantTx,
    calls: &[Call<C>],
    keys: Keys,
    cases: Vec<Case<C::Output>>,
) -> Result<Answers<C::Output>, DbError> {
    let mut outcome = Settled {
        events: Vec::new(),
        remembered: Vec::new(),
        answers: Vec::with_capacity(calls.len()),
    };
    for (position, (call, case)) in calls.iter().zip(cases).enumerate() {
        outcome.take(call, case, keys.has(position).then_some(position))?;
    }
    let tenant = transaction.tenant();
    // Ahead of the batch, which leaves out the records that were written before.
    let outgoing = Outgoing::of(&outcome.events)?;
    let batch = Batch::seal(tenant, outcome.events)?;
    let columns = batch.columns()?;
    let audit_parameters = columns.parameters();
    let mut queries = Vec::with_capacity(3);
    if !batch.is_empty() {
        queries.push(Query::new(Batch::SQL, &audit_parameters));
    }
    let published = outgoing.as_ref().map(|outgoing| outgoing.parameters(&tenant));
    if let Some(parameters) = &published {
        queries.push(Query::new(Outgoing::SQL, parameters));
    }
    let stored = keys.answers(outcome.remembered);
    let parameters = stored.as_ref().map(|stored| stored.parameters(&tenant, &C::NAME));
    if let Some(parameters) = &parameters {
        queries.push(Query::new(StoredAnswers::SQL, parameters));
    }
    transaction.commit_with(&queries).await?;
    Ok(outcome.answers)
}

/// The record of a call that ended in an error of ours, under the code that its caller
/// is told: nothing was changed.
pub(crate) fn broken_event<C: Command>(call: &Call<C>, code: &str) -> AuditEvent {
    plain_event(call, None).outcome(Outcome::Failed).details(json!({ "code": code }))
}

impl<T: serde::Serialize + serde::de::DeserializeOwned + Clone> Settled<T> {
    /// `keyed`: the position, where an answer is to be remembered.
    fn take<C: Command<Output = T>>(
        &mut self,
        call: &Call<C>,
        case: Case<T>,
        keyed: Option<usize>,
    ) -> Result<(), DbError> {
        let object = case.object;
        let answer = match case.fate {
            Fate::Applied(applied) => {
                if applied.events.is_empty() {
                    self.events.push(plain_event(call, object));
                }
                self.events.extend(applied.events);
                if let Some(position) = keyed {
                    let response = json!({ "ok": encode(&applied.output)? });
                    self.remembered.push(Answer { position, status: applied.status, response });
                }
                Ok(Reply { output: applied.output, status: applied.status, replayed: false })
            }
            Fate::Refused(refusal) => {
                self.events.push(refused_event(call, object, &refusal));
                Err(refusal)
            }
            Fate::Failed(refusal, kept) => {
                if kept.is_empty() {
                    self.events.push(refused_event(call, object, &refusal));
                }
                self.events.extend(kept);
                if let Some(position) = keyed.filter(|_| refusal.is_final()) {
                    let response = json!({ "refused": encode(&refusal)? });
                    self.remembered.push(Answer {
                        position,
                        status: refusal.kind.status(),
                        response,
                    });
                }
                Err(refusal)
            }
            Fate::Replayed { status, response } => {
                self.events.push(plain_event(call, object).outcome(Outcome::Replayed));
                decode(status, response)?
            }
            Fate::SameAs(earlier) => {
                self.events.push(plain_event(call, object).outcome(Outcome::Replayed));
                same_again(self.answers.get(earlier))
            }
            Fate::Pending => {
                return Err(DbError::Corrupt(format!("{} left a call unanswered", C::NAME)));
            }
        };
        self.answers.push(answer);
        Ok(())
    }
}

fn same_again<T: Clone>(earlier: Option<&Result<Reply<T>, Refusal>>) -> Result<Reply<T>, Refusal> {
    match earlier {
        Some(Ok(reply)) => Ok(Reply { replayed: true, ..reply.clone() }),
        Some(Err(refusal)) => Err(Refusal { replayed: true, ..refusal.clone() }),
        None => Err(Refusal::new(RefusalKind::Conflict, "idempotency_in_flight", "Try again")),
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Value, DbError> {
    serde_json::to_value(value).map_err(|error| DbError::Corrupt(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(
    status: u16,
    mut response: Value,
) -> Result<Result<Reply<T>, Refusal>, DbError> {
    // The category only: the error's own words quote the answer.
    let corrupt = |error: serde_json::Error| {
        DbError::Corrupt(format!("stored answer: {:?}", error.classify()))
    };
    if let Some(refused) = response.get_mut("refused") {
        let refusal: Refusal = serde_json::from_value(refused.take()).map_err(corrupt)?;
        return Ok(Err(Refusal { replayed: true, ..refusal }));
    }
    let output = response.get_mut("ok").map(Value::take).unwrap_or_default();
    Ok(Ok(Reply {
        output: serde_json::from_value(output).map_err(corrupt)?,
        status,
        replayed: true,
    }))
}

fn plain_event<C: Command>(call: &Call<C>, object: Option<Uuid>) -> AuditEvent {
    let record = event(&call.context, EventType::ApiAccess, C::NAME, C::RESOURCE);
    match object {
        Some(object) => record.resource_id(object),
        None => record,
    }
}

fn refused_event<C: Command>(
    call: &Call<C>,
    object: Option<Uuid>,
    refusal: &Refusal,
) -> AuditEvent {
    let denied = matches!(
        refusal.kind,
        RefusalKind::Denied | RefusalKind::NotFound | RefusalKind::Unauthenticated
    );
    let fields: Vec<_> = refusal.errors.iter().map(|error| &error.field).collect();
    let record =
        plain_event(call, object).details(json!({ "code": refusal.code, "fields": fields }));
    if denied {
        // Somebody reached for more than they hold: an attack, or somebody about to make one.
        let escalates = refusal.code == "privilege_escalation";
        let kind =
            if escalates { EventType::PrivilegeEscalation } else { EventType::PermissionDenied };
        record.event_type(kind).outcome(Outcome::Denied)
    } else {
        record.outcome(Outcome::Failed)
    }
}
