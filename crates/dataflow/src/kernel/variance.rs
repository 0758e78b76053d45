//! `var_pop`, `var_samp`, `stddev_pop` and `stddev_samp` of floats: from the exact sums of the values and of their squares, rounded
//! once.
//!
//! A square has twice the digits of its value: it is added as two doubles, the square rounded and what rounding took. Where a value
//! is so large or so small that these would not be doubles, it is scaled by a power of two first, and its square goes to a sum of
//! its own.
//!
//! What must hold: the result depends on the values alone, in any order, split and retraction; it is the double nearest to the
//! variance, and the root of that.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryArray, Float64Array},
    datatypes::{DataType, Field},
};
use num_bigint::{BigInt, BigUint, Sign};

use super::{
    Input, Kernel, column,
    count::{add_counts, counts_of},
    downcast, for_each, shape,
    total::Total as _,
};
use crate::{
    error::Result,
    exact_sum::{ExactSum, UNIT_EXPONENT},
};

/// Values are squared as they are from here to there, and else scaled: their squares, and what rounding takes of those, are
/// doubles then.
const LEAST: f64 = f64::from_bits((1023 - 450) << 52);
const GREATEST: f64 = f64::from_bits((1023 + 500) << 52);
/// The power of two by which small values are multiplied and large ones divided.
const SCALE: i64 = 600;

/// The sums of a group.
#[derive(Clone, Default)]
struct Sums {
    values: ExactSum,
    squares: ExactSum,
    /// Of values below [`LEAST`], scaled up.
    small_squares: ExactSum,
    /// Of values above [`GREATEST`], scaled down.
    large_squares: ExactSum,
}

/// Whether the values are all there are, or some of more, and whether the root is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) is_sample: bool,
    pub(super) is_root: bool,
}

/// The kernel.
pub(super) struct Variance {
    form: Form,
    counts: Vec<i64>,
    sums: Vec<Sums>,
}

impl Variance {
    pub(super) fn new(form: Form) -> Self {
        Self { form, counts: Vec::new(), sums: Vec::new() }
    }

    /// The fields of its state.
    pub(super) fn fields(field: impl Fn(&str, DataType) -> Field) -> Vec<Field> {
        let sum = |name| field(name, ExactSum::STATE);
        vec![
            field("count", DataType::Int64),
            sum("exact_sum"),
            sum("exact_squares"),
            sum("exact_small_squares"),
            sum("exact_large_squares"),
        ]
    }

    fn value(&self, group: usize) -> Option<f64> {
        let count = self.counts[group];
        let divisor = count - i64::from(self.form.is_sample);
        if count <= 0 || divisor <= 0 {
            return None;
        }
        let variance = self.sums[group].variance(count, divisor).unwrap_or(f64::NAN);
        Some(if self.form.is_root { variance.sqrt() } else { variance })
    }
}

impl Sums {
    fn add(&mut self, value: f64, weight: i64) {
        self.values.add(value, weight);
        let magnitude = value.abs();
        let (squares, value) = if !value.is_finite() || (LEAST..=GREATEST).contains(&magnitude) || value == 0.0 {
            (&mut self.squares, value)
        } else if magnitude < LEAST {
            (&mut self.small_squares, value * power_of_two(SCALE))
        } else {
            (&mut self.large_squares, value * power_of_two(-SCALE))
        };
        let square = value * value;
        squares.add(square, weight);
        if square.is_finite() {
            squares.add(value.mul_add(value, -square), weight);
        }
    }

    fn all_mut(&mut self) -> [&mut ExactSum; 4] {
        [&mut self.values, &mut self.squares, &mut self.small_squares, &mut self.large_squares]
    }

    fn all(&self) -> [&ExactSum; 4] {
        [&self.values, &self.squares, &self.small_squares, &self.large_squares]
    }

