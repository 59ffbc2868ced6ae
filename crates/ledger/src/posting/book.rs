//! One batch over the locked accounts: opened (locked and read), asked order after
//! order, closed (written). Everything that writes balances, entries or holds goes
//! through here.

use std::collections::{BTreeSet, HashMap, HashSet};

use audit::{AuditEvent, store::Batch};
use jiff::Timestamp;
use tenancy::{Clock, DbError, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Posted, Posting, PostingError, decide, holding, rows};
use crate::{
    holds::{Authorisation, Capture, Captured, Changed, Destination, Hold, HoldError, Release},
    model::AccountState,
};

const LOCK: &str = tenancy::sql!("ledger/posting.sql", "lock_accounts");
const READ: &str = tenancy::sql!("ledger/posting.sql", "read_accounts");
const LOCK_OF_HOLDS: &str = tenancy::sql!("ledger/holds.sql", "lock_accounts");
const READ_OF_HOLDS: &str = tenancy::sql!("ledger/holds.sql", "read_accounts");
const READ_HOLDS: &str = tenancy::sql!("ledger/holds.sql", "read_holds");
const NAME_RECORD: &str = tenancy::sql!("ledger/posting.sql", "name_record");
const INSERT_TRANSFERS: &str = tenancy::sql!("ledger/posting.sql", "insert_transfers");
const INSERT_TRANSACTIONS: &str = tenancy::sql!("ledger/posting.sql", "insert_transactions");
const UPDATE_ACCOUNTS: &str = tenancy::sql!("ledger/posting.sql", "update_accounts");
const INSERT_HOLDS: &str = tenancy::sql!("ledger/holds.sql", "insert_holds");
const UPDATE_HOLDS: &str = tenancy::sql!("ledger/holds.sql", "update_holds");

/// What a batch is about.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// To be locked.
    pub(crate) accounts: BTreeSet<Uuid>,
    /// Only to be read: what never changes of them is what matters.
    pub(crate) looked_at: BTreeSet<Uuid>,
    /// Holds whose both accounts are to be locked.
    pub(crate) captured: Vec<Uuid>,
    /// Holds whose own account is to be locked.
    pub(crate) released: Vec<Uuid>,
}

/// The locked accounts of a batch, their holds, and what is to be written.
pub(crate) struct Book {
    accounts: HashMap<Uuid, AccountState>,
    /// Read without a lock: never written.
    seen: HashMap<Uuid, AccountState>,
    holds: HashMap<Uuid, Hold>,
    journal: rows::Journal,
    authorised: BTreeSet<Uuid>,
    changed: BTreeSet<Uuid>,
}

/// What closing a book has found out.
#[derive(Debug, Default)]
pub(crate) struct Written {
    changed_at: HashMap<Uuid, Timestamp>,
    /// The records that were written ahead, in their order.
    pub(crate) records: Vec<AuditEvent>,
}

/// What the log tells of the movements of a batch. It goes in ahead of them, in the same
/// flush: the database refuses entries that the log does not know of.
#[derive(Debug)]
pub(crate) enum Records {
    /// There are no movements.
    None,
    /// One for each movement, found by the movement's id.
    Each(Vec<AuditEvent>),
    /// One for all of them, with a digest of each.
    Whole(Box<AuditEvent>),
}

impl Records {
    /// The records, and the id of the one that stands for the whole batch.
    fn into_events(self) -> (Vec<AuditEvent>, Option<Uuid>) {
        match self {
            Self::None => (Vec::new(), None),
            Self::Each(events) => (events, None),
            Self::Whole(event) => {
                let id = event.event_id();
                (vec![*event], Some(id))
            }
        }
    }
}

impl Written {
    /// Sets when a changed hold says it changed: the database's word, as every later
    /// read will say it.
    pub(crate) fn date(&self, hold: &mut Hold) {
        if let Some(&at) = self.changed_at.get(&hold.id) {
            hold.updated_at = at;
        }
    }
}

impl Book {
    /// Locks and reads, in one round trip.
    pub(crate) async fn open(transaction: &TenantTx, wanted: &Wanted) -> Result<Self, DbError> {
        Self::ask(transaction, wanted, None).await.map(|(book, _)| book)
    }

    /// [`Book::open`] with a question asked in the same round trip; it sees what was
    /// committed when the locks were had.
    pub(crate) async fn open_asking(
        transaction: &TenantTx,
        wanted: &Wanted,
        question: Query<'_>,
    ) -> Result<(Self, Vec<Row>), DbError> {
        Self::ask(transaction, wanted, Some(question)).await
    }

