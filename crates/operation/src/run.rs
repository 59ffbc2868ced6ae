//! One batch from begin to commit.
//!
//! Round trips of a batch, whatever its size: (1) BEGIN, settings, liveness of the
//! sessions; (2) the facts of the decisions; (3) claims and earlier answers, where
//! any call has a key; (4…) the commands' own; (n−1) audit; (n) answers and COMMIT.

use std::{sync::Arc, time::Duration};

use access::Resource;
use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use serde_json::{Value, json};
use tenancy::{Actor, ActorKind, DbError, Query, TenantTx};

use crate::{
    Applied, Call, Command, Failure, OperationError, Operations, Refusal, RefusalKind, Reply, Target,
    command::Outcome,
    event,
    idempotency::{Answer, Claim, Keys},
    principal, session,
};

/// Attempts at a transaction that the database asks to repeat (40001, 40P01).
const ATTEMPTS: u32 = 6;

type Answers<T> = Vec<Result<Reply<T>, Refusal>>;

impl Operations {
    /// Runs one command.
    pub async fn run_one<C: Command>(&self, call: Call<C>) -> Result<Reply<C::Output>, OperationError> {
        self.run(vec![call]).await.pop().unwrap_or(Err(OperationError::Aborted))
    }

    /// Runs a batch of one tenant's commands and answers each. It is a task of its
    /// own: a client that hangs up cancels nothing half-way.
    ///
    /// All calls must be of one tenant; a stray one is answered with an error.
    pub async fn run<C: Command>(&self, calls: Vec<Call<C>>) -> Vec<Result<Reply<C::Output>, OperationError>> {
        let count = calls.len();
        let operations = self.clone();
        let task = tokio::spawn(async move { operations.run_whole(&calls).await });
        match task.await {
            Ok(Ok(answers)) => answers.into_iter().map(|answer| answer.map_err(OperationError::from)).collect(),
            Ok(Err(error)) => {
                tracing::error!(command = C::NAME, %error, "operation failed");
                let shared = Arc::new(error);
                (0..count).map(|_| Err(OperationError::from(repeat(&shared)))).collect()
            }
            Err(_) => (0..count).map(|_| Err(OperationError::Aborted)).collect(),
        }
    }

    async fn run_whole<C: Command>(&self, calls: &[Call<C>]) -> Result<Answers<C::Output>, DbError> {
        let mut attempt = 1;
        loop {
            match self.attempt(calls).await {
                Err(error) if attempt < ATTEMPTS && is_repeatable(&error) => {
                    metrics::counter!("strongroom_operation_retries_total", "command" => C::NAME).increment(1);
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt) * 2)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<C: Command>(&self, calls: &[Call<C>]) -> Result<Answers<C::Output>, DbError> {
        let Some(first) = calls.first() else { return Ok(Vec::new()) };
        let tenant = first.context.tenant_id();
        if calls.iter().any(|call| call.context.tenant_id() != tenant) {
            return Err(DbError::Corrupt("a batch of commands of more than one tenant".to_owned()));
        }
        let sessions: Vec<_> = calls.iter().filter_map(|call| call.context.session.map(|id| id.0)).collect();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant, &sessions];
        let liveness = [Query::new(session::LIVE, &parameters)];
        let first_queries = if sessions.is_empty() { &[][..] } else { &liveness[..] };
        let (transaction, rows) = self.database.begin_with(&first.context, first_queries).await?;
        let live = session::live(rows.first().map_or(&[], Vec::as_slice))?;

        let everyone: Vec<&Call<C>> = calls.iter().collect();
        let targets = C::targets(&transaction, &everyone).await?;
        let mut fates: Vec<Fate<C::Output>> = Vec::with_capacity(calls.len());
        for (call, target) in calls.iter().zip(&targets) {
            let verdict = session::check(&call.context, &live).and_then(|()| self.authorise(call, target));
            fates.push(verdict.map_or_else(|refusal| Fate::Refused(refusal, Vec::new()), |()| Fate::Pending));
        }
        let keys = Keys::of(tenant, calls);
        let claims = keys.claim(&transaction, C::NAME, calls.len()).await?;
        settle_claims(&mut fates, claims);
        execute_pending(&transaction, calls, &mut fates).await?;
        finish(transaction, calls, keys, fates).await
    }

    fn authorise<C: Command>(&self, call: &Call<C>, target: &Target) -> Result<(), Refusal> {
        let actor = &call.context.actor;
        if let Some(verdict) = without_policy::<C>(actor, target) {
            return verdict;
        }
        let blueprint = call.context.tenant.blueprint;
        let permission = call.command.permission();
        if self.policies.scope(blueprint, &actor.roles, permission).is_none() {
            return Err(Refusal::denied());
        }
        let who = principal(actor);
        match target {
            Target::Missing { field } => Err(unseen(*field)),
            Target::Tenant => {
                // What is to be created, or has no owner, is nobody's yet.
                let tenant = Resource::for_permission(permission, None);
                allow_if(self.policies.decide(blueprint, &who, permission, &tenant).allowed())
            }
            Target::Object {
                resource,
                read_permission,
                field,
            } => {
                if !self.policies.decide(blueprint, &who, *read_permission, resource).allowed() {
                    return Err(unseen(*field));
                }
                allow_if(self.policies.decide(blueprint, &who, permission, resource).allowed())
            }
        }
    }
}

/// The system itself is outside policy (and audited); nobody at all may run only
/// what is made for that.
fn without_policy<C: Command>(actor: &Actor, target: &Target) -> Option<Result<(), Refusal>> {
    match actor.kind {
        ActorKind::Anonymous if !C::ANONYMOUS => {
            Some(Err(Refusal::unauthenticated("invalid_token", "A valid access token is needed")))
        }
        _ if C::ANONYMOUS || actor.is_system() => Some(match target {
            Target::Missing { field } => Err(unseen(*field)),
            Target::Tenant | Target::Object { .. } => Ok(()),
        }),
        _ => None,
    }
}

fn unseen(field: Option<&'static str>) -> Refusal {
    field.map_or_else(Refusal::not_found, Refusal::invisible)
}

fn allow_if(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::denied()) }
}

