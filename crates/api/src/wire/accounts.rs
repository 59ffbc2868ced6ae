//! Accounts, their entries and balances on the wire. Amounts are integers in minor
//! units, rates decimal strings.

use banking::{
    Account as Stored, AccountChange, AccountStatus, AccountType, Balance as StoredBalance,
    NewAccount, Party, PartyRole, Transaction as StoredTransaction,
};
use money::Currency;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_DATE, EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::{openapi_parts::Example, problem::Problem};

/// A savings account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: Uuid,
    /// Unique in the tenant, with check digits.
    pub(crate) account_number: String,
    /// The owner.
    pub(crate) customer_id: Uuid,
    /// `savings`, `checking` or `business`.
    pub(crate) account_type: String,
    /// ISO 4217.
    pub(crate) currency: String,
    /// Sum of its entries, minor units.
    pub(crate) balance: i64,
    /// What can be taken out now, minor units.
    pub(crate) available_balance: i64,
    /// How far below zero it may go, minor units.
    pub(crate) overdraft_limit: i64,
    /// What must stay on it, minor units.
    pub(crate) minimum_balance: Option<i64>,
    /// Percent a year, a decimal string.
    pub(crate) interest_rate: String,
    /// `active`, `frozen` or `closed`.
    pub(crate) status: String,
    /// The business day on which it was opened.
    pub(crate) opened_date: String,
    /// The business day on which it was closed.
    pub(crate) closed_date: Option<String>,
    /// Counts changes of its settings; its `ETag`.
    pub(crate) version: i64,
    /// When it was made.
    pub(crate) created_at: String,
    /// When it last changed.
    pub(crate) updated_at: String,
}

impl From<Stored> for Account {
    fn from(account: Stored) -> Self {
        Self {
            id: account.id,
            account_number: account.account_number,
            customer_id: account.customer_id,
            account_type: account.account_type.to_string(),
            currency: account.currency.to_string(),
            balance: account.balance,
            available_balance: account.available_balance,
            overdraft_limit: account.overdraft_limit,
            minimum_balance: account.minimum_balance,
            interest_rate: account.interest_rate.to_string(),
            status: account.status.to_string(),
            opened_date: account.opened_date.to_string(),
            closed_date: account.closed_date.map(|date| date.to_string()),
            version: account.version,
            created_at: instant(account.created_at),
            updated_at: instant(account.updated_at),
        }
    }
}

impl Example for Account {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            account_number: "402716859384".to_owned(),
            customer_id: OTHER_ID,
            account_type: "savings".to_owned(),
            currency: "EUR".to_owned(),
            balance: 125_000,
            available_balance: 125_000,
            overdraft_limit: 0,
            minimum_balance: None,
            interest_rate: "4.25".to_owned(),
            status: "active".to_owned(),
            opened_date: EXAMPLE_DATE.to_owned(),
            closed_date: None,
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// An account to be opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAccount {
    /// The owner.
    customer_id: Uuid,
    /// `savings`, `checking` or `business`; savings where absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    account_type: Option<AccountType>,
    /// ISO 4217.
    currency: String,
    /// Percent a year, a decimal string; 0 where absent.
    #[serde(default)]
    interest_rate: Option<String>,
    /// Minor units; 0 where absent.
    #[serde(default)]
    overdraft_limit: i64,
    /// Minor units; excludes an overdraft.
    #[serde(default)]
    minimum_balance: Option<i64>,
    /// Joint owners and disponents.
    #[serde(default)]
    parties: Vec<AccountParty>,
}

/// Somebody's part in an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountParty {
    /// Who.
    customer_id: Uuid,
    /// `joint_owner` or `disponent`.
    #[schema(value_type = String)]
    party_role: PartyRole,
}

impl OpenAccount {
    pub(crate) fn checked(self) -> Result<NewAccount, Problem> {
        let party = |party: AccountParty| Party {
            customer_id: party.customer_id,
            party_role: party.party_role,
        };
        let plain = NewAccount::plain(self.customer_id, currency(&self.currency)?);
        Ok(NewAccount {
            account_type: self.account_type.unwrap_or(plain.account_type),
            interest_rate: rate(self.interest_rate.as_deref())?.unwrap_or(plain.interest_rate),
            overdraft_limit: self.overdraft_limit,
            minimum_balance: self.minimum_balance,
            parties: self.parties.into_iter().map(party).collect(),
            ..plain
        })
    }
}

