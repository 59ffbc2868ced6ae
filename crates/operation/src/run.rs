//! One batch from begin to commit.
//!
//! Round trips of a batch, whatever its size: (1) BEGIN, settings, the sessions and who
//! is behind them (again, where somebody has other roles by now); (2) the facts of the decisions; (3) claims and earlier answers, where
//! any call has a key; (4…) the commands' own; (n) audit, answers and COMMIT.

use std::{panic::AssertUnwindSafe, slice, time::Duration};

use futures_util::FutureExt;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    Call, Command, Failure, OperationError, Operations, Reply, Target,
    answer::{Answers, Case, Fate, broken_event, finish},
    idempotency::{self, Keys},
    session::{self, Live, Presented},
};

/// Attempts at a transaction that the database asks to repeat (40001, 40P01).
const ATTEMPTS: u32 = 6;

/// Calls of a batch taken apart that may be stopped before the rest is not tried any
/// more. Each may take a whole statement's time: one slow neighbour is to be borne, a
/// row that somebody holds against all of them is not.
const STOPPED_MAX: u32 = 3;

type Results<T> = Vec<Result<Reply<T>, OperationError>>;

/// Why a transaction came to nothing.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Database(#[from] DbError),
    /// The message of a panic may hold anything, so it is not carried.
    #[error("the command panicked")]
    Panicked,
}

impl Operations {
    /// Runs one command.
    pub async fn run_one<C: Command>(
        &self,
        call: Call<C>,
    ) -> Result<Reply<C::Output>, OperationError> {
        self.run(vec![call]).await.pop().unwrap_or(Err(OperationError::Aborted))
    }

    /// Runs a batch of one tenant's commands and answers each. It is a task of its
    /// own: a client that hangs up cancels nothing half-way.
    ///
    /// All calls must be of one tenant; a batch that is not is refused whole.
    pub async fn run<C: Command>(&self, mut calls: Vec<Call<C>>) -> Results<C::Output> {
        let count = calls.len();
        let operations = self.clone();
        let whole = async move { operations.run_whole(&mut calls).await };
        let task = self.tasks().spawn(whole.in_current_span());
        // The task ends without an answer only where the runtime is shut down.
        task.await.unwrap_or_else(|_| (0..count).map(|_| Err(OperationError::Aborted)).collect())
    }

    pub(crate) async fn run_whole<C: Command>(&self, calls: &mut [Call<C>]) -> Results<C::Output> {
        let Some(first) = calls.first() else { return Vec::new() };
        let tenant = first.context.tenant_id();
        if calls.iter().any(|call| call.context.tenant_id() != tenant) {
            let error = DbError::Corrupt("a batch of commands of more than one tenant".to_owned());
            tracing::error!(command = C::NAME, %error, "operation refused");
            return calls.iter().map(|_| Err(say_again(&error).into())).collect();
        }
        match self.run_together(calls).await {
            Err(broken) if calls.len() > 1 && !broken.is_outage() => {
                tracing::warn!(command = C::NAME, error = %broken, calls = calls.len(), "batch taken apart");
                self.run_apart(calls).await
            }
            outcome => self.results(calls, outcome).await,
        }
    }

    /// Nothing of the batch was changed, and one call broke it; alone, each answers for
    /// itself. Where the database goes away, or stops one after the other, the rest is
    /// told so untried.
    async fn run_apart<C: Command>(&self, calls: &mut [Call<C>]) -> Results<C::Output> {
        let mut results = Vec::with_capacity(calls.len());
        let (mut remaining, mut stopped) = (calls, 0);
        while let Some((call, rest)) = remaining.split_first_mut() {
            let call = slice::from_mut(call);
            let alone = self.run_together(call).await;
            stopped += u32::from(alone.as_ref().is_err_and(Broken::is_stopped));
            let end = match &alone {
                Err(Broken::Database(error)) => Some(say_again(error)),
                _ => None,
            };
            let end = end.map(Broken::Database).filter(|broken| {
                broken.is_outage() || (broken.is_stopped() && stopped == STOPPED_MAX)
            });
            results.extend(self.results(call, alone).await);
            if let Some(broken) = end {
                results.extend(self.results(rest, Err(broken)).await);
                break;
            }
            remaining = rest;
        }
        results
    }