    /// (count * sum of squares - square of the sum) / (count * divisor); `None` where a value is not finite.
    fn variance(&self, count: i64, divisor: i64) -> Option<f64> {
        // All in units of the square of the sum's unit, and of the small squares' scale.
        let unit = 2 * UNIT_EXPONENT - 2 * SCALE;
        let at = |sum: &ExactSum, exponent: i64| Some(sum.to_integer()? << u64::try_from(exponent - unit).ok()?);
        let squares = at(&self.squares, UNIT_EXPONENT)?
            + at(&self.small_squares, UNIT_EXPONENT - 2 * SCALE)?
            + at(&self.large_squares, UNIT_EXPONENT + 2 * SCALE)?;
        let sum = self.values.to_integer()?;
        let square = (&sum * &sum) << u64::try_from(2 * SCALE).ok()?;
        let difference: BigInt = squares * count - square;
        // The squares of what was taken back are gone with it, so that nothing is left below 0.
        let (sign, difference) = difference.into_parts();
        if sign != Sign::Plus {
            return Some(0.0);
        }
        let by = BigUint::from(count.unsigned_abs()) * BigUint::from(divisor.unsigned_abs());
        Some(nearest(&difference, &by, unit))
    }
}

/// The double nearest to `dividend / divisor * 2^exponent`, ties to even.
fn nearest(dividend: &BigUint, divisor: &BigUint, exponent: i64) -> f64 {
    // So many digits that the quotient has more than a double, and the last one says whether more follow.
    const DIGITS: u64 = 66;
    let more = (DIGITS + divisor.bits()).saturating_sub(dividend.bits());
    let dividend = dividend << more;
    let mut quotient = &dividend / divisor;
    if &quotient * divisor != dividend {
        quotient.set_bit(0, true);
    }
    let exponent = exponent - i64::try_from(more).unwrap_or(i64::MAX);
    let bits = i64::try_from(quotient.bits()).unwrap_or(i64::MAX);
    // How many digits a double has there: 53, or fewer near 0.
    let lowest = (bits + exponent - 53).max(UNIT_EXPONENT);
    let dropped = lowest - exponent;
    let (kept, exponent) = match u64::try_from(dropped) {
        Ok(dropped) if dropped > 0 => {
            let half = BigUint::from(1_u8) << (dropped - 1);
            let mut kept = &quotient >> dropped;
            let rest = &quotient - (&kept << dropped);
            if rest > half || (rest == half && kept.bit(0)) {
                kept += 1_u8;
            }
            (kept, lowest)
        }
        _ => (quotient, exponent),
    };
    let mantissa = kept.iter_u64_digits().next().unwrap_or(0);
    // In two steps, of which the first is exact: a power below the smallest double is none.
    let half = exponent / 2;
    mantissa as f64 * power_of_two(half) * power_of_two(exponent - half)
}

/// Powers of two from 2^-1022 to 2^1023; beyond, what they round to.
fn power_of_two(exponent: i64) -> f64 {
    2_f64.powi(i32::try_from(exponent).unwrap_or(if exponent < 0 { i32::MIN } else { i32::MAX }))
}

impl Kernel for Variance {
    fn resize(&mut self, group_count: usize) {
        self.counts.resize(group_count, 0);
        self.sums.resize(group_count, Sums::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let values = downcast::<Float64Array>(input.values()?)?.values();
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            self.sums[group].add(values[row], weight);
            self.counts[group] += weight;
        });
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.counts[group] = 0;
        self.sums[group] = Sums::default();
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = vec![counts_of(&self.counts, groups)];
        for number in 0..4 {
            let bytes = groups.iter().map(|group| self.sums[*group as usize].all()[number].to_bytes());
            columns.push(Arc::new(BinaryArray::from_iter_values(bytes)));
        }
        Ok(columns)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        add_counts(&mut self.counts, groups, column(state, 0)?)?;
        for number in 0..4 {
            let sums: &BinaryArray = downcast(column(state, number + 1)?)?;
            for (group, bytes) in groups.iter().zip(sums.iter()) {
                let Some(bytes) = bytes else { continue };
                let sum = ExactSum::from_bytes(bytes).map_err(shape)?;
                self.sums[*group as usize].all_mut()[number].merge(&sum);
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(groups.iter().map(|group| self.value(*group as usize)).collect::<Float64Array>()))
    }

    fn memory_bytes(&self) -> usize {
        let heap = self.sums.iter().flat_map(Sums::all).map(ExactSum::heap_bytes).sum::<usize>();
        self.counts.capacity() * size_of::<i64>() + self.sums.capacity() * size_of::<Sums>() + heap
    }
}

#[cfg(test)]
mod tests;
