//! The range of amounts, and decimal text to minor units and back.

/// The largest amount, in minor units: what every JSON reader holds exactly (RFC 7493).
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// Why a text or a sum is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a decimal number: digits, at most one point, perhaps a sign.
    #[error("{0:?} is not a decimal number")]
    NotANumber(String),
    /// More decimal places than the currency has.
    #[error("{text:?} has more than {exponent} decimal places")]
    TooPrecise {
        /// The text.
        text: String,
        /// Decimal places of the currency.
        exponent: u32,
    },
    /// Beyond ±(2^53 − 1) minor units.
    #[error("beyond 2^53 - 1 minor units")]
    OutOfRange,
}

/// Minor units of a decimal text, exactly. Zeros beyond the currency's places are
/// no loss and are accepted.
pub fn parse_minor(text: &str, exponent: u32) -> Result<i64, AmountError> {
    let not_a_number = || AmountError::NotANumber(text.to_owned());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let point_without_digits = unsigned.ends_with('.');
    if whole.is_empty() || point_without_digits || !all_digits(whole) || !all_digits(fraction) {
        return Err(not_a_number());
    }
    let places = usize::try_from(exponent).map_err(|_| not_a_number())?;
    let (kept, beyond) = fraction.split_at(fraction.len().min(places));
    if beyond.bytes().any(|digit| digit != b'0') {
        return Err(AmountError::TooPrecise { text: text.to_owned(), exponent });
    }
    let digits = format!("{whole}{kept:0<places$}");
    let minor: i64 = digits.parse().map_err(|_| AmountError::OutOfRange)?;
    if minor > AMOUNT_MAX {
        return Err(AmountError::OutOfRange);
    }
    Ok(if text.starts_with('-') { -minor } else { minor })
}

/// Decimal text of minor units, with exactly the currency's places.
pub fn format_minor(minor: i64, exponent: u32) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let places = usize::try_from(exponent).unwrap_or(0);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A sum that stays within the range of amounts.
pub fn checked_add(left: i64, right: i64) -> Result<i64, AmountError> {
    left.checked_add(right)
        .filter(|sum| (-AMOUNT_MAX..=AMOUNT_MAX).contains(sum))
        .ok_or(AmountError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AMOUNT_MAX, AmountError, checked_add, format_minor, parse_minor};

    #[test]
    fn decimal_text_is_read_exactly_or_refused() {
        let accepted = [
            ("700.00", 2, 70_000),
            ("0.1", 2, 10),
            ("-5446.6", 2, -544_660),
            ("+1", 0, 1),
            ("1.50", 1, 15),
            ("1000", 3, 1_000_000),
            ("90071992547409.91", 2, AMOUNT_MAX),
        ];
        for (text, exponent, minor) in accepted {
            assert_eq!(parse_minor(text, exponent), Ok(minor), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-", "1e3", "1,5", "--1", "1.2.3", " 1", "٣", "NaN"] {
            assert!(matches!(parse_minor(text, 2), Err(AmountError::NotANumber(_))), "{text}");
        }
        assert!(matches!(parse_minor("0.001", 2), Err(AmountError::TooPrecise { .. })));
        assert_eq!(parse_minor("90071992547409.92", 2), Err(AmountError::OutOfRange));
        assert_eq!(parse_minor("99999999999999999999", 2), Err(AmountError::OutOfRange));
    }

    #[test]
    fn sums_stay_within_range() {
        assert_eq!(checked_add(1, 2), Ok(3));
        assert_eq!(checked_add(AMOUNT_MAX, 1), Err(AmountError::OutOfRange));
        assert_eq!(checked_add(-AMOUNT_MAX, -1), Err(AmountError::OutOfRange));
        assert_eq!(checked_add(i64::MAX, i64::MAX), Err(AmountError::OutOfRange));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(minor in -AMOUNT_MAX..=AMOUNT_MAX, exponent in 0_u32..=4) {
            prop_assert_eq!(parse_minor(&format_minor(minor, exponent), exponent), Ok(minor));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_minor(&text, 2);
        }
    }
}
