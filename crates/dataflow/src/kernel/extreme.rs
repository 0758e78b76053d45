//! `min(x)` and `max(x)` over rows that are never taken back: one value a group.
//!
//! Numbers, dates and times are compared as such (floats in their total order, with one NaN, which is the greatest);
//! everything else by arrow's row format, which keeps the order.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, PrimitiveArray},
    datatypes::{
        ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type,
        Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};

use super::{Input, Kernel, column, downcast, for_each};
use crate::{
    error::{Error, Result},
    normal::{plain_text, with_one_nan},
    value_rows::{ValueRows, new_converter},
};

/// Which end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// The kernel for a type.
pub(super) fn new(argument: &DataType, output: &DataType, end: End) -> Result<Box<dyn Kernel>> {
    macro_rules! primitive {
        ($type:ty) => {
            Box::new(PrimitiveExtreme::<$type> { output: output.clone(), end, values: Vec::new() })
        };
    }
    Ok(match argument {
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => primitive!(UInt64Type),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Decimal128(_, _) => primitive!(Decimal128Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Timestamp(TimeUnit::Second, _) => primitive!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        _ => Box::new(RowExtreme { end, values: ValueRows::new(&plain_text(output))? }),
    })
}

struct PrimitiveExtreme<T: ArrowPrimitiveType> {
    output: DataType,
    end: End,
    values: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> PrimitiveExtreme<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn take(&mut self, groups: &[u32], values: &PrimitiveArray<T>, valid: Option<&arrow::buffer::NullBuffer>) {
        let (kept, end, values) = (&mut self.values, self.end, values.values());
        for_each(groups, valid, None, |row, group, _| {
            let (slot, value) = (&mut kept[group], values[row]);
            let better = match (&slot, end) {
                (None, _) => true,
                (Some(old), End::Least) => value.is_lt(*old),
                (Some(old), End::Greatest) => value.is_gt(*old),
            };
            if better {
                *slot = Some(value);
            }
        });
    }
}

impl<T: ArrowPrimitiveType> Kernel for PrimitiveExtreme<T> {
    fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count, None);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let values = with_one_nan(input.values()?);
        self.take(input.groups, downcast(&values)?, input.valid().as_ref());
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.values[group] = None;
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let values: &PrimitiveArray<T> = downcast(column(state, 0)?)?;
        self.take(groups, values, values.nulls());
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = groups.iter().map(|group| self.values[*group as usize]).collect();
        Ok(Arc::new(values.with_data_type(self.output.clone())))
    }

    fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<T::Native>>()
    }
}

struct RowExtreme {
    end: End,
    values: ValueRows,
}

impl RowExtreme {
    fn take(&mut self, groups: &[u32], values: &ArrayRef, valid: Option<&arrow::buffer::NullBuffer>) -> Result<()> {
        let values = self.values.plain(values)?;
        let converter = new_converter(values.data_type())?;
        let rows = converter.convert_columns(&[values]).map_err(Error::arrow("compare values"))?;
        let (kept, end) = (&mut self.values, self.end);
        for_each(groups, valid, None, |row, group, _| {
            let value = rows.row(row).data();
            let better = match (kept.bytes(group), end) {
                (None, _) => true,
                (Some(old), End::Least) => value < old,
                (Some(old), End::Greatest) => value > old,
            };
            if better {
                kept.put(group, value);
            }
        });
        Ok(())
    }
}

impl Kernel for RowExtreme {
    fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let valid = input.valid();
        self.take(input.groups, input.values()?, valid.as_ref())
    }

    fn reset(&mut self, group: usize) {
        self.values.clear(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let values = column(state, 0)?;
        self.take(groups, values, values.logical_nulls().as_ref())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.values.column(groups)
    }

    fn memory_bytes(&self) -> usize {
        self.values.memory_bytes()
    }
}
