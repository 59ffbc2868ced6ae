//! Rows in and arrays out: what the engine's statements take and give.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, civil::Date};
use tenancy::DbError;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Posted, Posting};
use crate::{
    holds::Hold,
    model::{AccountClass, AccountState, AccountStatus, stored_currency},
};

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// An account out of `read_accounts`.
pub(crate) fn account(row: &Row) -> Result<AccountState, DbError> {
    let class: &str = row.try_get("class")?;
    let status: &str = row.try_get("status")?;
    Ok(AccountState {
        id: row.try_get("id")?,
        class: class.parse::<AccountClass>()?,
        currency: stored_currency(row.try_get("currency")?)?,
        balance: row.try_get("balance")?,
        held: row.try_get("held")?,
        overdraft_limit: row.try_get("overdraft_limit")?,
        minimum_balance: row.try_get("minimum_balance")?,
        status: status.parse::<AccountStatus>()?,
        entry_count: row.try_get("entry_count")?,
        version: row.try_get("version")?,
    })
}

/// What a batch has posted, as columns.
#[derive(Default)]
pub(crate) struct Journal {
    transfers: Transfers,
    entries: Entries,
}

#[derive(Default)]
struct Transfers {
    ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    amounts: Vec<i64>,
    currencies: Vec<&'static str>,
    from: Vec<Uuid>,
    to: Vec<Uuid>,
    descriptions: Vec<String>,
    references: Vec<Option<String>>,
    value_dates: Vec<Date>,
    booking_dates: Vec<Date>,
    posted_at: Vec<Timestamp>,
    created_by: Vec<Uuid>,
    reverses: Vec<Option<Uuid>>,
    holds: Vec<Option<Uuid>>,
}

#[derive(Default)]
struct Entries {
    ids: Vec<Uuid>,
    accounts: Vec<Uuid>,
    transfers: Vec<Uuid>,
    sequences: Vec<i64>,
    types: Vec<&'static str>,
    amounts: Vec<i64>,
    balances_after: Vec<i64>,
    descriptions: Vec<String>,
    references: Vec<Option<String>>,
    value_dates: Vec<Date>,
    posted_at: Vec<Timestamp>,
}

/// The accounts that a batch has changed, as columns.
pub(crate) struct Changed {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) balances: Vec<i64>,
    pub(crate) entry_counts: Vec<i64>,
    pub(crate) helds: Vec<i64>,
}

impl Changed {
    pub(crate) fn parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 5] {
        [tenant, &self.ids, &self.balances, &self.entry_counts, &self.helds]
    }
}

/// Holds as columns.
#[derive(Default)]
pub(crate) struct Holds {
    ids: Vec<Uuid>,
    accounts: Vec<Uuid>,
    destinations: Vec<Uuid>,
    amounts: Vec<i64>,
    captured: Vec<i64>,
    remaining: Vec<i64>,
    currencies: Vec<&'static str>,
    statuses: Vec<&'static str>,
    descriptions: Vec<String>,
    references: Vec<Option<String>>,
    expiries: Vec<Timestamp>,
    last_transfers: Vec<Option<Uuid>>,
    created_by: Vec<Uuid>,
    versions: Vec<i64>,
    created_at: Vec<Timestamp>,
    updated_at: Vec<Timestamp>,
}

impl<'a> FromIterator<&'a Hold> for Holds {
    fn from_iter<I: IntoIterator<Item = &'a Hold>>(holds: I) -> Self {
        let mut columns = Self::default();
        for hold in holds {
            columns.ids.push(hold.id);
            columns.accounts.push(hold.account_id);
            columns.destinations.push(hold.to_account_id);
            columns.amounts.push(hold.amount);
            columns.captured.push(hold.captured_amount);
            columns.remaining.push(hold.remaining);
            columns.currencies.push(hold.currency.code());
            columns.statuses.push(hold.status.as_str());
            columns.descriptions.push(hold.description.clone());
            columns.references.push(hold.reference.clone());
            columns.expiries.push(hold.expires_at);
            columns.last_transfers.push(hold.last_transfer_id);
            columns.created_by.push(hold.created_by);
            columns.versions.push(hold.version);
            columns.created_at.push(hold.created_at);
            columns.updated_at.push(hold.updated_at);
        }
        columns
    }
}

