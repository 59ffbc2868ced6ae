//! Which transfers may be made at once, which wait for a second person, and which have to be
//! proven first: above the tenant's limit whoever orders one in a session has to have proven
//! a second factor for this amount between these accounts (RTS 2018/389, article 5).
//!
//! The question goes along with the locks of a batch. A proof is used up by what was made or
//! ordered, and by nothing that was refused. Refuses to know how somebody proves anything:
//! what is there was written by identity.

use std::collections::HashMap;

use ledger::Posting;
use operation::{Refusal, RefusalKind};
use tenancy::{ActorKind, DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::ceiling::Ceiling;

const ADMISSION: &str = tenancy::sql!("banking/approvals.sql", "admission");
const CONSUME: &str = tenancy::sql!("banking/approvals.sql", "consume_authorisations");

/// What is asked of a batch, as the arrays of one statement.
#[derive(Default)]
pub(crate) struct Orders {
    /// Of those that may have to be proven.
    greatest: i64,
    sessions: Vec<Option<Uuid>>,
    users: Vec<Uuid>,
    debited: Vec<Uuid>,
    credited: Vec<Uuid>,
    amounts: Vec<i64>,
    currencies: Vec<&'static str>,
}

impl Orders {
    pub(crate) fn push(&mut self, context: &OpContext, posting: &Posting) -> Result<(), DbError> {
        let [debit, credit] = posting.legs.as_slice() else {
            return Err(DbError::Corrupt("a transfer without two legs".to_owned()));
        };
        let session = session_to_prove_in(context);
        if session.is_some() {
            self.greatest = self.greatest.max(posting.amount);
        }
        self.sessions.push(session);
        self.users.push(context.actor.id);
        self.debited.push(debit.account_id);
        self.credited.push(credit.account_id);
        self.amounts.push(posting.amount);
        self.currencies.push(posting.currency.code());
        Ok(())
    }

    /// The parameters of [`Orders::question`].
    pub(crate) fn parameters<'a>(&'a self, tenant: &'a Uuid) -> [&'a (dyn ToSql + Sync); 8] {
        [
            tenant,
            &self.greatest,
            &self.sessions,
            &self.users,
            &self.debited,
            &self.credited,
            &self.amounts,
            &self.currencies,
        ]
    }

    /// What goes along with the locks.
    pub(crate) fn question<'a>(parameters: &'a [&'a (dyn ToSql + Sync); 8]) -> Query<'a> {
        Query::new(ADMISSION, parameters)
    }

    /// The answer, order by order.
    pub(crate) fn admission(&self, answer: &[Row]) -> Result<Admission, DbError> {
        let ceiling = Ceiling::of(answer)?;
        let required = answer.first().map_or(Ok(1), |row| row.try_get("approvals"))?;
        let limit: Option<i64> =
            answer.first().map(|row| row.try_get("step_up_limit")).transpose()?.flatten();
        let mut proofs = HashMap::new();
        for row in answer {
            let position: Option<i64> = row.try_get("position")?;
            if let Some(position) = position.and_then(|position| usize::try_from(position).ok()) {
                proofs.insert(position, row.try_get("authorisation_id")?);
            }
        }
        let orders = self.sessions.iter().zip(&self.amounts).enumerate();
        let verdicts = orders.map(|(position, (session, amount))| {
            let due = session.is_some() && limit.is_some_and(|limit| *amount > limit);
            match (due, proofs.get(&position)) {
                (true, None) => Verdict::Unproven,
                (_, proof) => {
                    let proof = proof.copied().filter(|_| due);
                    let waits = ceiling.is_exceeded_by(*amount);
                    Verdict::Admitted { proof, waits }
                }
            }
        });
        Ok(Admission { verdicts: verdicts.collect(), required })
    }
}

/// Whoever comes in a session is a person and proves what is above the limit. A machine has
/// nothing to prove it with: what it may move alone is bounded by the ceiling, and who made
/// its key has proven a factor (article 17). Without a session nobody has come from outside.
pub(crate) fn session_to_prove_in(context: &OpContext) -> Option<Uuid> {
    context.session.filter(|_| context.actor.kind == ActorKind::User).map(|session| session.0)
}

/// What may become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be made, or has to wait for a second person.
    Admitted {
        /// The proof that it uses up.
        proof: Option<Uuid>,
        /// Whether it waits.
        waits: bool,
    },
    /// It has to be proven first.
    Unproven,
}

/// What may become of the orders of a batch.
pub(crate) struct Admission {
    verdicts: Vec<Verdict>,
    required: i16,
}

impl Admission {
    /// Which may be made at once.
    pub(crate) fn at_once(&self) -> Vec<bool> {
        let at_once = |verdict: &Verdict| matches!(verdict, Verdict::Admitted { waits: false, .. });
        self.verdicts.iter().map(at_once).collect()
    }

    /// How many others have to agree to what waits.
    pub(crate) fn required(&self) -> i16 {
        self.required
    }

    pub(crate) fn of(&self, position: usize) -> Verdict {
        self.verdicts.get(position).copied().unwrap_or(Verdict::Unproven)
    }

    pub(crate) fn waits(&self, position: usize) -> bool {
        matches!(self.of(position), Verdict::Admitted { waits: true, .. })
    }
}

/// The proofs that a batch uses up, each with what it was used for.
#[derive(Default)]
pub(crate) struct Used {
    proofs: Vec<Uuid>,
    transfers: Vec<Uuid>,
}

impl Used {
    pub(crate) fn push(&mut self, verdict: Verdict, transfer: Uuid) {
        if let Verdict::Admitted { proof: Some(proof), .. } = verdict {
            self.proofs.push(proof);
            self.transfers.push(transfer);
        }
    }

    /// Uses them up; one round trip, and none where there are none. All of them are there
    /// while the accounts are locked; a batch that finds one gone comes to nothing.
    pub(crate) async fn consume(&self, transaction: &TenantTx) -> Result<(), DbError> {
        if self.proofs.is_empty() {
            return Ok(());
        }
        let tenant = transaction.tenant();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &self.proofs, &self.transfers];
        let consumed = transaction.query(CONSUME, &parameters).await?;
        if consumed.len() == self.proofs.len() {
            return Ok(());
        }
        Err(DbError::Stopped("a proof of a payment was used up meanwhile".to_owned()))
    }
}

/// The refusal of what was not proven.
pub(crate) fn unproven() -> Refusal {
    let detail = "A transfer of this amount is proven by a second factor first: ask for it with this payment \
        (POST /v1/auth/step-up/challenge), prove it (POST /v1/auth/step-up), then send this again. \
        Somebody without a factor enrols one before";
    Refusal::new(RefusalKind::Denied, "step_up_required", detail)
}
