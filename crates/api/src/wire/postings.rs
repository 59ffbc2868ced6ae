//! Journals, reversals and movements with their entries on the wire.

use banking::{
    InternalAccount, JournalAccount, JournalEntry, Movement, PostJournal, ReverseTransaction,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    EXAMPLE_ID, OTHER_ID,
    accounts::{Transaction, currency},
    transfers::{Transfer, minor_units},
};
use crate::{openapi_parts::Example, problem::Problem};

/// A movement with its entries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Posting {
    /// The movement.
    #[serde(flatten)]
    pub(crate) transfer: Transfer,
    /// Its entries, debits first; only those in accounts that you may see.
    pub(crate) entries: Vec<Transaction>,
}

impl From<Movement> for Posting {
    fn from(movement: Movement) -> Self {
        Self {
            transfer: movement.transfer.into(),
            entries: movement.entries.into_iter().map(Transaction::from).collect(),
        }
    }
}

impl Example for Posting {
    fn example() -> Self {
        let leg = |account_id, amount, balance_after| Transaction {
            account_id,
            amount,
            balance_after,
            transaction_type: "journal".to_owned(),
            description: "Refund of a fee".to_owned(),
            ..Transaction::example()
        };
        let transfer = Transfer {
            amount: 500,
            kind: "journal".to_owned(),
            description: "Refund of a fee".to_owned(),
            ..Transfer::example()
        };
        Self { transfer, entries: vec![leg(EXAMPLE_ID, -500, 12_000), leg(OTHER_ID, 500, 123_000)] }
    }
}

/// A journal to be booked: whole or not at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostingOrder {
    /// ISO 4217, of every account.
    currency: String,
    /// At most 140 characters; may be empty.
    #[serde(default)]
    description: Option<String>,
    /// Your own reference.
    #[serde(default)]
    reference: Option<String>,
    /// Where it belongs to an earlier day; never in the future.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    value_date: Option<Date>,
    /// 2 to 100, summing to zero; each account at most once.
    #[schema(min_items = 2, max_items = 100)]
    entries: Vec<EntryOrder>,
}

/// One leg of a journal: `account_id` or `internal_account`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryOrder {
    /// A customer's account.
    #[serde(default)]
    account_id: Option<Uuid>,
    /// One of the bank's own: `cash`, `settlement`, `fees`, `interest_expense`,
    /// `interest_income`, `suspense`, `loans` or `opening_balance`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    internal_account: Option<InternalAccount>,
    /// Minor units; positive credits the account, negative debits it.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = -9_007_199_254_740_991_i64, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
}

impl PostingOrder {
    pub(crate) fn checked(self) -> Result<PostJournal, Problem> {
        let entry = |(leg, entry): (usize, EntryOrder)| {
            let account = match (entry.account_id, entry.internal_account) {
                (Some(id), None) => Ok(JournalAccount::Customer(id)),
                (None, Some(account)) => Ok(JournalAccount::Internal(account)),
                _ => Err(Problem::malformed_field(
                    format!("entries[{leg}]"),
                    "invalid_value",
                    "Expected either account_id or internal_account",
                )),
            };
            account.map(|account| JournalEntry { account, amount: entry.amount })
        };
        Ok(PostJournal {
            currency: currency(&self.currency)?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
            value_date: self.value_date,
            entries: self.entries.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?,
        })
    }
}

/// How a movement is to be undone.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReversalOrder {
    /// Text on the statements, at most 140 characters; the movement's own where absent.
    #[serde(default)]
    reason: Option<String>,
    /// From the movement's own value date to today, which it is where absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    value_date: Option<Date>,
}

impl ReversalOrder {
    pub(crate) fn of(self, transaction_id: Uuid) -> ReverseTransaction {
        ReverseTransaction { transaction_id, reason: self.reason, value_date: self.value_date }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::PostingOrder;
    use crate::json::parse;

    #[test]
    fn a_leg_names_one_account() {
        let id = uuid::Uuid::nil();
        // leg, field at fault
        let table = [
            (format!(r#"{{"account_id":"{id}","amount":1}}"#), None),
            (r#"{"internal_account":"fees","amount":1}"#.to_owned(), None),
            (r#"{"amount":1}"#.to_owned(), Some("entries[0]")),
            (
                format!(r#"{{"account_id":"{id}","internal_account":"fees","amount":1}}"#),
                Some("entries[0]"),
            ),
            (
                r#"{"internal_account":"vault","amount":1}"#.to_owned(),
                Some("entries[0].internal_account"),
            ),
            (r#"{"internal_account":"fees"}"#.to_owned(), Some("entries[0].amount")),
            (r#"{"internal_account":"fees","amount":0.5}"#.to_owned(), Some("entries[0].amount")),
            (r#"{"internal_account":"fees","amount":1,"x":1}"#.to_owned(), Some("entries[0].x")),
        ];
        for (leg, field) in table {
            let body = format!(r#"{{"currency":"EUR","entries":[{leg}]}}"#);
            let read = parse::<PostingOrder>(body.as_bytes()).and_then(PostingOrder::checked);
            let problem = read.err();
            assert!(problem.as_ref().is_none_or(|problem| problem.status.as_u16() == 400));
            let found = problem.as_ref().map(|problem| problem.errors[0].field.as_ref());
            assert_eq!(found, field, "{leg}");
        }
    }
}
