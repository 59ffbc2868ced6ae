//! Rows in and arrays out: what the engine's statements take and give.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, civil::Date};
use tenancy::DbError;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Posted, Posting};
use crate::model::{AccountClass, AccountState, AccountStatus, stored_currency};

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
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.transfers.ids.is_empty()
    }

    pub(crate) fn record(&mut self, posting: &Posting, posted: &Posted) {
        self.transfers.push(posting);
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

    pub(crate) fn transfer_parameters<'a>(&'a self, tenant: &'a Uuid) -> [Parameter<'a>; 14] {
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

    /// In id order, each once.
    pub(crate) fn changed_accounts(&self, accounts: &HashMap<Uuid, AccountState>) -> Changed {
        let ids: BTreeSet<Uuid> = self.entries.accounts.iter().copied().collect();
        let states: Vec<&AccountState> = ids.iter().filter_map(|id| accounts.get(id)).collect();
        Changed {
            ids: states.iter().map(|account| account.id).collect(),
            balances: states.iter().map(|account| account.balance).collect(),
            entry_counts: states.iter().map(|account| account.entry_count).collect(),
        }
    }
}

impl Transfers {
    fn push(&mut self, posting: &Posting) {
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
    }
}
