//! What a savings account is: types and pure rules, no I/O.

use jiff::{Timestamp, civil::Date};
use ledger::{AccountStatus, model::available_balance};
use money::{AMOUNT_MAX, Currency};
use operation::{FieldError, Refusal, RefusalKind};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::text::fault;

/// What sort of account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountType {
    /// Bears interest.
    Savings,
    /// For daily payments.
    Checking,
    /// Of a business.
    Business,
}

impl AccountType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Savings, Self::Checking, Self::Business];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Savings => "savings",
            Self::Checking => "checking",
            Self::Business => "business",
        }
    }
}

/// What somebody may do with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyRole {
    /// Its one owner; `customer_id` of the account.
    Owner,
    /// Owns it together with the owner.
    JointOwner,
    /// Acts for the owner under a mandate.
    Disponent,
}

impl PartyRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Owner, Self::JointOwner, Self::Disponent];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::JointOwner => "joint_owner",
            Self::Disponent => "disponent",
        }
    }
}

macro_rules! parsed_by_name {
    ($($kind:ident),*) => { $(
        impl std::str::FromStr for $kind {
            type Err = ledger::model::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .into_iter()
                    .find(|candidate| candidate.as_str() == name)
                    .ok_or_else(|| ledger::model::UnknownName { what: stringify!($kind), name: name.to_owned() })
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    )* };
}
pub(crate) use parsed_by_name;
parsed_by_name!(AccountType, PartyRole);

/// Somebody's part in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Who.
    pub customer_id: Uuid,
    /// As what.
    pub party_role: PartyRole,
}

/// A savings account. Amounts are in minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id; also of its ledger account.
    pub id: Uuid,
    /// Unique in the tenant; ends in check digits where we drew it.
    pub account_number: String,
    /// The owner.
    pub customer_id: Uuid,
    /// What sort of account.
    pub account_type: AccountType,
    /// The one currency it holds.
    pub currency: Currency,
    /// Sum of its entries.
    pub balance: i64,
    /// What can be taken out now: balance less holds, down to the floor; never negative.
    pub available_balance: i64,
    /// How far below zero it may go.
    pub overdraft_limit: i64,
    /// What must stay on it; excludes an overdraft.
    pub minimum_balance: Option<i64>,
    /// Percent a year; travels as decimal text.
    pub interest_rate: Decimal,
    /// Whether it takes postings.
    pub status: AccountStatus,
    /// The business day on which it was opened.
    pub opened_date: Date,
    /// The business day on which it was closed.
    pub closed_date: Option<Date>,
    /// Counts changes of its settings (not of its balance): its `ETag`.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its settings or its balance last changed.
    pub updated_at: Timestamp,
}

impl Account {
    /// A row of any statement in `accounts.sql` that lists an account's columns.
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        let (balance, held): (i64, i64) = (row.try_get("balance")?, row.try_get("held")?);
        let overdraft_limit: i64 = row.try_get("overdraft_limit")?;
        let minimum_balance: Option<i64> = row.try_get("minimum_balance")?;
        let interest_rate: Decimal = row.try_get("interest_rate")?;
        Ok(Self {
            id: row.try_get("id")?,
            account_number: row.try_get("account_number")?,
            customer_id: row.try_get("customer_id")?,
            account_type: row.try_get::<_, &str>("account_type")?.parse::<AccountType>()?,
            currency: ledger::model::stored_currency(row.try_get("currency")?)?,
            balance,
            available_balance: available_balance(balance, held, overdraft_limit, minimum_balance),
            overdraft_limit,
            minimum_balance,
            interest_rate: interest_rate.normalize(),
            status: row.try_get::<_, &str>("status")?.parse::<AccountStatus>()?,
            opened_date: row.try_get("opened_date")?,
            closed_date: row.try_get("closed_date")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }

    /// The unsealed settings, as audit records show them before and after.
    pub(crate) fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "overdraft_limit": self.overdraft_limit,
            "minimum_balance": self.minimum_balance,
            "interest_rate": self.interest_rate.to_string(),
            "status": self.status.as_str(),
        })
    }
}

/// An account to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// The owner.
    pub customer_id: Uuid,
    /// What sort of account.
    pub account_type: AccountType,
    /// The one currency it will hold.
    pub currency: Currency,
    /// Percent a year, 0 to 100, at most six decimals.
    pub interest_rate: Decimal,
    /// How far below zero it may go, minor units.
    pub overdraft_limit: i64,
    /// What must stay on it, minor units; excludes an overdraft.
    pub minimum_balance: Option<i64>,
    /// Joint owners and disponents; the owner is not among them.
    pub parties: Vec<Party>,
}

