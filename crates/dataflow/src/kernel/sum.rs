//! `sum(x)` and `avg(x)`: a total and a count, from which a value is made when it is read.
//!
//! A sum of integers is a `BIGINT` or, of `BIGINT`s, a `NUMERIC` that holds any; what does not fit the result's type is
//! NULL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Decimal128Array, Float64Array, Int64Array},
    datatypes::{DataType, i256},
};

use super::{
    Input, Kernel, average, shape,
    total::{Total, Totals},
};
use crate::{error::Result, exact_sum::ExactSum};

/// Makes a column of the totals of groups, each with its count.
pub(super) type Finish<T> = Box<dyn Fn(&[Option<(&T, i64)>]) -> ArrayRef + Send + Sync>;

/// An aggregate that is a function of a total and a count.
pub(super) struct SumAndCount<T> {
    totals: Totals<T>,
    finish: Finish<T>,
}

impl<T: Total + 'static> SumAndCount<T> {
    fn boxed(finish: Finish<T>) -> Box<dyn Kernel> {
        Box::new(Self { totals: Totals::default(), finish })
    }
}

impl<T: Total> Kernel for SumAndCount<T> {
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
        self.totals.state(groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.totals.merge(groups, state)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let totals: Vec<_> = groups.iter().map(|group| self.totals.of_group(*group)).collect();
        Ok((self.finish)(&totals))
    }

    fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }
}

/// The kernel of `sum` over a type.
pub(super) fn sum(argument: &DataType, output: &DataType) -> Result<Box<dyn Kernel>> {
    Ok(match (argument, output) {
        (DataType::Float64, _) => SumAndCount::boxed(floats(|total: &ExactSum, _| total.value())),
        (DataType::Decimal128(_, _), _) => SumAndCount::boxed(decimals(output, |total: &i256, _| total.to_i128())?),
        (_, DataType::Int64) => SumAndCount::boxed(Box::new(|totals: &[Option<(&i128, i64)>]| {
            let sums = totals.iter().map(|total| i64::try_from(*(*total)?.0).ok());
            Arc::new(sums.collect::<Int64Array>())
        })),
        _ => SumAndCount::boxed(decimals(output, |total: &i128, _| Some(*total))?),
    })
}

/// The kernel of `avg` over a type.
pub(super) fn average(argument: &DataType, output: &DataType) -> Result<Box<dyn Kernel>> {
    Ok(match argument {
        DataType::Float64 => SumAndCount::boxed(floats(|total: &ExactSum, count| total.value() / count as f64)),
        DataType::Decimal128(_, scale) => {
            let average = average::of_decimals(*scale, output)?;
            SumAndCount::boxed(decimals(output, average)?)
        }
        _ => SumAndCount::boxed(floats(|total: &i128, count| average::of_integers(*total, count))),
    })
}

/// Makes floats.
fn floats<T>(value: impl Fn(&T, i64) -> f64 + Send + Sync + 'static) -> Finish<T> {
    Box::new(move |totals| {
        let values = totals.iter().map(|total| total.map(|(total, count)| value(total, count)));
        Arc::new(values.collect::<Float64Array>())
    })
}

/// Makes decimals; one that does not fit the type is NULL.
fn decimals<T>(
    output: &DataType,
    value: impl Fn(&T, i64) -> Option<i128> + Send + Sync + 'static,
) -> Result<Finish<T>> {
    let DataType::Decimal128(precision, _) = output else {
        return Err(shape(format!("a sum or an average of decimals is {output}")));
    };
    let (limit, output) = (10_u128.pow(u32::from(*precision)), output.clone());
    Ok(Box::new(move |totals| {
        let fits = |value: &i128| value.unsigned_abs() < limit;
        let values = totals.iter().map(|total| total.and_then(|(total, count)| value(total, count)).filter(fits));
        Arc::new(values.collect::<Decimal128Array>().with_data_type(output.clone()))
    }))
}