/// What becomes of one call.
enum Fate<T> {
    Pending,
    Applied(Applied<T>),
    /// With the events of a refusal that was kept.
    Refused(Refusal, Vec<AuditEvent>),
    Replayed {
        status: u16,
        response: Value,
    },
    SameAs(usize),
}

fn settle_claims<T>(fates: &mut [Fate<T>], claims: Vec<Claim>) {
    for (fate, claim) in fates.iter_mut().zip(claims) {
        if !matches!(fate, Fate::Pending) {
            continue;
        }
        match claim {
            Claim::Free => {}
            Claim::Answered { status, response } => *fate = Fate::Replayed { status, response },
            Claim::Refused(refusal) => *fate = Fate::Refused(refusal, Vec::new()),
            Claim::SameAs(position) => *fate = Fate::SameAs(position),
        }
    }
}

async fn execute_pending<C: Command>(
    transaction: &TenantTx,
    calls: &[Call<C>],
    fates: &mut [Fate<C::Output>],
) -> Result<(), DbError> {
    let positions: Vec<usize> = (0..calls.len()).filter(|&at| matches!(fates[at], Fate::Pending)).collect();
    if positions.is_empty() {
        return Ok(());
    }
    let pending: Vec<&Call<C>> = positions.iter().map(|&at| &calls[at]).collect();
    let outcomes: Vec<Outcome<C::Output>> = C::execute_all(transaction, &pending).await?;
    if outcomes.len() != positions.len() {
        return Err(DbError::Corrupt(format!("{} gave another number of results than calls", C::NAME)));
    }
    for (at, outcome) in positions.into_iter().zip(outcomes) {
        fates[at] = match outcome {
            Ok(applied) => Fate::Applied(applied),
            Err(Failure::Refused(refusal)) => Fate::Refused(refusal, Vec::new()),
            Err(Failure::RefusedAndKept { refusal, events }) => Fate::Refused(refusal, events),
            Err(Failure::Database(error)) => return Err(error),
        };
    }
    Ok(())
}

