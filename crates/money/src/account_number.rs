//! Account numbers with check digits: ISO/IEC 7064 MOD 97-10, as in IBANs, over
//! ten random digits. Two check digits catch every single wrong digit and every
//! swap of neighbours, and 98 of 99 other slips.

use std::{fmt, str::FromStr};

/// Digits before the check digits.
const BODY_DIGITS: usize = 10;
/// The whole number's length.
const DIGITS: usize = BODY_DIGITS + 2;

/// Twelve digits, the last two of which check the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountNumber(String);

/// Why a text is no account number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountNumberError {
    /// Not twelve digits.
    #[error("an account number has 12 digits")]
    Form,
    /// The check digits do not fit: mistyped.
    #[error("the check digits of the account number do not fit")]
    CheckDigits,
}

impl AccountNumber {
    /// The number with this body; only its last ten digits count. Bodies come from
    /// a cryptographic source, so that numbers cannot be guessed in a row.
    pub fn from_body(body: u64) -> Self {
        let body = body % 10_u64.pow(10);
        let check = 98 - (body * 100) % 97;
        Self(format!("{body:010}{check:02}"))
    }

    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountNumber {
    type Err = AccountNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AccountNumberError::Form);
        }
        let number: u64 = text.parse().map_err(|_| AccountNumberError::Form)?;
        if number % 97 == 1 {
            Ok(Self(text.to_owned()))
        } else {
            Err(AccountNumberError::CheckDigits)
        }
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AccountNumber, AccountNumberError};

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "12345678901", "1234567890123", "12345678901a", "１２３４５６７８９０１２"]
        {
            assert_eq!(text.parse::<AccountNumber>(), Err(AccountNumberError::Form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_made_number_is_valid(body: u64) {
            let number = AccountNumber::from_body(body);
            prop_assert_eq!(number.as_str().parse(), Ok(number.clone()));
        }

        #[test]
        fn every_wrong_digit_and_swapped_pair_is_caught(body: u64, at in 0_usize..12, digit in 0_u8..10) {
            let number = AccountNumber::from_body(body);
            let mut wrong = number.as_str().as_bytes().to_vec();
            wrong[at] = b'0' + digit;
            if wrong != number.as_str().as_bytes() {
                let text = String::from_utf8_lossy(&wrong).into_owned();
                prop_assert_eq!(text.parse::<AccountNumber>(), Err(AccountNumberError::CheckDigits));
            }
            let mut swapped = number.as_str().as_bytes().to_vec();
            if at + 1 < swapped.len() && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                let text = String::from_utf8_lossy(&swapped).into_owned();
                prop_assert_eq!(text.parse::<AccountNumber>(), Err(AccountNumberError::CheckDigits));
            }
        }
    }
}
