//! Currencies of ISO 4217.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::{self, AmountError};

/// A currency with its number of decimal places. The wire form is the code, `EUR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// A code that ISO 4217 does not list, or that has no minor unit (gold, testing).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ISO 4217 currency")]
pub struct CurrencyError(String);

impl Currency {
    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimal places of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// Minor units of a decimal text.
    pub fn parse_minor(self, text: &str) -> Result<i64, AmountError> {
        amount::parse_minor(text, self.exponent())
    }

    /// Decimal text of minor units, without the code.
    pub fn format_minor(self, minor: i64) -> String {
        amount::format_minor(minor, self.exponent())
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| CurrencyError(code.to_owned()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Currency;

    #[test]
    fn codes_and_places_are_those_of_iso_4217() {
        for (code, exponent) in [("EUR", 2), ("CZK", 2), ("JPY", 0), ("KWD", 3)] {
            assert_eq!(code.parse().map(Currency::exponent), Ok(exponent), "{code}");
        }
        for code in ["eur", "EURO", "", "ZZZ", "XAU"] {
            assert!(code.parse::<Currency>().is_err(), "{code}");
        }
    }
}