    async fn ask(
        transaction: &TenantTx,
        wanted: &Wanted,
        question: Option<Query<'_>>,
    ) -> Result<(Self, Vec<Row>), DbError> {
        let tenant = transaction.tenant();
        let locked: Vec<Uuid> = wanted.accounts.iter().copied().collect();
        let read: Vec<Uuid> = wanted.accounts.union(&wanted.looked_at).copied().collect();
        let holds: Vec<Uuid> = wanted.captured.iter().chain(&wanted.released).copied().collect();
        let of_accounts: [[&(dyn ToSql + Sync); 2]; 2] = [[&tenant, &locked], [&tenant, &read]];
        let lock_of_holds: [&(dyn ToSql + Sync); 4] =
            [&tenant, &locked, &wanted.captured, &wanted.released];
        let read_of_holds: [&(dyn ToSql + Sync); 3] = [&tenant, &read, &holds];
        let read_holds: [&(dyn ToSql + Sync); 2] = [&tenant, &holds];
        let mut queries = if holds.is_empty() {
            vec![Query::new(LOCK, &of_accounts[0]), Query::new(READ, &of_accounts[1])]
        } else {
            vec![
                Query::new(LOCK_OF_HOLDS, &lock_of_holds),
                Query::new(READ_OF_HOLDS, &read_of_holds),
                Query::new(READ_HOLDS, &read_holds),
            ]
        };
        let own = queries.len();
        queries.extend(question);
        let mut answers = transaction.pipeline(&queries).await?;
        let answer = answers.drain(own.min(answers.len())..).next().unwrap_or_default();
        let rows = |at: usize| answers.get(at).map_or(&[][..], Vec::as_slice);
        Ok((Self::of(rows(0), rows(1), rows(2))?, answer))
    }

    /// Only what the locking statement gave back is locked: an account that came to
    /// light later (of a hold that was committed in between) is only seen.
    fn of(locked: &[Row], read: &[Row], holds: &[Row]) -> Result<Self, DbError> {
        let locked: HashSet<Uuid> =
            locked.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        let mut accounts = HashMap::with_capacity(locked.len());
        let mut seen = HashMap::new();
        for row in read {
            let account = rows::account(row)?;
            let place = if locked.contains(&account.id) { &mut accounts } else { &mut seen };
            place.insert(account.id, account);
        }
        let holds = holds
            .iter()
            .map(|row| Hold::from_row(row).map(|hold| (hold.id, hold)))
            // A hold without its lock is not to be touched.
            .filter(|hold| {
                hold.as_ref().map_or(true, |(_, hold)| accounts.contains_key(&hold.account_id))
            })
            .collect::<Result<_, DbError>>()?;
        Ok(Self {
            accounts,
            seen,
            holds,
            journal: rows::Journal::default(),
            authorised: BTreeSet::new(),
            changed: BTreeSet::new(),
        })
    }

    /// Decides a posting.
    pub(crate) fn post(
        &mut self,
        posting: &Posting,
        clock: &Clock,
    ) -> Result<Posted, PostingError> {
        let posted = decide::apply(&mut self.accounts, posting, || clock.new_id())?;
        self.journal.record(posting, &posted, None);
        Ok(posted)
    }

    /// Whether a posting could be made but for the balances; nothing changes.
    pub(crate) fn check(&self, posting: &Posting) -> Result<(), PostingError> {
        decide::check(&self.accounts, posting)
    }

    /// Decides an authorisation.
    pub(crate) fn authorise(&mut self, order: &Authorisation) -> Result<Hold, HoldError> {
        self.see_destination(order);
        let hold = holding::authorise(&mut self.accounts, &self.seen, &mut self.holds, order)?;
        self.authorised.insert(hold.id);
        Ok(hold)
    }

    /// What would refuse an authorisation, but for the funds; nothing is kept back.
    pub(crate) fn check_authorisation(&mut self, order: &Authorisation) -> Result<(), HoldError> {
        self.see_destination(order);
        holding::check_authorisation(&self.accounts, &self.seen, order)
    }

    /// An account that is yet to be made counts as one that is there, and empty.
    fn see_destination(&mut self, order: &Authorisation) {
        if let Destination::Unmade { id, currency, .. } = order.destination {
            self.seen.entry(id).or_insert_with(|| AccountState::new_internal(id, currency));
        }
    }

    /// Corrects whom a hold of this batch is promised to: its account got another id.
    pub(crate) fn promise_to(&mut self, hold_id: Uuid, to_account_id: Uuid) {
        if let Some(hold) = self.holds.get_mut(&hold_id) {
            hold.to_account_id = to_account_id;
        }
    }

    /// Decides a capture.
    pub(crate) fn capture(
        &mut self,
        order: &Capture,
        clock: &Clock,
    ) -> Result<Captured, HoldError> {
        let done = holding::capture(&mut self.accounts, &mut self.holds, order, || clock.new_id())?;
        self.journal.record(&done.posting, &done.posted, Some(order.hold_id));
        self.changed.insert(order.hold_id);
        Ok(done)
    }

