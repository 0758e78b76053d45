//! Averages of exact totals: rounded once.

use arrow::datatypes::{DataType, i256};

use super::shape;
use crate::error::Result;

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

/// An average of decimals, with up to four more digits after the point, cut off as DataFusion does; `None` when it is
/// larger than any decimal.
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
        let average = total.checked_mul(factor)?.checked_div(i256::from_i128(i128::from(count)))?;
        average.to_i128()
    })
}

#[cfg(test)]
mod tests {
    //! Averages that floats alone would get wrong.

    use super::of_integers;

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
