//! Rounding of exact decimals to minor units.

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};

use crate::amount::{AMOUNT_MAX, AmountError};

/// Minor units of an exact decimal of minor units, half to even (banker's rounding).
pub fn half_even(minor: Decimal) -> Result<i64, AmountError> {
    minor
        .round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven)
        .to_i64()
        .filter(|value| (-AMOUNT_MAX..=AMOUNT_MAX).contains(value))
        .ok_or(AmountError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::half_even;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        // tenths of a minor unit, rounded
        for (tenths, rounded) in [(25, 2), (35, 4), (-25, -2), (-35, -4), (24, 2), (26, 3), (0, 0)]
        {
            assert_eq!(half_even(Decimal::new(tenths, 1)), Ok(rounded), "{tenths}");
        }
        assert!(half_even(Decimal::MAX).is_err());
    }
}
