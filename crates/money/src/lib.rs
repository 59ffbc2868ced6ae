//! Money as integers: amounts in minor units, currencies, rounding, and the check
//! digits of account numbers. Pure: no I/O, no clock, no floats.
//!
//! It refuses to know accounts, ledgers and tenants.

pub mod account_number;
pub mod amount;
pub mod currency;
pub mod rounding;

pub use account_number::AccountNumber;
pub use amount::{AMOUNT_MAX, AmountError};
pub use currency::{Currency, CurrencyError};
