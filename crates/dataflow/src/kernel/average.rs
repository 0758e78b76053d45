//! Averages of exact totals: rounded once.

use arrow::datatypes::{DataType, i256};

use super::shape;
use crate::{error::Result, quotient::rounded_quotient};

/// The float nearest to `total / count`; the count is not 0.
pub(super) fn of_integers(total: i128, count: i64) -> f64 {
    let (dividend, divisor) = (total.unsigned_abs(), u128::from(count.unsigned_abs()));
    // As many digits as there is room for, so that the quotient has more than a float; the last one says whether more
    // follow.
    let shift = dividend.leading_zeros();
    let dividend = dividend.checked_shl(shift).unwrap_or(0);
    let quotient = (dividend / divisor) | u128::from(dividend % divisor != 0);
    // Both are exact: the power of two, and a change of sign.
    let magnitude = quotient as f64 * 2_f64.powi(-i32::try_from(shift).unwrap_or(0));
    if (total < 0) == (count < 0) { magnitude } else { -magnitude }
}

/// An average of decimals, rounded half away from zero; `None` when it is larger than any decimal.
pub(super) fn of_decimals(
    scale: i8,
    output: &DataType,
) -> Result<impl Fn(&i256, i64) -> Option<i128> + Send + Sync + use<>> {
    let DataType::Decimal128(_, output_scale) = output else {
        return Err(shape(format!("an average of decimals is {output}")));
    };
    let digits = u32::try_from(i32::from(*output_scale) - i32::from(scale)).unwrap_or(0);
    let factor = i256::from_i128(10_i128.pow(digits));
    Ok(move |total: &i256, count: i64| {
        let rounded = rounded_quotient(total.checked_mul(factor)?, i256::from_i128(i128::from(count)))?;
        rounded.to_i128()
    })
}

#[cfg(test)]
mod tests {
    //! Averages that floats alone would get wrong.

    use arrow::datatypes::{DataType, i256};

    use super::{of_decimals, of_integers};
    use crate::quotient::quotient_type;

    #[test]
    fn an_average_of_decimals_has_the_digits_of_postgresql_and_is_rounded_half_away_from_zero() {
        // The columns: scale of the values, scale of their average; total, count, average.
        for (scale, average_scale, cases) in [
            (2, 16, &[(282_712, 7, "4038742857142857143"), (-282_712, 7, "-4038742857142857143")][..]),
            (0, 16, &[(1, 3, "3333333333333333"), (2, 3, "6666666666666667"), (6, 3, "20000000000000000")]),
            (15, 16, &[(1, 20, "1"), (-1, 20, "-1"), (1, 21, "0"), (0, 3, "0")]),
            (20, 20, &[(1, 2, "1"), (1, 3, "0"), (-3, 2, "-2")]),
            (38, 38, &[(5, 10, "1")]),
        ] {
            let output = quotient_type(scale);
            assert_eq!(output, DataType::Decimal128(38, average_scale));
            let average = of_decimals(scale, &output).unwrap();
            for (total, count, expected) in cases {
                let value = average(&i256::from_i128(*total), *count).unwrap();
                assert_eq!(value.to_string(), *expected, "{total} / {count} of scale {scale}");
            }
        }
        let average = of_decimals(0, &quotient_type(0)).unwrap();
        assert_eq!(average(&i256::MAX, 1), None);
    }

    #[test]
    fn an_average_of_integers_is_the_nearest_float() {
        let large = i128::from(i64::MAX);
        for (total, count, expected) in [
            (0, 3, 0.0),
            (1, 3, 1.0 / 3.0),
            (-7, 2, -3.5),
            (-7, -2, 3.5),
            (large * 2, 2, 9_223_372_036_854_775_807.0),
            // Half-way between two floats, and a little more: rounding the sum first would lose it.
            ((1 << 53) + 1, 1, 9_007_199_254_740_992.0),
            (((1 << 53) + 1) * 3 + 1, 3, 9_007_199_254_740_994.0),
            (i128::MAX, i64::MAX, i128::MAX as f64 / i64::MAX as f64),
        ] {
            assert_eq!(of_integers(total, count).to_bits(), f64::to_bits(expected), "{total} / {count}");
        }
    }
}