impl Holds {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn insert_parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 17] {
        [
            tenant,
            &self.ids,
            &self.accounts,
            &self.destinations,
            &self.amounts,
            &self.captured,
            &self.remaining,
            &self.currencies,
            &self.statuses,
            &self.descriptions,
            &self.references,
            &self.expiries,
            &self.last_transfers,
            &self.created_by,
            &self.versions,
            &self.created_at,
            &self.updated_at,
        ]
    }

    pub(crate) fn update_parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 7] {
        [
            tenant,
            &self.ids,
            &self.captured,
            &self.remaining,
            &self.statuses,
            &self.last_transfers,
            &self.versions,
        ]
    }
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.transfers.ids.is_empty()
    }

    /// `hold_id`: the hold that it captures.
    pub(crate) fn record(&mut self, posting: &Posting, posted: &Posted, hold_id: Option<Uuid>) {
        self.transfers.push(posting, hold_id);
        for (entry, leg) in posted.entries.iter().zip(&posting.legs) {
            let entries = &mut self.entries;
            entries.ids.push(entry.transaction_id);
            entries.accounts.push(entry.account_id);
            entries.transfers.push(posting.transfer_id);
            entries.sequences.push(entry.account_sequence);
            entries.types.push(leg.transaction_type.as_str());
            entries.amounts.push(entry.amount);
            entries.balances_after.push(entry.balance_after);
            entries.descriptions.push(posting.description.clone());
            entries.references.push(posting.reference.clone());
            entries.value_dates.push(posting.value_date);
            entries.posted_at.push(posting.posted_at);
        }
    }

    pub(crate) fn transfer_parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 15] {
        let columns = &self.transfers;
        [
            tenant,
            &columns.ids,
            &columns.kinds,
            &columns.amounts,
            &columns.currencies,
            &columns.from,
            &columns.to,
            &columns.descriptions,
            &columns.references,
            &columns.value_dates,
            &columns.booking_dates,
            &columns.posted_at,
            &columns.created_by,
            &columns.reverses,
            &columns.holds,
        ]
    }

    pub(crate) fn entry_parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 12] {
        let columns = &self.entries;
        [
            tenant,
            &columns.ids,
            &columns.accounts,
            &columns.transfers,
            &columns.sequences,
            &columns.types,
            &columns.amounts,
            &columns.balances_after,
            &columns.descriptions,
            &columns.references,
            &columns.value_dates,
            &columns.posted_at,
        ]
    }

    /// The accounts that have new entries.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Uuid> {
        self.entries.accounts.iter().copied()
    }
}

impl Changed {
    /// In id order, each once.
    pub(crate) fn of(
        ids: impl Iterator<Item = Uuid>,
        accounts: &HashMap<Uuid, AccountState>,
    ) -> Self {
        let ids: BTreeSet<Uuid> = ids.collect();
        let states: Vec<&AccountState> = ids.iter().filter_map(|id| accounts.get(id)).collect();
        Self {
            ids: states.iter().map(|account| account.id).collect(),
            balances: states.iter().map(|account| account.balance).collect(),
            entry_counts: states.iter().map(|account| account.entry_count).collect(),
            helds: states.iter().map(|account| account.held).collect(),
        }
    }
}

impl Transfers {
    fn push(&mut self, posting: &Posting, hold_id: Option<Uuid>) {
        // A balanced posting has a debit and a credit, so nil never reaches a row.
        let first = |credit: bool| {
            let side = posting.legs.iter().find(|leg| (leg.amount > 0) == credit);
            side.map_or(Uuid::nil(), |leg| leg.account_id)
        };
        self.ids.push(posting.transfer_id);
        self.kinds.push(posting.kind.as_str());
        self.amounts.push(posting.amount);
        self.currencies.push(posting.currency.code());
        self.from.push(first(false));
        self.to.push(first(true));
        self.descriptions.push(posting.description.clone());
        self.references.push(posting.reference.clone());
        self.value_dates.push(posting.value_date);
        self.booking_dates.push(posting.booking_date);
        self.posted_at.push(posting.posted_at);
        self.created_by.push(posting.created_by);
        self.reverses.push(posting.reverses_transfer_id);
        self.holds.push(hold_id);
    }
}
