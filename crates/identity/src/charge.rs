//! The charge of an account: committed before its password is compared, taken back
//! where it was right.
//!
//! Where a right password could not be recorded, because the database failed in between,
//! the charge is taken back as soon as the database can be asked: an outage is nobody's
//! failed sign-in. Nothing else is ever taken back. What was wrong, or not compared at
//! all, stays charged however it ended, so that an outage gives nobody a guess; and a
//! caller hears the same 503 whether the password was right or not. Refuses to know what
//! the password was for.

use std::time::Duration;

use hotstate::gate::{Entered, Verdict};
use jiff::Timestamp;
use tenancy::{DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::Identity;

const CHARGE: &str = tenancy::sql!("identity/login.sql", "charge");
const RELAX_COMMIT: &str = tenancy::sql!("identity/login.sql", "relax_commit");
const TAKE_BACK: &str = tenancy::sql!("identity/login.sql", "take_back");

/// Pauses between attempts to take a charge back double from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(20);
/// Attempts, over an hour and a half in all: longer than a lock lasts.
const ATTEMPTS: u32 = 280;

/// A place at an account's gate.
pub(crate) type AtGate = Entered<(Uuid, String)>;

/// What `handle_failed_login` said.
#[derive(Clone, Copy, Default)]
pub(crate) struct Charged {
    pub(crate) may_evaluate: bool,
    pub(crate) locks: bool,
    pub(crate) failures: i32,
}

/// An account whose password was right, as it was when it was compared.
pub(crate) struct RightPassword {
    /// `username_key`.
    pub(crate) name: String,
    /// Which password that was.
    pub(crate) changed_at: Option<Timestamp>,
}

impl Identity {
    /// Charges until there is a charge or nothing in flight can give one back.
    pub(crate) async fn charge_account(
        &self,
        context: &OpContext,
        name: &str,
        entered: &mut AtGate,
    ) -> Result<Charged, DbError> {
        loop {
            let parameters: [&(dyn ToSql + Sync); 1] = [&name];
            let queries = [Query::new(RELAX_COMMIT, &[]), Query::new(CHARGE, &parameters)];
            let (transaction, rows) =
                self.inner.operations.database().begin_with(context, &queries).await?;
            transaction.commit().await?;
            // No row: nobody has that name, and there is nothing to lock.
            let Some(row) = rows.last().and_then(|rows| rows.first()) else {
                return Ok(Charged::default());
            };
            let charged = Charged {
                may_evaluate: row.try_get("may_evaluate")?,
                locks: row.try_get("locks")?,
                failures: row.try_get("failures")?,
            };
            if charged.may_evaluate || entered.exhausted().await == Verdict::Exhausted {
                return Ok(charged);
            }
        }
    }

    /// Takes the account's charges back, unless it has another password by now.
    pub(crate) async fn take_back(
        &self,
        context: &OpContext,
        right: &RightPassword,
    ) -> Result<(), DbError> {
        let tenant = context.tenant_id();
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&tenant, &right.name, &right.changed_at, &ip, &agent];
        let database = self.inner.operations.database();
        let (transaction, _) =
            database.begin_with(context, &[Query::new(TAKE_BACK, &parameters)]).await?;
        transaction.commit().await
    }

    /// Takes the charges back in a task of its own, as soon as the database can be asked.
    /// A process that ends before leaves one failure too many, as a crash does.
    pub(crate) fn take_back_later(
        &self,
        context: &OpContext,
        right: RightPassword,
        entered: AtGate,
    ) {
        let (identity, context) = (self.clone(), context.clone());
        tokio::spawn(async move {
            let (mut entered, mut pause) = (Some(entered), PAUSE_FIRST);
            for _ in 0..ATTEMPTS {
                match identity.take_back(&context, &right).await {
                    Ok(()) => return entered.into_iter().for_each(Entered::succeeded),
                    Err(error) => tracing::debug!(%error, "a charge could not be taken back yet"),
                }
                // Who waits at the gate waits for attempts in flight, not for a database.
                entered = None;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
            tracing::warn!("a right password stays charged as a failed sign-in");
        });
    }
}