impl NewAccount {
    /// A savings account without interest, overdraft or further parties.
    pub fn plain(customer_id: Uuid, currency: Currency) -> Self {
        Self {
            customer_id,
            account_type: AccountType::Savings,
            currency,
            interest_rate: Decimal::ZERO,
            overdraft_limit: 0,
            minimum_balance: None,
            parties: Vec::new(),
        }
    }

    /// Everybody who would be a party, the owner first.
    pub(crate) fn customers(&self) -> Vec<Uuid> {
        let parties = self.parties.iter().map(|party| party.customer_id);
        std::iter::once(self.customer_id).chain(parties).collect()
    }

    /// What can be said without looking anything up; all faults together.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut faults = settings_faults(
            Some(self.overdraft_limit),
            self.minimum_balance,
            Some(self.interest_rate),
        );
        faults.extend(floor_fault(self.overdraft_limit, self.minimum_balance));
        let repeated = self.parties.iter().enumerate().any(|(at, party)| {
            party.customer_id == self.customer_id
                || self.parties[..at].iter().any(|other| other.customer_id == party.customer_id)
        });
        if repeated {
            faults.push(fault("parties", "duplicate_party", "A customer can be one party only"));
        }
        if self.parties.iter().any(|party| party.party_role == PartyRole::Owner) {
            faults.push(fault("parties", "second_owner", "customer_id names the one owner"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::validation(faults)) }
    }
}

/// An account on its way into the tables: [`super::store`].
#[derive(Clone, Debug)]
pub struct Opening {
    /// What to open; [`NewAccount::check`] has passed.
    pub account: NewAccount,
    /// The business day of the opening; may lie in the past for imported accounts.
    pub opened_date: Date,
    /// Kept from another system; none draws one with check digits.
    pub account_number: Option<String>,
}

/// What may be changed of an account; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountChange {
    /// How far below zero it may go, minor units.
    pub overdraft_limit: Option<i64>,
    /// What must stay on it; `Some(None)` removes the minimum.
    pub minimum_balance: Option<Option<i64>>,
    /// Percent a year.
    pub interest_rate: Option<Decimal>,
    /// Frozen or active again; closing is a command of its own.
    pub status: Option<AccountStatus>,
}

impl AccountChange {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let minimum = self.minimum_balance.flatten();
        let mut faults = settings_faults(self.overdraft_limit, minimum, self.interest_rate);
        if self.status == Some(AccountStatus::Closed) {
            faults.push(fault("status", "invalid_transition", "Accounts are closed by DELETE"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::validation(faults)) }
    }

    /// The ledger account with this change, or why it cannot have it.
    pub(crate) fn applied_to(
        &self,
        account: &ledger::AccountState,
    ) -> Result<ledger::AccountState, Refusal> {
        let status = self.status.unwrap_or(account.status);
        let stays_open = status == account.status && status != AccountStatus::Closed;
        if !stays_open && !account.status.may_become(status) {
            return Err(account_closed());
        }
        let mut next = account.clone();
        next.overdraft_limit = self.overdraft_limit.unwrap_or(account.overdraft_limit);
        next.minimum_balance = self.minimum_balance.unwrap_or(account.minimum_balance);
        next.status = status;
        if let Some(fault) = floor_fault(next.overdraft_limit, next.minimum_balance) {
            return Err(Refusal::validation(vec![fault]));
        }
        check_overdraft(account, &next)?;
        Ok(next)
    }
}

/// A limit is not taken from under an overdraft in use, held amounts included: the bank
/// lowers it to what is used, and no account is ever beyond its limit by our doing. One
/// that is there already (imported history) keeps its other settings changeable.
fn check_overdraft(now: &ledger::AccountState, next: &ledger::AccountState) -> Result<(), Refusal> {
    let lowered = next.overdraft_limit < now.overdraft_limit;
    // No overflow: all three lie within ± 2^53.
    if lowered && now.balance - now.held < -next.overdraft_limit {
        let detail = "More of the overdraft is in use or held than the new limit allows";
        return Err(Refusal::rule("overdraft_in_use", "overdraft_limit", detail));
    }
    Ok(())
}

/// The account is closed and takes no change.
pub(crate) fn account_closed() -> Refusal {
    Refusal::new(RefusalKind::Rule, "account_closed", "The account is closed")
}

