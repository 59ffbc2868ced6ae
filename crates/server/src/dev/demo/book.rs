//! Owns the bank's own runs of a demo: the standing orders, debits, card purchases,
//! fees and interest of one day in one operation, with a digest of each in its audit
//! record, so that every movement stays provable.

use std::collections::HashMap;
use std::sync::Arc;

use access::Permission;
use audit::EventType;
use banking::{TransactionType, TransferKind};
use jiff::Timestamp;
use ledger::{InternalAccount, Posting, posting::post_whole};
use operation::{Applied, Command, Failure, Refusal, command::Outcome, event};
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::memory::{remember, step_mark};
use super::plan::{Movement, Side};
use crate::dev::digest::digests_of;

/// Books a run of movements, all or none.
pub(super) struct Book {
    /// The first of its steps.
    pub(super) first_step: usize,
    /// What moves, and when.
    pub(super) movements: Vec<(Timestamp, Movement)>,
    /// The ids of the plan's accounts.
    pub(super) accounts: Arc<[Uuid]>,
}

/// The bank's own accounts that a run needs.
type Internals = HashMap<(InternalAccount, &'static str), Uuid>;

impl Command for Book {
    const NAME: &'static str = "development.book_day";
    const RESOURCE: &'static str = "transfer";
    type Output = usize;

    fn permission(&self) -> Permission {
        Permission::TransactionCreate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<usize> {
        let internals = self.internals(transaction, context).await?;
        let mut batch = Vec::with_capacity(self.movements.len());
        for (posted_at, movement) in &self.movements {
            batch.push(self.posting(context, &internals, *posted_at, movement)?);
        }
        let record = event(context, EventType::LedgerPosting, Self::NAME, Self::RESOURCE);
        let record = record.details(digests_of(&batch));
        let posted = post_whole(transaction, &context.clock, &batch, |_| record);
        let (results, record) = posted.await?;
        for (posting, result) in batch.iter().zip(results) {
            result.map_err(|error| {
                let detail =
                    format!("{} of {}: {error}", posting.description, posting.booking_date);
                Refusal::rule("demo_refused", "history", detail)
            })?;
        }
        let mark = batch.first().map_or_else(|| context.clock.new_id(), |first| first.transfer_id);
        remember(transaction, &vec![step_mark(self.first_step, mark)]).await?;
        Ok(Applied { output: batch.len(), status: 200, events: vec![record] })
    }
}

impl Book {
    async fn internals(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Internals, Failure> {
        let mut internals = Internals::new();
        let sides = self.movements.iter().flat_map(|(_, movement)| {
            [(movement.from, movement.currency), (movement.to, movement.currency)]
        });
        for (side, currency) in sides {
            let Side::Bank(kind) = side else { continue };
            if internals.contains_key(&(kind, currency)) {
                continue;
            }
            let parsed = currency
                .parse()
                .map_err(|_| DbError::Corrupt(format!("{currency} is no currency")))?;
            let id = ledger::accounts::internal(transaction, &context.clock, kind, parsed).await?;
            internals.insert((kind, currency), id);
        }
        Ok(internals)
    }

    fn posting(
        &self,
        context: &OpContext,
        internals: &Internals,
        posted_at: Timestamp,
        movement: &Movement,
    ) -> Result<Posting, Failure> {
        let id = |side: Side| match side {
            Side::Account(account) => self.accounts[account],
            Side::Bank(kind) => {
                internals.get(&(kind, movement.currency)).copied().unwrap_or_default()
            }
        };
        let currency = movement
            .currency
            .parse()
            .map_err(|_| DbError::Corrupt(format!("{} is no currency", movement.currency)))?;
        let (out, into) = entries(movement.kind);
        Ok(Posting {
            transfer_id: context.clock.new_id(),
            kind: movement.kind,
            amount: movement.amount,
            currency,
            legs: Posting::two_legs(
                (id(movement.from), out),
                (id(movement.to), into),
                movement.amount,
            ),
            description: movement.text.clone(),
            reference: movement.reference.clone(),
            value_date: movement.value_date,
            booking_date: banking::movements::business_date(&OpContext {
                clock: tenancy::Clock::manual(posted_at),
                ..context.clone()
            })?,
            posted_at,
            created_by: context.actor.id,
            reverses_transfer_id: None,
            waive_limits: false,
        })
    }
}

/// What the two entries of a movement are to their accounts.
fn entries(kind: TransferKind) -> (TransactionType, TransactionType) {
    match kind {
        TransferKind::Deposit => (TransactionType::Deposit, TransactionType::Deposit),
        TransferKind::Withdrawal => (TransactionType::Withdrawal, TransactionType::Withdrawal),
        TransferKind::Fee => (TransactionType::Fee, TransactionType::Fee),
        TransferKind::Interest => (TransactionType::Interest, TransactionType::Interest),
        TransferKind::Reversal => (TransactionType::Reversal, TransactionType::Reversal),
        TransferKind::Journal => (TransactionType::Journal, TransactionType::Journal),
        TransferKind::Import => (TransactionType::TransferOut, TransactionType::Deposit),
        TransferKind::Transfer => (TransactionType::TransferOut, TransactionType::TransferIn),
    }
}