    /// What of the hold itself would refuse a capture; nothing changes.
    pub(crate) fn check_capture(&self, order: &Capture) -> Result<(), HoldError> {
        holding::check_capture(&self.holds, order).map(drop)
    }

    /// A hold of this batch, as it is by now; only one that is locked.
    pub(crate) fn hold(&self, hold_id: Uuid) -> Option<&Hold> {
        self.holds.get(&hold_id)
    }

    /// Decides a release.
    pub(crate) fn release(&mut self, order: Release) -> Result<Changed, HoldError> {
        let who = (order.hold_id, order.at);
        let done = holding::release(&mut self.accounts, &mut self.holds, who)?;
        self.changed.insert(order.hold_id);
        Ok(done)
    }

    /// Decides whether the clock has ended a hold.
    pub(crate) fn expire(&mut self, order: Release) -> Result<Changed, HoldError> {
        let who = (order.hold_id, order.at);
        let done = holding::expire(&mut self.accounts, &mut self.holds, who)?;
        self.changed.insert(order.hold_id);
        Ok(done)
    }

    /// The accounts that have new entries or other holds, some of them repeatedly.
    fn touched(&self) -> impl Iterator<Item = Uuid> {
        let held = self.authorised.iter().chain(&self.changed).filter_map(|id| self.holds.get(id));
        self.journal.accounts().chain(held.map(|hold| hold.account_id))
    }

    /// Writes what was decided, its records first, in one round trip; none where nothing was.
    pub(crate) async fn close(
        self,
        transaction: &TenantTx,
        records: Records,
    ) -> Result<Written, DbError> {
        let accounts = rows::Changed::of(self.touched(), &self.accounts);
        // One that was authorised in this batch is inserted as it is by now.
        let changed: Vec<Uuid> = self.changed.difference(&self.authorised).copied().collect();
        let columns = |ids: &mut dyn Iterator<Item = &Uuid>| -> rows::Holds {
            ids.filter_map(|id| self.holds.get(id)).collect()
        };
        let new_holds = columns(&mut self.authorised.iter());
        let changed_holds = columns(&mut changed.iter());
        let tenant = transaction.tenant();
        let (events, whole) = records.into_events();
        let batch = Batch::seal(tenant, events)?;
        if accounts.ids.is_empty() && batch.is_empty() {
            return Ok(Written::default());
        }
        let record_columns = batch.columns()?;
        let record_parameters = record_columns.parameters();
        let whole = whole.map(|id| id.to_string());
        let named: [&(dyn ToSql + Sync); 1] = [&whole];
        let transfers = self.journal.transfer_parameters(&tenant);
        let entries = self.journal.entry_parameters(&tenant);
        let balances = accounts.parameters(&tenant);
        let inserted = new_holds.insert_parameters(&tenant);
        let updated = changed_holds.update_parameters(&tenant);
        let mut queries = Vec::with_capacity(7);
        if !batch.is_empty() {
            queries.push(Query::new(Batch::SQL, &record_parameters));
        }
        if whole.is_some() {
            queries.push(Query::new(NAME_RECORD, &named));
        }
        if !self.journal.is_empty() {
            queries.push(Query::new(INSERT_TRANSFERS, &transfers));
            queries.push(Query::new(INSERT_TRANSACTIONS, &entries));
        }
        if !accounts.ids.is_empty() {
            queries.push(Query::new(UPDATE_ACCOUNTS, &balances));
        }
        if !new_holds.is_empty() {
            queries.push(Query::new(INSERT_HOLDS, &inserted));
        }
        if !changed_holds.is_empty() {
            queries.push(Query::new(UPDATE_HOLDS, &updated));
        }
        let answers = transaction.pipeline(&queries).await?;
        let dated = answers.last().filter(|_| !changed_holds.is_empty());
        let changed_at = dated
            .into_iter()
            .flatten()
            .map(|row| Ok((row.try_get("id")?, row.try_get("updated_at")?)))
            .collect::<Result<_, DbError>>()?;
        Ok(Written { changed_at, records: batch.into_recorded() })
    }
}

/// A book over accounts that a model keeps, in the place of a database.
#[cfg(test)]
impl Book {
    pub(super) fn in_memory(
        accounts: HashMap<Uuid, AccountState>,
        seen: HashMap<Uuid, AccountState>,
        holds: HashMap<Uuid, Hold>,
    ) -> Self {
        Self {
            accounts,
            seen,
            holds,
            journal: rows::Journal::default(),
            authorised: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// What closing would write.
    pub(super) fn written(&self) -> (Vec<AccountState>, Vec<Hold>) {
        let touched: BTreeSet<Uuid> = self.touched().collect();
        let accounts = touched.iter().filter_map(|id| self.accounts.get(id)).cloned();
        let holds = self.authorised.union(&self.changed).filter_map(|id| self.holds.get(id));
        (accounts.collect(), holds.cloned().collect())
    }
}
