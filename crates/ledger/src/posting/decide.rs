//! The decision: one posting against the locked accounts, in memory. Pure, so that
//! a model can be held against it and a test can run it a million times.

use std::collections::HashMap;

use money::{AMOUNT_MAX, Currency};
use uuid::Uuid;

use super::{Leg, Posted, PostedEntry, Posting, PostingError};
use crate::model::{AccountClass, AccountState, AccountStatus, TransferKind};

/// Applies a posting to the accounts, or says why not and leaves them as they were.
/// Failures are looked for in the order of [`PostingError`]'s variants, each over
/// the legs from first to last.
pub(super) fn apply(
    accounts: &mut HashMap<Uuid, AccountState>,
    posting: &Posting,
    new_id: impl FnMut() -> Uuid,
) -> Result<Posted, PostingError> {
    check(accounts, posting)?;
    check_balances(accounts, posting)?;
    Ok(enter(accounts, posting, new_id))
}

/// Everything that [`apply`] looks for but the balances.
pub(super) fn check(
    accounts: &HashMap<Uuid, AccountState>,
    posting: &Posting,
) -> Result<(), PostingError> {
    // The bank's own accounts are nobody's to name in a transfer order.
    let is_nameable = |account: &AccountState| {
        posting.kind != TransferKind::Transfer || account.class == AccountClass::Customer
    };
    check_amounts(posting.amount, &posting.legs)?;
    let find = |_: usize, id: &Uuid| accounts.get(id).filter(|account| is_nameable(account));
    check_accounts(find, &posting.legs, posting.currency)
}

/// [`apply`] for a movement that was promised: its accounts were checked when they
/// were named, and one of them may be the bank's own.
pub(super) fn apply_promised(
    accounts: &mut HashMap<Uuid, AccountState>,
    posting: &Posting,
    new_id: impl FnMut() -> Uuid,
) -> Result<Posted, PostingError> {
    check_amounts(posting.amount, &posting.legs)?;
    check_accounts(|_, id| accounts.get(id), &posting.legs, posting.currency)?;
    check_balances(accounts, posting)?;
    Ok(enter(accounts, posting, new_id))
}

/// Writes the entries of a posting that has passed every check.
fn enter(
    accounts: &mut HashMap<Uuid, AccountState>,
    posting: &Posting,
    mut new_id: impl FnMut() -> Uuid,
) -> Posted {
    let entries = posting
        .legs
        .iter()
        .filter_map(|leg| {
            // Present: checked before.
            let account = accounts.get_mut(&leg.account_id)?;
            account.balance += leg.amount;
            account.entry_count += 1;
            Some(PostedEntry {
                transaction_id: new_id(),
                account_id: leg.account_id,
                account_sequence: account.entry_count,
                amount: leg.amount,
                balance_after: account.balance,
            })
        })
        .collect();
    Posted { transfer_id: posting.transfer_id, entries }
}

/// What needs no account.
pub(super) fn check_amounts(amount: i64, legs: &[Leg]) -> Result<(), PostingError> {
    let amounts = || legs.iter().map(|leg| leg.amount);
    if amount <= 0 || amounts().any(|amount| amount == 0) {
        return Err(PostingError::InvalidAmount);
    }
    if amount > AMOUNT_MAX {
        return Err(PostingError::AmountTooLarge);
    }
    let sum: i128 = amounts().map(i128::from).sum();
    let credits: i128 = amounts().filter(|amount| *amount > 0).map(i128::from).sum();
    if sum != 0 || credits != i128::from(amount) {
        return Err(PostingError::Unbalanced);
    }
    legs.iter().enumerate().try_for_each(|(leg, side)| {
        let opposite = legs[..leg].iter().any(|earlier| {
            earlier.account_id == side.account_id && (earlier.amount > 0) != (side.amount > 0)
        });
        if opposite { Err(PostingError::SameAccount { leg }) } else { Ok(()) }
    })
}

/// Existence, currency, status: each over all legs before the next. `find` gives the
/// account of a leg where it may be used for it.
pub(super) fn check_accounts<'a>(
    find: impl Fn(usize, &Uuid) -> Option<&'a AccountState>,
    legs: &[Leg],
    currency: Currency,
) -> Result<(), PostingError> {
    let found: Vec<&AccountState> = (legs.iter().enumerate())
        .map(|(leg, side)| find(leg, &side.account_id).ok_or(PostingError::UnknownAccount { leg }))
        .collect::<Result<_, _>>()?;
    let first =
        |wrong: &dyn Fn(&AccountState) -> bool| found.iter().position(|account| wrong(account));
    if let Some(leg) = first(&|account| account.currency != currency) {
        return Err(PostingError::CurrencyMismatch { leg });
    }
    if let Some(leg) = first(&|account| account.status == AccountStatus::Closed) {
        return Err(PostingError::AccountClosed { leg });
    }
    if let Some(leg) = first(&|account| account.status == AccountStatus::Frozen) {
        return Err(PostingError::AccountFrozen { leg });
    }
    Ok(())
}

/// Floors and ranges, on what all legs together do to each account.
fn check_balances(
    accounts: &HashMap<Uuid, AccountState>,
    posting: &Posting,
) -> Result<(), PostingError> {
    let change = |account: Uuid| -> i64 {
        let of_account = |leg: &&Leg| leg.account_id == account;
        // No overflow: the legs' credits and debits sum to at most AMOUNT_MAX each.
        posting.legs.iter().filter(of_account).map(|leg| leg.amount).sum()
    };
    let beyond = |wrong: &dyn Fn(&AccountState, i64) -> bool| {
        posting.legs.iter().position(|leg| {
            let account = accounts.get(&leg.account_id);
            account.is_some_and(|account| wrong(account, change(leg.account_id)))
        })
    };
    let short = |account: &AccountState, change: i64| {
        change < 0
            && account.class == AccountClass::Customer
            && !posting.waive_limits
            && account.balance + change - account.held < account.floor()
    };
    if let Some(leg) = beyond(&short) {
        return Err(PostingError::InsufficientFunds { leg });
    }
    let out_of_range =
        |account: &AccountState, change: i64| (account.balance + change).abs() > AMOUNT_MAX;
    match beyond(&out_of_range) {
        Some(leg) => Err(PostingError::BalanceOutOfRange { leg }),
        None => Ok(()),
    }
}
