//! Journals: postings of many legs on an accountant's order, for what no other command
//! does: corrections, accruals, payrolls, charges against several accounts at once.
//!
//! Legs name customers' accounts by id and the bank's own by name. Customers' accounts
//! keep their floors: a journal takes no money by force. Nobody books a journal that
//! touches an account that they hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use access::{Permission, Resource};
use audit::EventType;
use jiff::civil::Date;
use ledger::{InternalAccount, Leg, Posted, Posting, TransactionType, TransferKind};
use money::{AMOUNT_MAX, Currency};
use operation::{Applied, Command, Failure, Refusal, Target, command::Outcome, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Movement,
    alone::post_alone_by_factor,
    business_date,
    error::{Fields, invisible, rule},
    transfer::check_texts,
};
use crate::accounts::facts;

const OPENED_DATES: &str = tenancy::sql!("banking/movements.sql", "opened_dates");

/// The most legs of a journal.
pub const ENTRIES_MAX: usize = 100;

/// Whose account a leg is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JournalAccount {
    /// A customer's.
    Customer(Uuid),
    /// The bank's own of the journal's currency; made where this is its first use.
    Internal(InternalAccount),
}

/// One leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Where.
    pub account: JournalAccount,
    /// Minor units; positive credits the account, negative debits it.
    pub amount: i64,
}

/// Books a journal, whole or not at all. Answers 201.
///
/// Refusals, first found: texts too long; fewer than two or more than [`ENTRIES_MAX`]
/// legs; an amount of zero or beyond 2^53 − 1; an account in two legs; legs that do not
/// sum to zero; an account that does not exist; the value date; then the ledger's in the
/// order of [`ledger::PostingError`], `approval_required` (the credits sum to more than
/// the tenant's ceiling) and `step_up_required` (403; to more than its limit of proofs, by a
/// person who used no second factor within five minutes) before those about the balance.
#[derive(Clone, Debug)]
pub struct PostJournal {
    /// Of every leg.
    pub currency: Currency,
    /// Text on the statements; may be empty.
    pub description: String,
    /// The accountant's reference.
    pub reference: Option<String>,
    /// Back-dated where it belongs to an earlier day; never in the future or before the
    /// opening of an account.
    pub value_date: Option<Date>,
    /// The legs.
    pub entries: Vec<JournalEntry>,
}

impl Command for PostJournal {
    const NAME: &'static str = "journal.create";
    const RESOURCE: &'static str = "journal";
    type Output = Movement;

    fn permission(&self) -> Permission {
        Permission::TransactionPost
    }

