//! `avg(x)`: an exact sum and a count, divided when read; the result types are DataFusion's. An average of decimals
//! that does not fit its type is NULL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Decimal128Array, Float64Array},
    datatypes::{DataType, i256},
};

use super::{
    Input, Kernel, shape,
    sum::{DecimalTotals, FloatTotals},
};
use crate::error::Result;

/// An average of floats (integers arrive as floats).
#[derive(Default)]
pub(super) struct FloatAverage {
    totals: FloatTotals,
}

impl Kernel for FloatAverage {
    fn resize(&mut self, group_count: usize) {
        self.totals.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.totals.update(input)
    }

    fn reset(&mut self, group: usize) {
        self.totals.reset(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.totals.state(groups))
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.totals.merge(groups, state)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let averages = groups.iter().map(|group| {
            let (sum, count) = (&self.totals.sums[*group as usize], self.totals.counts[*group as usize]);
            (count != 0).then(|| sum.value() / count as f64)
        });
        Ok(Arc::new(averages.collect::<Float64Array>()))
    }

    fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }
}

/// An average of decimals, with up to four more digits after the point, cut off as DataFusion does.
pub(super) struct DecimalAverage {
    sum_scale: i8,
    output: DataType,
    /// 10^(output precision).
    limit: u128,
    /// 10^(output scale - sum scale).
    factor: i256,
    totals: DecimalTotals,
}

impl DecimalAverage {
    pub(super) fn new(sum_scale: i8, output: &DataType) -> Result<Self> {
        let DataType::Decimal128(precision, scale) = output else {
            return Err(shape(format!("an average of decimals is {output}")));
        };
        let digits = u32::try_from(i32::from(*scale) - i32::from(sum_scale)).unwrap_or(0);
        Ok(Self {
            sum_scale,
            output: output.clone(),
            limit: 10_u128.pow(u32::from(*precision)),
            factor: i256::from_i128(10_i128.pow(digits)),
            totals: DecimalTotals::default(),
        })
    }

    /// `None` when it does not fit the output's type.
    fn average(&self, sum: i128, count: i64) -> Option<i128> {
        let scaled = i256::from_i128(sum).checked_mul(self.factor)?;
        let average = scaled.checked_div(i256::from_i128(i128::from(count)))?;
        average.to_i128().filter(|average| average.unsigned_abs() < self.limit)
    }
}

impl Kernel for DecimalAverage {
    fn resize(&mut self, group_count: usize) {
        self.totals.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.totals.update(input)
    }

    fn reset(&mut self, group: usize) {
        self.totals.reset(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.totals.state(self.sum_scale, groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.totals.merge(groups, state)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let averages = groups.iter().map(|group| {
            let (sum, count) = (self.totals.sums[*group as usize], self.totals.counts[*group as usize]);
            if count == 0 { None } else { self.average(sum, count) }
        });
        Ok(Arc::new(averages.collect::<Decimal128Array>().with_data_type(self.output.clone())))
    }

    fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }
}
