//! Quotients of decimals, rounded as PostgreSQL rounds them.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, i256};

/// How many digits after the point PostgreSQL gives a quotient from 1 to 10,000 (`select_div_scale` of its `numeric.c`).
const SCALE_MIN: i8 = 16;

/// The type of a quotient, or an average, of decimals with so many digits after the point: as many as PostgreSQL gives from 1 to
/// 10,000, or those that there are where they are more.
pub fn quotient_type(scale: i8) -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.max(SCALE_MIN))
}

/// `dividend / divisor`, rounded half away from zero; `None` when the divisor is zero, or where an end of 256 bits is near.
pub fn rounded_quotient(dividend: i256, divisor: i256) -> Option<i256> {
    if let (Some(dividend), Some(divisor)) = (dividend.to_i128(), divisor.to_i128())
        && let Some(quotient) = rounded(dividend, divisor)
    {
        return Some(i256::from_i128(quotient));
    }
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    // What is left over is less than the divisor.
    let is_half = rest.checked_abs()?.checked_mul(i256::from_i128(2))? >= divisor.checked_abs()?;
    let away = if (dividend < i256::ZERO) == (divisor < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    if is_half { quotient.checked_add(away) } else { Some(quotient) }
}

/// The same in 128 bits, which is faster; `None` where they are too few.
fn rounded(dividend: i128, divisor: i128) -> Option<i128> {
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    let is_half = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
    let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
    if is_half { quotient.checked_add(away) } else { Some(quotient) }
}

#[cfg(test)]
mod tests {
    //! Both ways to compute give the same.

    use arrow::datatypes::i256;

    use super::{rounded, rounded_quotient};

    #[test]
    fn a_quotient_is_rounded_half_away_from_zero() {
        let large = i256::from_i128(i128::MAX).checked_mul(i256::from_i128(1_000)).unwrap();
        for (dividend, divisor, expected) in [
            (7, 2, 4),
            (-7, 2, -4),
            (7, -2, -4),
            (-7, -2, 4),
            (5, 3, 2),
            (4, 3, 1),
            (-4, 3, -1),
            (1, 3, 0),
            (-1, 3, 0),
            (0, 5, 0),
            (i128::MAX, 1, i128::MAX),
            (i128::MAX, i128::MAX, 1),
            (i128::MAX - 1, i128::MIN, -1),
            (i128::MIN, i128::MAX, -1),
        ] {
            assert_eq!(rounded(dividend, divisor), Some(expected), "{dividend} / {divisor}");
            let wide = [dividend, divisor].map(i256::from_i128);
            assert_eq!(rounded_quotient(wide[0], wide[1]), Some(i256::from_i128(expected)), "{dividend} / {divisor}");
            // By the wide way: both a thousand times as large.
            let scaled = wide.map(|number| number.checked_mul(large));
            if let [Some(dividend), Some(divisor)] = scaled {
                assert_eq!(rounded_quotient(dividend, divisor), Some(i256::from_i128(expected)));
            }
        }
        assert_eq!(rounded_quotient(i256::ONE, i256::ZERO), None);
        assert_eq!(
            rounded_quotient(i256::from_i128(i128::MIN), i256::MINUS_ONE),
            i256::from_i128(i128::MIN).checked_neg()
        );
    }
}