    async fn run_together<C: Command>(
        &self,
        calls: &mut [Call<C>],
    ) -> Result<Answers<C::Output>, Broken> {
        let mut attempt = 1;
        loop {
            match AssertUnwindSafe(self.attempt(calls)).catch_unwind().await {
                Ok(Err(error)) if attempt < ATTEMPTS && is_repeatable(&error) => {
                    metrics::counter!("strongroom_operation_retries_total", "command" => C::NAME)
                        .increment(1);
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt * attempt) * 2))
                        .await;
                    attempt += 1;
                }
                Ok(outcome) => return Ok(outcome?),
                Err(_) => return Err(Broken::Panicked),
            }
        }
    }

    /// Says a batch's outcome to each of its callers; one that came to nothing is
    /// audited in a transaction of its own, where there is a database to do it in.
    async fn results<C: Command>(
        &self,
        calls: &[Call<C>],
        outcome: Result<Answers<C::Output>, Broken>,
    ) -> Results<C::Output> {
        let broken = match outcome {
            Ok(answers) => {
                return answers
                    .into_iter()
                    .map(|answer| answer.map_err(OperationError::from))
                    .collect();
            }
            Err(broken) => broken,
        };
        if calls.is_empty() {
            return Vec::new();
        }
        tracing::error!(command = C::NAME, error = %broken, calls = calls.len(), "operation failed");
        if let Broken::Database(error) = &broken {
            tenancy::timing::tell_cause(error);
        }
        let code = if broken.is_stopped() { "unavailable" } else { "internal_error" };
        if !broken.is_outage()
            && let Err(error) = self.audit_broken(calls, code).await
        {
            tracing::error!(command = C::NAME, %error, "a failed operation could not be audited");
        }
        calls.iter().map(|_| Err(broken.to_each())).collect()
    }

    async fn audit_broken<C: Command>(&self, calls: &[Call<C>], code: &str) -> Result<(), DbError> {
        let (transaction, _) = self.begin(calls, &[]).await?;
        let events = calls.iter().map(|call| broken_event(call, code)).collect();
        audit::store::append(&transaction, events).await?;
        transaction.commit().await
    }

    async fn begin<C: Command>(
        &self,
        calls: &[Call<C>],
        queries: &[Query<'_>],
    ) -> Result<(TenantTx, Vec<Vec<tokio_postgres::Row>>), DbError> {
        let contexts: Vec<&OpContext> = calls.iter().map(|call| &call.context).collect();
        let (first, others) = contexts
            .split_first()
            .ok_or_else(|| DbError::Corrupt("a batch of no commands".to_owned()))?;
        self.database.begin_batch(first, others, queries).await
    }

    async fn attempt<C: Command>(
        &self,
        calls: &mut [Call<C>],
    ) -> Result<Answers<C::Output>, DbError> {
        let presented = Presented::of(calls);
        let parameters = presented.parameters();
        let queries = presented.queries(&parameters);
        for _ in 0..ATTEMPTS {
            let (transaction, rows) = self.begin(calls, &queries).await?;
            let live = presented.live(&rows)?;
            if self.renew_actors(calls, &live) {
                // What row security shows follows the roles, and was settled at BEGIN.
                transaction.rollback().await?;
                continue;
            }
            return match self.decide_and_execute(&transaction, calls, &live).await {
                Ok((keys, cases)) => finish(transaction, calls, keys, cases).await,
                Err(error) => {
                    // What failed under a savepoint keeps the locks taken before it,
                    // the claims among them, until the whole is rolled back; a
                    // connection merely dropped is noticed too late for the next attempt.
                    if !matches!(error, DbError::Unavailable(_)) {
                        drop(transaction.rollback().await);
                    }
                    Err(error)
                }
            };
        }
        Err(DbError::Stopped("the roles of an actor did not stand still".to_owned()))
    }

    async fn decide_and_execute<C: Command>(
        &self,
        transaction: &TenantTx,
        calls: &[Call<C>],
        live: &Live,
    ) -> Result<(Keys, Vec<Case<C::Output>>), DbError> {
        let everyone: Vec<&Call<C>> = calls.iter().collect();
        let targets = C::targets(transaction, &everyone).await?;
        if targets.len() != calls.len() {
            return Err(DbError::Corrupt(format!(
                "{} gave another number of targets than calls",
                C::NAME
            )));
        }
        let verdicts = calls.iter().zip(&targets).map(|(call, target)| {
            session::check(&call.context, live)
                .and_then(|()| idempotency::check_form(call.idempotency_key.as_deref()))
                .and_then(|()| self.authorise(call, target))
        });
        let mut cases: Vec<Case<C::Output>> = (verdicts.zip(&targets))
            .map(|(verdict, target)| Case {
                object: object_of(target),
                fate: verdict.map_or_else(Fate::Refused, |()| Fate::Pending),
            })
            .collect();
        // Only of those that may run: a stranger neither claims nor is replayed anything.
        let keys = Keys::of(transaction.tenant(), calls, |position| cases[position].is_pending());
        let claims = keys.claim(transaction, C::NAME, calls.len()).await?;
        cases.iter_mut().zip(claims).for_each(|(case, claim)| case.settle(claim));
        execute_pending(transaction, calls, &mut cases).await?;
        Ok((keys, cases))
    }
}

