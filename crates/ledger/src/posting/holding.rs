//! Decisions on holds against the locked accounts, in memory. Pure, like `decide`,
//! whose rules on accounts and amounts they share.

use std::collections::HashMap;

use jiff::Timestamp;
use money::AMOUNT_MAX;
use uuid::Uuid;

use super::{Leg, Posted, Posting, PostingError, decide};
use crate::{
    holds::{Authorisation, Capture, Captured, Changed, Destination, Hold, HoldError, HoldStatus},
    model::{AccountClass, AccountState, TransactionType, TransferKind},
};

pub(super) type Accounts = HashMap<Uuid, AccountState>;
pub(super) type Holds = HashMap<Uuid, Hold>;

/// Keeps money back, or says why not and leaves everything as it was. `seen` are
/// accounts that were read without a lock: good enough for a destination, whose
/// existence, class and currency never change.
pub(super) fn authorise(
    accounts: &mut Accounts,
    seen: &Accounts,
    holds: &mut Holds,
    order: &Authorisation,
) -> Result<Hold, HoldError> {
    check_authorisation(accounts, seen, order)?;
    let account = accounts
        .get_mut(&order.account_id)
        .ok_or(HoldError::Posting(PostingError::UnknownAccount { leg: 0 }))?;
    // No overflow: each is within 2^53 of zero.
    if account.balance - account.held - order.amount < account.floor() {
        return Err(PostingError::InsufficientFunds { leg: 0 }.into());
    }
    if account.held + order.amount > AMOUNT_MAX {
        return Err(HoldError::AmountTooLarge);
    }
    account.held += order.amount;
    let hold = authorised(order);
    holds.insert(hold.id, hold.clone());
    Ok(hold)
}

/// Everything that [`authorise`] looks for but the funds.
pub(super) fn check_authorisation(
    accounts: &Accounts,
    seen: &Accounts,
    order: &Authorisation,
) -> Result<(), HoldError> {
    let legs = promised_legs(order.account_id, order.destination.account_id(), order.amount);
    decide::check_amounts(order.amount, &legs).map_err(plain)?;
    if order.expires_at <= order.at {
        return Err(HoldError::Expired);
    }
    let class = |leg: usize| match order.destination {
        Destination::Internal(_) | Destination::Unmade { .. } if leg == 1 => AccountClass::Internal,
        _ => AccountClass::Customer,
    };
    let find = |leg: usize, id: &Uuid| {
        let unlocked = if leg == 1 { seen.get(id) } else { None };
        accounts.get(id).or(unlocked).filter(|account| account.class == class(leg))
    };
    decide::check_accounts(find, &legs, order.currency)?;
    Ok(())
}

/// Pays out of a hold, or says why not and leaves everything as it was.
pub(super) fn capture(
    accounts: &mut Accounts,
    holds: &mut Holds,
    order: &Capture,
    new_id: impl FnMut() -> Uuid,
) -> Result<Captured, HoldError> {
    let (before, amount) = check_capture(holds, order)?;
    let before = before.clone();
    let posting = movement(&before, order, amount);
    let posted: Posted = decide::apply_promised(accounts, &posting, new_id)?;
    let left = before.remaining - amount;
    let stays = if order.is_final { 0 } else { left };
    let mut after = before.clone();
    after.captured_amount += amount;
    after.last_transfer_id = Some(order.transfer_id);
    let status = if stays > 0 { HoldStatus::PartiallyCaptured } else { HoldStatus::Captured };
    let change = keep(accounts, holds, before, after, (status, stays));
    Ok(Captured { change, posting, posted })
}

/// The hold that a capture is of and what it takes, or what of them refuses it; the
/// accounts are not looked at.
pub(super) fn check_capture<'a>(
    holds: &'a Holds,
    order: &Capture,
) -> Result<(&'a Hold, i64), HoldError> {
    match order.amount {
        Some(amount) if amount <= 0 => return Err(HoldError::InvalidAmount),
        Some(amount) if amount > AMOUNT_MAX => return Err(HoldError::AmountTooLarge),
        _ => {}
    }
    let hold = live(holds, order.hold_id)?;
    if order.at >= hold.expires_at {
        return Err(HoldError::Expired);
    }
    let amount = order.amount.unwrap_or(hold.remaining);
    if amount > hold.remaining {
        return Err(HoldError::ExceedsHold);
    }
    Ok((hold, amount))
}