fn settings_faults(
    overdraft_limit: Option<i64>,
    minimum_balance: Option<i64>,
    interest_rate: Option<Decimal>,
) -> Vec<FieldError> {
    let out_of_range =
        |amount: Option<i64>| amount.is_some_and(|amount| !(0..=AMOUNT_MAX).contains(&amount));
    // Below zero the customer would pay for its balance: no product of ours does that.
    let wrong_rate = |rate: Decimal| {
        !(Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate) || rate.normalize().scale() > 6
    };
    let amount_message = "Must be 0 to 2^53 - 1 minor units";
    [
        out_of_range(overdraft_limit)
            .then(|| fault("overdraft_limit", "out_of_range", amount_message)),
        out_of_range(minimum_balance)
            .then(|| fault("minimum_balance", "out_of_range", amount_message)),
        interest_rate.is_some_and(wrong_rate).then(|| {
            fault("interest_rate", "out_of_range", "Must be 0 to 100 with at most six decimals")
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn floor_fault(overdraft_limit: i64, minimum_balance: Option<i64>) -> Option<FieldError> {
    let both = minimum_balance.is_some() && overdraft_limit > 0;
    both.then(|| {
        fault("minimum_balance", "excludes_overdraft", "A minimum balance excludes an overdraft")
    })
}

#[cfg(test)]
mod tests {
    use ledger::AccountStatus;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::{AccountChange, NewAccount, Party, PartyRole};

    fn plain() -> NewAccount {
        NewAccount::plain(Uuid::from_u128(1), "EUR".parse().unwrap())
    }

    #[test]
    fn new_accounts_are_checked() {
        let joint = |id, party_role| Party { customer_id: Uuid::from_u128(id), party_role };
        let rate = |text: &str| text.parse::<Decimal>().unwrap();
        let table: [(&str, NewAccount, Option<&str>); 11] = [
            ("plain", plain(), None),
            ("overdraft", NewAccount { overdraft_limit: 500, ..plain() }, None),
            (
                "negative overdraft",
                NewAccount { overdraft_limit: -1, ..plain() },
                Some("out_of_range"),
            ),
            (
                "huge overdraft",
                NewAccount { overdraft_limit: 1 << 53, ..plain() },
                Some("out_of_range"),
            ),
            (
                "both floors",
                NewAccount { overdraft_limit: 1, minimum_balance: Some(1), ..plain() },
                Some("excludes_overdraft"),
            ),
            (
                "fine rate",
                NewAccount { interest_rate: rate("4.1234567"), ..plain() },
                Some("out_of_range"),
            ),
            (
                "negative rate",
                NewAccount { interest_rate: rate("-0.000001"), ..plain() },
                Some("out_of_range"),
            ),
            ("no rate", NewAccount { interest_rate: rate("-0"), ..plain() }, None),
            ("trailing zeros", NewAccount { interest_rate: rate("4.2500000000"), ..plain() }, None),
            (
                "owner twice",
                NewAccount { parties: vec![joint(1, PartyRole::Disponent)], ..plain() },
                Some("duplicate_party"),
            ),
            (
                "two owners",
                NewAccount { parties: vec![joint(2, PartyRole::Owner)], ..plain() },
                Some("second_owner"),
            ),
        ];
        for (name, account, code) in table {
            let refused = account.check().err().map(|refusal| refusal.errors[0].code.clone());
            assert_eq!(refused.as_deref(), code, "{name}");
        }
    }

    #[test]
    fn a_change_cannot_close() {
        let change =
            AccountChange { status: Some(AccountStatus::Closed), ..AccountChange::default() };
        assert!(change.check().is_err());
    }

    #[test]
    fn a_limit_is_not_taken_from_under_an_overdraft() {
        let account = |balance, held, overdraft_limit| ledger::AccountState {
            id: Uuid::from_u128(1),
            class: ledger::model::AccountClass::Customer,
            currency: "EUR".parse().unwrap(),
            balance,
            held,
            overdraft_limit,
            minimum_balance: None,
            status: AccountStatus::Active,
            entry_count: 0,
            version: 1,
        };
        // balance, held, limit now, limit wanted, whether it may be
        let table = [
            (-300, 0, 500, 300, true),
            (-300, 0, 500, 299, false),
            (-300, 0, 500, 0, false),
            (-300, 0, 500, 900, true),
            (-200, 100, 500, 300, true),
            (-200, 100, 500, 299, false),
            (100, 0, 500, 0, true),
            (100, 101, 500, 0, false),
            // Beyond it already: not by a limit that was lowered.
            (-300, 0, 100, 100, true),
            (-300, 0, 100, 200, true),
        ];
        for (balance, held, limit, wanted, good) in table {
            let change =
                AccountChange { overdraft_limit: Some(wanted), ..AccountChange::default() };
            let next = change.applied_to(&account(balance, held, limit));
            let code = next.err().map(|refusal| refusal.code.to_string());
            let expected = (!good).then(|| "overdraft_in_use".to_owned());
            assert_eq!(code, expected, "{balance} {held} {limit} {wanted}");
        }
    }

    #[test]
    fn a_change_takes_no_negative_rate() {
        let change = AccountChange {
            interest_rate: Some("-1".parse().unwrap()),
            ..AccountChange::default()
        };
        assert_eq!(change.check().unwrap_err().errors[0].field, "interest_rate");
    }
}
