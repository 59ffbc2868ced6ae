//! The decision: one posting against the locked accounts, in memory. Pure, so that
//! a model can be held against it and a test can run it a million times.

use std::collections::HashMap;

use money::AMOUNT_MAX;
use uuid::Uuid;

use super::{Leg, Posted, PostedEntry, Posting, PostingError};
use crate::model::{AccountClass, AccountState, AccountStatus, TransferKind};

/// Applies a posting to the accounts, or says why not and leaves them as they were.
/// Failures are looked for in the order of [`PostingError`]'s variants, each over
/// the legs from first to last.
pub(super) fn apply(
    accounts: &mut HashMap<Uuid, AccountState>,
    posting: &Posting,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Posted, PostingError> {
    check_amounts(posting)?;
    check_accounts(accounts, posting)?;
    check_balances(accounts, posting)?;
    let entries = posting
        .legs
        .iter()
        .filter_map(|leg| {
            // Present: checked above.
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
    Ok(Posted { transfer_id: posting.transfer_id, entries })
}

/// What needs no account.
fn check_amounts(posting: &Posting) -> Result<(), PostingError> {
    let amounts = || posting.legs.iter().map(|leg| leg.amount);
    if posting.amount <= 0 || amounts().any(|amount| amount == 0) {
        return Err(PostingError::InvalidAmount);
    }
    if posting.amount > AMOUNT_MAX {
        return Err(PostingError::AmountTooLarge);
    }
    let sum: i128 = amounts().map(i128::from).sum();
    let credits: i128 = amounts().filter(|amount| *amount > 0).map(i128::from).sum();
    if sum != 0 || credits != i128::from(posting.amount) {
        return Err(PostingError::Unbalanced);
    }
    posting.legs.iter().enumerate().try_for_each(|(leg, side)| {
        let opposite = posting.legs[..leg].iter().any(|earlier| {
            earlier.account_id == side.account_id && (earlier.amount > 0) != (side.amount > 0)
        });
        if opposite { Err(PostingError::SameAccount { leg }) } else { Ok(()) }
    })
}

/// Existence, currency, status: each over all legs before the next.
fn check_accounts(
    accounts: &HashMap<Uuid, AccountState>,
    posting: &Posting,
) -> Result<(), PostingError> {
    let found: Vec<&AccountState> = (posting.legs.iter().enumerate())
        .map(|(leg, side)| {
            let account = accounts.get(&side.account_id);
            // The bank's own accounts are nobody's to name in a transfer order.
            account
                .filter(|account| {
                    posting.kind != TransferKind::Transfer
                        || account.class == AccountClass::Customer
                })
                .ok_or(PostingError::UnknownAccount { leg })
        })
        .collect::<Result<_, _>>()?;
    let first = |wrong: fn(&AccountState, &Posting) -> bool| {
        found.iter().position(|account| wrong(account, posting))
    };
    if let Some(leg) = first(|account, posting| account.currency != posting.currency) {
        return Err(PostingError::CurrencyMismatch { leg });
    }
    if let Some(leg) = first(|account, _| account.status == AccountStatus::Closed) {
        return Err(PostingError::AccountClosed { leg });
    }
    if let Some(leg) = first(|account, _| account.status == AccountStatus::Frozen) {
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
