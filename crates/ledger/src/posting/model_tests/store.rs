//! The engine over tables in memory: every batch opens a book over what it locks, as
//! the statements would, asks it order after order, and stores what closing writes.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp, civil::Date};
use tenancy::Clock;
use uuid::Uuid;

use super::{
    super::{Book, PostedEntry, Posting, PostingError},
    reference::Refusal,
};
use crate::{
    holds::{Authorisation, Capture, Hold, HoldError, HoldStatus, Release},
    model::AccountState,
};

/// An order with everything decided that the engine's callers decide.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    Post(Posting),
    Authorise(Authorisation),
    Capture(Capture),
    Release(Release),
    Expire(Release),
}

/// What the engine has answered, without the ids that it draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Account, sequence, amount and balance behind each entry.
    Posted(Vec<(u64, i64, i64, i64)>),
    Hold(HoldStatus, i64),
    Captured(Vec<(u64, i64, i64, i64)>, HoldStatus, i64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) accounts: BTreeMap<Uuid, AccountState>,
    pub(super) holds: BTreeMap<Uuid, Hold>,
    /// In the order of writing, with transfer and value date.
    pub(super) entries: Vec<(PostedEntry, Uuid, Date)>,
}

pub(super) fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

pub(super) fn number(id: Uuid) -> u64 {
    u64::try_from(id.as_u128()).unwrap()
}

/// The instant `seconds` after the start of every bank.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

impl Store {
    /// Runs a batch of one family, with a result each, and stores what it wrote.
    pub(super) fn run(&mut self, batch: &[Engine], clock: &Clock) -> Vec<Result<Answer, Refusal>> {
        let mut book = self.open(batch);
        let mut entries = Vec::new();
        let mut results = Vec::new();
        for order in batch {
            results.push(ask(&mut book, order, clock, &mut entries));
        }
        let (accounts, holds) = book.written();
        self.accounts.extend(accounts.into_iter().map(|account| (account.id, account)));
        self.holds.extend(holds.into_iter().map(|hold| (hold.id, hold)));
        self.entries.extend(entries);
        results
    }

    /// What `lock_accounts`, `read_accounts` and `read_holds` would give.
    fn open(&self, batch: &[Engine]) -> Book {
        let (mut locked, mut seen, mut holds) = (Vec::new(), Vec::new(), HashMap::new());
        for order in batch {
            let (hold_id, is_capture) = match order {
                Engine::Post(posting) => {
                    locked.extend(posting.legs.iter().map(|leg| leg.account_id));
                    continue;
                }
                Engine::Authorise(order) => {
                    locked.push(order.account_id);
                    seen.push(order.destination.account_id());
                    continue;
                }
                Engine::Capture(order) => (order.hold_id, true),
                Engine::Release(order) | Engine::Expire(order) => (order.hold_id, false),
            };
            if let Some(hold) = self.holds.get(&hold_id) {
                locked.push(hold.account_id);
                if is_capture {
                    locked.push(hold.to_account_id);
                }
                holds.insert(hold_id, hold.clone());
            }
        }
        let read = |ids: &[Uuid]| -> HashMap<Uuid, AccountState> {
            ids.iter().filter_map(|id| Some((*id, self.accounts.get(id)?.clone()))).collect()
        };
        seen.retain(|id| !locked.contains(id));
        Book::in_memory(read(&locked), read(&seen), holds)
    }

    /// Every stored value, byte after byte.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16_384);
        let mut put = |part: &[u8]| bytes.extend_from_slice(part);
        for account in self.accounts.values() {
            put(account.id.as_bytes());
            put(account.currency.code().as_bytes());
            put(&[account.class as u8, account.status as u8]);
            let minimum = account.minimum_balance.unwrap_or(i64::MIN);
            let AccountState { balance, held, overdraft_limit, entry_count, version, .. } = account;
            for value in [balance, held, overdraft_limit, &minimum, entry_count, version] {
                put(&value.to_be_bytes());
            }
        }
        for hold in self.holds.values() {
            let last = hold.last_transfer_id.unwrap_or_default();
            for id in [hold.id, hold.account_id, hold.to_account_id, hold.created_by, last] {
                put(id.as_bytes());
            }
            put(&[hold.status as u8]);
            for at in [hold.expires_at, hold.created_at, hold.updated_at] {
                put(&at.as_microsecond().to_be_bytes());
            }
            for value in [hold.amount, hold.captured_amount, hold.remaining, hold.version] {
                put(&value.to_be_bytes());
            }
            put(hold.currency.code().as_bytes());
            put(hold.description.as_bytes());
        }
        for (entry, transfer_id, _) in &self.entries {
            put(entry.account_id.as_bytes());
            put(transfer_id.as_bytes());
            for value in [entry.account_sequence, entry.amount, entry.balance_after] {
                put(&value.to_be_bytes());
            }
        }
        bytes
    }
}