impl Broken {
    /// Nothing can be asked of the database now.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Database(DbError::Unavailable(_)))
    }

    /// The database serves, but stopped this transaction, whose repetition may succeed.
    fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::Database(DbError::Stopped(_) | DbError::Retry(_) | DbError::StaleKeys(_))
        )
    }

    fn to_each(&self) -> OperationError {
        match self {
            Self::Database(error) => say_again(error).into(),
            Self::Panicked => OperationError::Aborted,
        }
    }
}

fn object_of(target: &Target) -> Option<Uuid> {
    match target {
        Target::Object { resource, .. } => resource.id,
        Target::Tenant | Target::Missing { .. } => None,
    }
}

async fn execute_pending<C: Command>(
    transaction: &TenantTx,
    calls: &[Call<C>],
    cases: &mut [Case<C::Output>],
) -> Result<(), DbError> {
    let (pending, running): (Vec<&mut Case<C::Output>>, Vec<&Call<C>>) =
        cases.iter_mut().zip(calls).filter(|(case, _)| case.is_pending()).unzip();
    if running.is_empty() {
        return Ok(());
    }
    let outcomes = C::execute_all(transaction, &running).await?;
    if outcomes.len() != running.len() {
        return Err(DbError::Corrupt(format!(
            "{} gave another number of results than calls",
            C::NAME
        )));
    }
    for (case, outcome) in pending.into_iter().zip(outcomes) {
        case.fate = match outcome {
            Ok(applied) => Fate::Applied(applied),
            Err(Failure::Refused(refusal)) => Fate::Failed(refusal, Vec::new()),
            Err(Failure::RefusedAndKept { refusal, events }) => Fate::Failed(refusal, events),
            Err(Failure::Database(error)) => return Err(error),
        };
    }
    Ok(())
}

/// Serialisation failures and deadlocks repeat whole, and so do the race that two nodes can
/// run for one key, whose loser then finds the winner's answer, and what met a key that
/// another node has just made.
fn is_repeatable(error: &DbError) -> bool {
    matches!(error, DbError::Retry(_) | DbError::StaleKeys(_))
        || error.constraint() == Some("idempotency_keys_pkey")
}

/// The one error of a transaction, said to each of its callers.
fn say_again(error: &DbError) -> DbError {
    match error {
        DbError::Unavailable(cause) => DbError::Unavailable(cause.clone()),
        DbError::Stopped(cause) => DbError::Stopped(cause.clone()),
        DbError::Retry(_) | DbError::StaleKeys(_) => DbError::Stopped(error.to_string()),
        other => DbError::Corrupt(other.to_string()),
    }
}