/// What may be changed of an account; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeAccount {
    /// `frozen` or `active`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    status: Option<AccountStatus>,
    /// Minor units.
    #[serde(default)]
    overdraft_limit: Option<i64>,
    /// Minor units; null removes the minimum.
    #[serde(default, deserialize_with = "super::present")]
    #[schema(value_type = Option<i64>)]
    minimum_balance: Option<Option<i64>>,
    /// Percent a year, a decimal string.
    #[serde(default)]
    interest_rate: Option<String>,
}

impl ChangeAccount {
    pub(crate) fn checked(self) -> Result<AccountChange, Problem> {
        Ok(AccountChange {
            overdraft_limit: self.overdraft_limit,
            minimum_balance: self.minimum_balance,
            interest_rate: rate(self.interest_rate.as_deref())?,
            status: self.status,
        })
    }
}

/// A currency by its code.
pub(crate) fn currency(code: &str) -> Result<Currency, Problem> {
    let message = "Expected the code of an ISO 4217 currency";
    code.parse().map_err(|_| Problem::malformed_field("currency", "invalid_value", message))
}

fn rate(text: Option<&str>) -> Result<Option<rust_decimal::Decimal>, Problem> {
    let message = "Expected a decimal number as text, such as \"4.25\"";
    let wrong = |_| Problem::malformed_field("interest_rate", "invalid_value", message);
    text.map(str::parse).transpose().map_err(wrong)
}

/// An entry of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transaction {
    /// Its id.
    pub(crate) id: Uuid,
    /// The account it stands in.
    pub(crate) account_id: Uuid,
    /// The movement it is a side of.
    pub(crate) transfer_id: Uuid,
    /// Its place in the account's history, from 1 without gaps.
    pub(crate) account_sequence: i64,
    /// `transfer_in`, `transfer_out`, `deposit`, `withdrawal`, `fee`, `interest` or `reversal`.
    pub(crate) transaction_type: String,
    /// Minor units; positive is in, negative is out.
    pub(crate) amount: i64,
    /// The balance behind it, minor units.
    pub(crate) balance_after: i64,
    /// Text on the statement.
    pub(crate) description: String,
    /// The payer's reference.
    pub(crate) reference: Option<String>,
    /// The value date.
    pub(crate) transaction_date: String,
    /// When it was posted.
    pub(crate) posted_date: String,
    /// `posted`.
    pub(crate) status: String,
    /// When it was stored.
    pub(crate) created_at: String,
}

impl From<StoredTransaction> for Transaction {
    fn from(entry: StoredTransaction) -> Self {
        Self {
            id: entry.id,
            account_id: entry.account_id,
            transfer_id: entry.transfer_id,
            account_sequence: entry.account_sequence,
            transaction_type: entry.transaction_type.to_string(),
            amount: entry.amount,
            balance_after: entry.balance_after,
            description: entry.description,
            reference: entry.reference,
            transaction_date: entry.transaction_date.to_string(),
            posted_date: instant(entry.posted_date),
            status: entry.status,
            created_at: instant(entry.created_at),
        }
    }
}

impl Example for Transaction {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            account_id: OTHER_ID,
            transfer_id: EXAMPLE_ID,
            account_sequence: 7,
            transaction_type: "transfer_out".to_owned(),
            amount: -2_500,
            balance_after: 122_500,
            description: "Rent".to_owned(),
            reference: None,
            transaction_date: EXAMPLE_DATE.to_owned(),
            posted_date: EXAMPLE_INSTANT.to_owned(),
            status: "posted".to_owned(),
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// An account's balance at the end of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Balance {
    /// The account.
    pub(crate) account_id: Uuid,
    /// ISO 4217.
    pub(crate) currency: String,
    /// The day.
    pub(crate) as_of: String,
    /// Sum of the entries with a value date up to that day, minor units.
    pub(crate) balance: i64,
}

impl From<StoredBalance> for Balance {
    fn from(balance: StoredBalance) -> Self {
        Self {
            account_id: balance.account_id,
            currency: balance.currency.to_string(),
            as_of: balance.date.to_string(),
            balance: balance.balance,
        }
    }
}

impl Example for Balance {
    fn example() -> Self {
        Self {
            account_id: EXAMPLE_ID,
            currency: "EUR".to_owned(),
            as_of: EXAMPLE_DATE.to_owned(),
            balance: 122_500,
        }
    }
}