/// Lets a hold go, or says why not and leaves everything as it was. One whose time
/// is over is not released any more: the answer does not depend on whether the
/// worker has come by already.
pub(super) fn release(
    accounts: &mut Accounts,
    holds: &mut Holds,
    (hold_id, at): (Uuid, Timestamp),
) -> Result<Changed, HoldError> {
    let before = live(holds, hold_id)?.clone();
    if at >= before.expires_at {
        return Err(HoldError::Expired);
    }
    let after = before.clone();
    Ok(keep(accounts, holds, before, after, (HoldStatus::Released, 0)))
}

/// Ends a hold whose time is over, or says why not and leaves everything as it was.
pub(super) fn expire(
    accounts: &mut Accounts,
    holds: &mut Holds,
    (hold_id, at): (Uuid, Timestamp),
) -> Result<Changed, HoldError> {
    let before = live(holds, hold_id)?.clone();
    if at < before.expires_at {
        return Err(HoldError::NotDue);
    }
    let after = before.clone();
    Ok(keep(accounts, holds, before, after, (HoldStatus::Expired, 0)))
}

fn live(holds: &Holds, hold_id: Uuid) -> Result<&Hold, HoldError> {
    let hold = holds.get(&hold_id).ok_or(HoldError::UnknownHold)?;
    match hold.status {
        HoldStatus::Expired => Err(HoldError::Expired),
        status if status.is_live() => Ok(hold),
        status => Err(HoldError::Ended(status)),
    }
}

/// Stores what has become of a hold, and returns to the account what it no longer keeps back.
fn keep(
    accounts: &mut Accounts,
    holds: &mut Holds,
    before: Hold,
    mut after: Hold,
    (status, remaining): (HoldStatus, i64),
) -> Changed {
    after.status = status;
    after.remaining = remaining;
    after.version += 1;
    if let Some(account) = accounts.get_mut(&before.account_id) {
        account.held -= before.remaining - remaining;
    }
    holds.insert(after.id, after.clone());
    Changed { before, after }
}

fn authorised(order: &Authorisation) -> Hold {
    Hold {
        id: order.hold_id,
        account_id: order.account_id,
        to_account_id: order.destination.account_id(),
        amount: order.amount,
        captured_amount: 0,
        remaining: order.amount,
        currency: order.currency,
        status: HoldStatus::Authorized,
        description: order.description.clone(),
        reference: order.reference.clone(),
        expires_at: order.expires_at,
        last_transfer_id: None,
        created_by: order.created_by,
        version: 1,
        created_at: order.at,
        updated_at: order.at,
    }
}

fn promised_legs(from: Uuid, to: Uuid, amount: i64) -> Vec<Leg> {
    Posting::two_legs(
        (from, TransactionType::TransferOut),
        (to, TransactionType::TransferIn),
        amount,
    )
}

fn movement(hold: &Hold, order: &Capture, amount: i64) -> Posting {
    Posting {
        transfer_id: order.transfer_id,
        kind: TransferKind::Transfer,
        amount,
        currency: hold.currency,
        legs: promised_legs(hold.account_id, hold.to_account_id, amount),
        description: hold.description.clone(),
        reference: hold.reference.clone(),
        value_date: order.business_date,
        booking_date: order.business_date,
        posted_at: order.at,
        created_by: order.created_by,
        reverses_transfer_id: None,
        // What is taken was kept back when the limits were asked; they may have
        // become narrower since, and a promise outlives that.
        waive_limits: true,
    }
}

/// Amounts are said in a hold's own words.
fn plain(error: PostingError) -> HoldError {
    match error {
        PostingError::InvalidAmount => HoldError::InvalidAmount,
        PostingError::AmountTooLarge => HoldError::AmountTooLarge,
        other => HoldError::Posting(other),
    }
}