/// Asks the book, and says what it says in the reference's words.
fn ask(
    book: &mut Book,
    order: &Engine,
    clock: &Clock,
    entries: &mut Vec<(PostedEntry, Uuid, Date)>,
) -> Result<Answer, Refusal> {
    let mut keep = |posted: Vec<PostedEntry>, transfer_id: Uuid, day: Date| {
        let said = posted.iter().map(|entry| {
            (number(entry.account_id), entry.account_sequence, entry.amount, entry.balance_after)
        });
        let said = said.collect();
        entries.extend(posted.into_iter().map(|entry| (entry, transfer_id, day)));
        said
    };
    match order {
        Engine::Post(posting) => {
            let posted = book.post(posting, clock).map_err(refusal)?;
            assert_eq!(posted.transfer_id, posting.transfer_id);
            Ok(Answer::Posted(keep(posted.entries, posting.transfer_id, posting.value_date)))
        }
        Engine::Authorise(order) => {
            let hold = book.authorise(order).map_err(hold_refusal)?;
            assert_eq!((hold.id, hold.account_id), (order.hold_id, order.account_id));
            Ok(Answer::Hold(hold.status, hold.remaining))
        }
        Engine::Capture(order) => {
            let done = book.capture(order, clock).map_err(hold_refusal)?;
            assert_eq!(done.posted.transfer_id, order.transfer_id);
            let said = keep(done.posted.entries, order.transfer_id, done.posting.value_date);
            Ok(Answer::Captured(said, done.change.after.status, done.change.after.remaining))
        }
        Engine::Release(order) => {
            let done = book.release(*order).map_err(hold_refusal)?;
            Ok(Answer::Hold(done.after.status, done.after.remaining))
        }
        Engine::Expire(order) => {
            let done = book.expire(*order).map_err(hold_refusal)?;
            Ok(Answer::Hold(done.after.status, done.after.remaining))
        }
    }
}

fn refusal(error: PostingError) -> Refusal {
    match error {
        PostingError::InvalidAmount => Refusal::InvalidAmount,
        PostingError::AmountTooLarge => Refusal::AmountTooLarge,
        PostingError::Unbalanced => Refusal::Unbalanced,
        PostingError::SameAccount { leg } => Refusal::SameAccount(leg),
        PostingError::UnknownAccount { leg } => Refusal::UnknownAccount(leg),
        PostingError::CurrencyMismatch { leg } => Refusal::CurrencyMismatch(leg),
        PostingError::AccountClosed { leg } => Refusal::AccountClosed(leg),
        PostingError::AccountFrozen { leg } => Refusal::AccountFrozen(leg),
        PostingError::InsufficientFunds { leg } => Refusal::InsufficientFunds(leg),
        PostingError::BalanceOutOfRange { leg } => Refusal::BalanceOutOfRange(leg),
    }
}

fn hold_refusal(error: HoldError) -> Refusal {
    match error {
        HoldError::InvalidAmount => Refusal::InvalidAmount,
        HoldError::AmountTooLarge => Refusal::AmountTooLarge,
        HoldError::UnknownHold => Refusal::UnknownHold,
        HoldError::Ended(HoldStatus::Captured) => Refusal::HoldCaptured,
        HoldError::Ended(HoldStatus::Released) => Refusal::HoldReleased,
        HoldError::Ended(status) => panic!("a hold that is {status} has not ended so"),
        HoldError::Expired => Refusal::HoldExpired,
        HoldError::NotDue => Refusal::HoldNotDue,
        HoldError::ExceedsHold => Refusal::ExceedsHold,
        HoldError::NotAdmitted => panic!("no question was asked"),
        HoldError::Posting(error) => refusal(error),
    }
}