    fn fingerprint(&self) -> Value {
        let entry = |entry: &JournalEntry| {
            let account = match entry.account {
                JournalAccount::Customer(id) => json!(id),
                JournalAccount::Internal(account) => json!({ "internal": account }),
            };
            json!([account, entry.amount.to_string()])
        };
        json!({
            "currency": self.currency,
            "description": self.description,
            "reference": self.reference,
            "value_date": self.value_date.map(|date| date.to_string()),
            "entries": self.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    /// Held where the actor is a party to any of the accounts. One that does not exist is
    /// refused behind the decision, where its leg can be named.
    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let wanted: Vec<(Uuid, Uuid)> =
            self.customers().map(|(_, account)| (account, context.actor.id)).collect();
        let held = facts(transaction, &wanted).await?.contains(&Some(true));
        Ok(Target::Object {
            resource: Resource::for_permission(Permission::TransactionPost, None)
                .owned(held)
                .held(held),
            read_permission: Permission::TransactionRead,
            field: Some("entries"),
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Movement> {
        let amount = self.check()?;
        let today = business_date(context)?;
        let value_date = self.value_date.unwrap_or(today);
        self.check_accounts(transaction, value_date, today).await?;
        let posting = Posting {
            transfer_id: context.clock.new_id(),
            kind: TransferKind::Journal,
            amount,
            currency: self.currency,
            legs: self.legs(transaction, context).await?,
            description: self.description.clone(),
            reference: self.reference.clone().filter(|text| !text.is_empty()),
            value_date,
            booking_date: today,
            posted_at: context.clock.now(),
            created_by: context.actor.id,
            reverses_transfer_id: None,
            waive_limits: false,
        };
        let record = |posted: &Posted| journal_event(context, &Movement::of(&posting, posted));
        let order = (&posting, Fields::JOURNAL);
        let entered = post_alone_by_factor(transaction, context, order, record).await?;
        let output = Movement::of(&posting, &entered.posted);
        Ok(Applied { output, status: 201, events: vec![entered.record] })
    }
}

impl PostJournal {
    /// The legs in customers' accounts, with their positions.
    fn customers(&self) -> impl Iterator<Item = (usize, Uuid)> {
        self.entries.iter().enumerate().filter_map(|(leg, entry)| match entry.account {
            JournalAccount::Customer(id) => Some((leg, id)),
            JournalAccount::Internal(_) => None,
        })
    }

    /// What can be said without looking anything up; gives the sum of the credits.
    fn check(&self) -> Result<i64, Refusal> {
        check_texts(&self.description, self.reference.as_deref())?;
        if !(2..=ENTRIES_MAX).contains(&self.entries.len()) {
            let detail = format!("A journal has 2 to {ENTRIES_MAX} entries");
            return Err(rule("entry_count", "entries", &detail));
        }
        for (leg, entry) in self.entries.iter().enumerate() {
            let field = || format!("entries[{leg}].amount");
            if entry.amount == 0 {
                return Err(rule("invalid_amount", field(), "An entry moves something"));
            }
            if entry.amount.unsigned_abs() > AMOUNT_MAX.unsigned_abs() {
                let detail = "The amount must be at most 2^53 - 1 minor units";
                return Err(rule("amount_too_large", field(), detail));
            }
        }
        let mut seen = HashSet::new();
        for (leg, entry) in self.entries.iter().enumerate() {
            if !seen.insert(entry.account) {
                let detail = "An account stands in one entry of a journal";
                return Err(rule("same_account", format!("entries[{leg}]"), detail));
            }
        }
        // Wider than the amounts: a hundred of them do not overflow it.
        let amounts = || self.entries.iter().map(|entry| i128::from(entry.amount));
        let sum: i128 = amounts().sum();
        if sum != 0 {
            let detail = "The entries do not sum to zero";
            return Err(rule("unbalanced", "entries", detail));
        }
        let credits: i128 = amounts().filter(|amount| *amount > 0).sum();
        let within = i64::try_from(credits).ok().filter(|credits| *credits <= AMOUNT_MAX);
        within.ok_or_else(|| {
            let detail = "The credits must sum to at most 2^53 - 1 minor units";
            rule("amount_too_large", "entries", detail)
        })
    }

    /// Customers' accounts exist, and were open on the value date, which is not ahead. One
    /// round trip.
    async fn check_accounts(
        &self,
        transaction: &TenantTx,
        value_date: Date,
        today: Date,
    ) -> Result<(), Failure> {
        let ids: Vec<Uuid> = self.customers().map(|(_, id)| id).collect();
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &ids];
        let rows = transaction.query(OPENED_DATES, &parameters).await?;
        let opened: HashMap<Uuid, Date> = rows
            .iter()
            .map(|row| Ok((row.try_get("id")?, row.try_get("opened_date")?)))
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(DbError::from)?;
        if let Some((leg, _)) = self.customers().find(|(_, id)| !opened.contains_key(id)) {
            return Err(invisible(format!("entries[{leg}].account_id").into()).into());
        }
        if value_date > today {
            let detail = "The value date must not lie in the future";
            return Err(Refusal::rule("value_date_in_future", "value_date", detail).into());
        }
        if opened.values().any(|opened| value_date < *opened) {
            let detail = "The value date must not lie before an account's opening";
            return Err(Refusal::rule("value_date_before_opening", "value_date", detail).into());
        }
        Ok(())
    }

    /// The legs in the order of the request, the bank's own accounts looked up.
    async fn legs(&self, transaction: &TenantTx, context: &OpContext) -> Result<Vec<Leg>, DbError> {
        let mut internal = BTreeMap::new();
        for entry in &self.entries {
            if let JournalAccount::Internal(account) = entry.account {
                let clock = &context.clock;
                let id =
                    ledger::accounts::internal(transaction, clock, account, self.currency).await?;
                internal.insert(account, id);
            }
        }
        let leg = |entry: &JournalEntry| {
            let account_id = match entry.account {
                JournalAccount::Customer(id) => Some(id),
                JournalAccount::Internal(account) => internal.get(&account).copied(),
            };
            Leg {
                // Each was put there above; the engine refuses nil as it does any unknown id.
                account_id: account_id.unwrap_or_default(),
                amount: entry.amount,
                transaction_type: TransactionType::Journal,
            }
        };
        Ok(self.entries.iter().map(leg).collect())
    }
}

/// The record of a journal: every leg's account and amount; no text of anybody's.
fn journal_event(context: &OpContext, movement: &Movement) -> audit::AuditEvent {
    let transfer = &movement.transfer;
    let entry = |entry: &super::Transaction| json!({ "account_id": entry.account_id, "amount": entry.amount });
    event(context, EventType::LedgerPosting, PostJournal::NAME, "transfer")
        .resource_id(transfer.id)
        .new_values(json!({
            "kind": transfer.kind,
            "amount": transfer.amount,
            "currency": transfer.currency,
            "value_date": transfer.value_date.to_string(),
            "entries": movement.entries.iter().map(entry).collect::<Vec<_>>(),
        }))
        .at_version(super::POSTED)
}

#[cfg(test)]
mod tests {
    use ledger::InternalAccount;
    use money::AMOUNT_MAX;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{ENTRIES_MAX, JournalAccount, JournalEntry, PostJournal};

    fn journal(amounts: &[i64]) -> PostJournal {
        let entry = |(number, amount): (u128, &i64)| JournalEntry {
            account: JournalAccount::Customer(Uuid::from_u128(number)),
            amount: *amount,
        };
        PostJournal {
            currency: "EUR".parse().unwrap(),
            description: String::new(),
            reference: None,
            value_date: None,
            entries: (1..).zip(amounts).map(entry).collect(),
        }
    }

    fn refused(journal: &PostJournal) -> Option<(String, String)> {
        let refusal = journal.check().err()?;
        Some((refusal.code.to_string(), refusal.errors[0].field.to_string()))
    }

    #[test]
    fn journals_are_refused_in_a_fixed_order() {
        let many = |legs: usize| {
            let mut amounts = vec![1; legs];
            amounts[0] = 1 - i64::try_from(legs).unwrap();
            amounts
        };
        // amounts, code, field
        let table: [(&[i64], &str, &str); 9] = [
            (&[], "entry_count", "entries"),
            (&[1], "entry_count", "entries"),
            (&many(ENTRIES_MAX + 1), "entry_count", "entries"),
            (&[1, 0, -1], "invalid_amount", "entries[1].amount"),
            (&[1, -2], "unbalanced", "entries"),
            (&[AMOUNT_MAX + 1, -AMOUNT_MAX - 1], "amount_too_large", "entries[0].amount"),
            (&[i64::MIN, i64::MAX, 1], "amount_too_large", "entries[0].amount"),
            (&[i64::MAX, i64::MAX, 2], "amount_too_large", "entries[0].amount"),
            (&[AMOUNT_MAX, AMOUNT_MAX, -AMOUNT_MAX, -AMOUNT_MAX], "amount_too_large", "entries"),
        ];
        for (amounts, code, field) in table {
            let expected = Some((code.to_owned(), field.to_owned()));
            assert_eq!(refused(&journal(amounts)), expected, "{amounts:?}");
        }
        assert_eq!(journal(&many(ENTRIES_MAX)).check().unwrap(), 99);
        assert_eq!(journal(&[AMOUNT_MAX, -AMOUNT_MAX]).check().unwrap(), AMOUNT_MAX);
    }

    #[test]
    fn an_account_stands_in_one_entry() {
        let mut doubled = journal(&[5, 5, -10]);
        doubled.entries[1].account = doubled.entries[0].account;
        assert_eq!(refused(&doubled), Some(("same_account".to_owned(), "entries[1]".to_owned())));
        let mut cash = journal(&[5, 5, -10]);
        for leg in [0, 2] {
            cash.entries[leg].account = JournalAccount::Internal(InternalAccount::Cash);
        }
        assert_eq!(refused(&cash), Some(("same_account".to_owned(), "entries[2]".to_owned())));
    }

    proptest! {
        #[test]
        fn only_what_sums_to_zero_passes(amounts in prop::collection::vec(-50_i64..50, 2..20)) {
            let sum: i64 = amounts.iter().sum();
            let good = sum == 0 && !amounts.contains(&0);
            prop_assert_eq!(journal(&amounts).check().is_ok(), good);
        }

        #[test]
        fn no_amounts_overflow(amounts in prop::collection::vec(any::<i64>(), 2..100)) {
            let passed = journal(&amounts).check();
            prop_assert!(passed.is_err() || amounts.iter().map(|amount| i128::from(*amount)).sum::<i128>() == 0);
        }
    }
}