/// Audits every outcome, stores the answers, commits.
async fn finish<C: Command>(
    transaction: TenantTx,
    calls: &[Call<C>],
    keys: Keys,
    fates: Vec<Fate<C::Output>>,
) -> Result<Answers<C::Output>, DbError> {
    let mut events = Vec::new();
    let mut remembered = Vec::new();
    let mut answers: Answers<C::Output> = Vec::with_capacity(calls.len());
    for (position, (call, fate)) in calls.iter().zip(fates).enumerate() {
        let answer = match fate {
            Fate::Applied(applied) => {
                events.extend(applied.events);
                let response = json!({ "ok": encode(&applied.output)? });
                remembered.push(Answer { position, status: applied.status, response });
                Ok(Reply { output: applied.output, status: applied.status, replayed: false })
            }
            Fate::Refused(refusal, kept) if kept.is_empty() => {
                events.push(refused_event(call, &refusal));
                remember_refusal(&mut remembered, position, &refusal)?;
                Err(refusal)
            }
            Fate::Refused(refusal, kept) => {
                events.extend(kept);
                Err(refusal)
            }
            Fate::Replayed { status, response } => {
                events.push(plain_event(call).outcome(AuditOutcome::Replayed));
                decode(status, response)?
            }
            Fate::SameAs(earlier) => {
                events.push(plain_event(call).outcome(AuditOutcome::Replayed));
                same_again(answers.get(earlier))
            }
            Fate::Pending => return Err(DbError::Corrupt(format!("{} left a call unanswered", C::NAME))),
        };
        answers.push(answer);
    }
    audit::store::append(&transaction, events).await?;
    match keys.answers(remembered) {
        Some(stored) => stored.commit(transaction, C::NAME).await?,
        None => transaction.commit().await?,
    }
    Ok(answers)
}

fn remember_refusal(remembered: &mut Vec<Answer>, position: usize, refusal: &Refusal) -> Result<(), DbError> {
    // A key used for another request keeps the answer to its own.
    if refusal.is_final() && refusal.code != "idempotency_key_reused" {
        let response = json!({ "refused": encode(refusal)? });
        remembered.push(Answer { position, status: refusal.kind.status(), response });
    }
    Ok(())
}

fn same_again<T: Clone>(earlier: Option<&Result<Reply<T>, Refusal>>) -> Result<Reply<T>, Refusal> {
    match earlier {
        Some(Ok(reply)) => Ok(Reply { replayed: true, ..reply.clone() }),
        Some(Err(refusal)) => Err(refusal.clone()),
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
    let corrupt = |error: serde_json::Error| DbError::Corrupt(format!("stored answer: {error}"));
    if let Some(refused) = response.get_mut("refused") {
        return Ok(Err(serde_json::from_value(refused.take()).map_err(corrupt)?));
    }
    let output = response.get_mut("ok").map(Value::take).unwrap_or_default();
    Ok(Ok(Reply {
        output: serde_json::from_value(output).map_err(corrupt)?,
        status,
        replayed: true,
    }))
}

fn plain_event<C: Command>(call: &Call<C>) -> AuditEvent {
    event(&call.context, EventType::ApiAccess, C::NAME, C::RESOURCE)
}

fn refused_event<C: Command>(call: &Call<C>, refusal: &Refusal) -> AuditEvent {
    let denied = matches!(
        refusal.kind,
        RefusalKind::Denied | RefusalKind::NotFound | RefusalKind::Unauthenticated
    );
    let details = json!({ "code": refusal.code, "fields": refusal.errors.iter().map(|error| &error.field).collect::<Vec<_>>() });
    let (event_type, outcome) = if denied {
        (EventType::PermissionDenied, AuditOutcome::Denied)
    } else {
        (EventType::ApiAccess, AuditOutcome::Failed)
    };
    event(&call.context, event_type, C::NAME, C::RESOURCE).outcome(outcome).details(details)
}

/// Serialisation failures and deadlocks repeat whole, and so does the race that
/// two nodes can run for one key: the loser then finds the winner's answer.
fn is_repeatable(error: &DbError) -> bool {
    matches!(error, DbError::Retry(_)) || error.constraint() == Some("idempotency_keys_pkey")
}

/// The one error of a transaction, said to each of its callers.
fn repeat(error: &Arc<DbError>) -> DbError {
    match error.as_ref() {
        DbError::Unavailable(_) | DbError::Retry(_) => DbError::Unavailable(error.to_string()),
        other => DbError::Corrupt(other.to_string()),
    }
}
