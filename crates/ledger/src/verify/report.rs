//! What a proof found, in words and as JSON. It refuses to know how it was looked for.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

/// Faults named in a report; the rest is counted.
const FAULTS_NAMED: usize = 20;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Accounts looked at, and entries: each in its account and again in its transfer.
    pub done: u64,
    /// As many as there were at the start.
    pub total: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Accounts walked.
    pub accounts: u64,
    /// Transfers walked.
    pub transfers: u64,
    /// Entries summed.
    pub entries: u64,
    /// Sum of all balances by currency; zero where the books are right.
    pub trial_balance: BTreeMap<String, String>,
    /// How many things are wrong.
    pub fault_count: u64,
    /// The first of them, in the order of the walk.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The balances of a currency do not sum to zero.
    #[error("trial balance of {currency} is {sum}, not 0")]
    TrialBalance {
        /// The currency.
        currency: String,
        /// What they sum to, minor units.
        sum: String,
    },
    /// An account's balance is not the sum of its entries.
    #[error("account {account_id}: balance {balance}, entries sum to {entries}")]
    Balance {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        balance: i64,
        /// What the entries sum to.
        entries: String,
    },
    /// An account's entries are not numbered 1 to `entry_count`.
    #[error(
        "account {account_id}: {entry_count} entries recorded, {entries} found, the last is number {last_sequence}"
    )]
    EntryCount {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        entry_count: i64,
        /// How many there are.
        entries: i64,
        /// The highest number.
        last_sequence: i64,
    },
    /// An entry's balance is not its predecessor's plus its amount, or a number is missing before it.
    #[error("account {account_id}: the chain breaks at entry {account_sequence}")]
    Chain {
        /// The account.
        account_id: Uuid,
        /// The first entry that does not fit.
        account_sequence: i64,
    },
    /// What an account keeps back is not the sum of what remains of its live holds.
    #[error("account {account_id}: {held} held, its live holds sum to {holds}")]
    Held {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        held: i64,
        /// What remains of its live holds together.
        holds: String,
    },
    /// What was captured of a hold is not what its transfers have paid out.
    #[error("hold {hold_id}: {captured_amount} captured, its transfers sum to {transfers}")]
    Captured {
        /// The hold.
        hold_id: Uuid,
        /// What stands in the hold; 0 where there is none.
        captured_amount: i64,
        /// What the transfers that name it sum to; of a hold that is not there, each.
        transfers: String,
    },
    /// A transfer's entries do not sum to zero, or not to its amount.
    #[error(
        "transfer {transfer_id} of {amount}: {entries} entries sum to {sum}, credits to {credited}"
    )]
    Transfer {
        /// The transfer.
        transfer_id: Uuid,
        /// Its amount.
        amount: i64,
        /// How many entries it has.
        entries: i64,
        /// What they sum to.
        sum: String,
        /// What the credits among them sum to.
        credited: String,
    },
    /// Entries of a transfer say another value date, instant, text or type than it.
    #[error("transfer {transfer_id}: {entries} of its entries say something else than it does")]
    Unlike {
        /// The transfer.
        transfer_id: Uuid,
        /// How many.
        entries: i64,
    },
    /// A transfer names other accounts than its entries, or than the hold that it captures.
    #[error("transfer {transfer_id} names accounts that it did not move")]
    Sides {
        /// The transfer.
        transfer_id: Uuid,
    },
    /// A reversal does not undo what it names, or undoes and is none.
    #[error("transfer {transfer_id} does not mirror what it reverses")]
    Mirror {
        /// The transfer.
        transfer_id: Uuid,
    },
    /// An entry of a transfer stands in an account of another currency.
    #[error("transfer {transfer_id} has entries in accounts of another currency")]
    Currency {
        /// The transfer.
        transfer_id: Uuid,
    },
    /// An entry belongs to no account or to no transfer.
    #[error(
        "entry {transaction_id} of account {account_id} and transfer {transfer_id} is an orphan"
    )]
    Orphan {
        /// The entry.
        transaction_id: Uuid,
        /// The account it names.
        account_id: Uuid,
        /// The transfer it names.
        transfer_id: Uuid,
    },
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    pub(super) fn blame(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_NAMED {
            self.faults.push(fault);
        }
    }
}
