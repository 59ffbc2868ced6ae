//! What is true of every ledger at every moment, whatever was ordered. Asked of the
//! stored books alone; the reference has no say here.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::store::Store;
use crate::model::{AccountClass, AccountState};

/// The first thing that is wrong.
pub(super) fn broken(store: &Store) -> Option<String> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    let mut chains: BTreeMap<Uuid, (i64, i64)> = BTreeMap::new();
    for (entry, ..) in &store.entries {
        let (balance, count) = chains.entry(entry.account_id).or_default();
        *balance += entry.amount;
        *count += 1;
        if (entry.account_sequence, entry.balance_after) != (*count, *balance) {
            return Some(format!("the chain breaks at {entry:?}: {balance} is expected"));
        }
    }
    for account in store.accounts.values() {
        *sums.entry(account.currency.code()).or_default() += i128::from(account.balance);
        let chain = chains.get(&account.id).copied().unwrap_or_default();
        if let Some(fault) = of_account(store, account, chain) {
            return Some(format!("account {:x}: {fault}", account.id.as_u128()));
        }
    }
    if let Some((currency, sum)) = sums.iter().find(|(_, sum)| **sum != 0) {
        return Some(format!("the balances in {currency} sum to {sum}"));
    }
    // The entries of the newest transfer are the last; earlier ones were here before.
    let newest = store.entries.last()?.1;
    let legs = store.entries.iter().rev().take_while(|entry| entry.1 == newest);
    let sum: i128 = legs.map(|entry| i128::from(entry.0.amount)).sum();
    (sum != 0).then(|| format!("the entries of {newest} sum to {sum}"))
}

/// What is too dear to ask after every step.
pub(super) fn at_the_end(store: &Store) -> Option<String> {
    let ids: BTreeSet<Uuid> = store.entries.iter().map(|entry| entry.0.transaction_id).collect();
    (ids.len() != store.entries.len()).then(|| "two entries have one id".to_owned())
}

fn of_account(
    store: &Store,
    account: &AccountState,
    (balance, count): (i64, i64),
) -> Option<String> {
    if (account.balance, account.entry_count) != (balance, count) {
        return Some(format!("{account:?} beside {count} entries that sum to {balance}"));
    }
    let live = store.holds.values().filter(|hold| hold.account_id == account.id);
    let held: i64 = live.map(|hold| if hold.status.is_live() { hold.remaining } else { 0 }).sum();
    if account.held != held {
        return Some(format!("{} held beside live holds of {held}", account.held));
    }
    if account.class == AccountClass::Internal {
        return None;
    }
    let available = i128::from(account.available());
    let spare = i128::from(account.balance) - i128::from(held) - i128::from(account.floor());
    if available != spare.max(0) {
        return Some(format!("{available} available, {spare} above the floor"));
    }
    let own = i128::from(account.balance) - i128::from(held);
    if account.overdraft_limit == 0 && available > own.max(0) {
        return Some(format!("{available} available of {own}"));
    }
    None
}

/// What no order takes an account below: its floor, unless it lies below already (the
/// terms were changed, or history said so), and then it falls no further.
pub(super) fn fell(before: &BTreeMap<Uuid, AccountState>, after: &Store) -> Option<String> {
    after.accounts.values().find_map(|now| {
        let was = before.get(&now.id)?;
        let free = |account: &AccountState| account.balance - account.held;
        let is_bound = now.class == AccountClass::Customer && now.floor() == was.floor();
        let fell = is_bound && free(now) < now.floor() && free(now) < free(was);
        fell.then(|| format!("account {:x} fell to {}", now.id.as_u128(), free(now)))
    })
}
