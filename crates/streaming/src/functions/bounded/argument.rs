//! The arguments of a call, as far as the size of its result depends on them.

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, OffsetSizeTrait},
    compute::cast,
    datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit},
};
use datafusion::{error::Result, logical_expr::ColumnarValue};

/// What an element of a list takes beside its own bytes.
pub(in crate::functions) const ELEMENT_BYTES: u64 = 8;

/// The arguments of a call.
pub(super) struct Arguments(Vec<Argument>);

struct Argument {
    /// One value for each row, or one for all.
    values: ArrayRef,
    /// Bytes, by value.
    bytes: Vec<u64>,
    /// Whole numbers, and times in microseconds.
    numbers: Option<Int64Array>,
}

impl Arguments {
    pub(super) fn new(arguments: &[ColumnarValue]) -> Result<Self> {
        Ok(Self(arguments.iter().map(Argument::new).collect::<Result<_>>()?))
    }

    pub(super) fn row(&self, row: usize) -> Row<'_> {
        Row { arguments: &self.0, row }
    }
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        let values = value.to_array(1)?;
        let data_type = values.data_type();
        let numbers = if data_type.is_integer() {
            Some(int64(&values)?)
        } else if is_time(data_type) {
            Some(int64(&cast(&values, &DataType::Timestamp(TimeUnit::Microsecond, None))?)?)
        } else {
            None
        };
        Ok(Self { bytes: bytes_of(values.as_ref()), values, numbers })
    }

    fn at(&self, row: usize) -> usize {
        if self.values.len() == 1 { 0 } else { row }
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

fn int64(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The arguments in one row. What is NULL, or not there, has no bytes and counts nothing.
pub(super) struct Row<'a> {
    arguments: &'a [Argument],
    row: usize,
}

impl Row<'_> {
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// Whether any argument is NULL.
    pub(super) fn is_null(&self) -> bool {
        (0..self.len()).any(|index| self.value(index).is_none())
    }

    /// The bytes of a value in an array.
    pub(super) fn bytes(&self, index: usize) -> u64 {
        self.value(index).map_or(0, |(argument, at)| argument.bytes[at])
    }

    /// At most how many elements a list has, and those within them.
    pub(super) fn elements_max(&self, index: usize) -> u64 {
        self.bytes(index) / ELEMENT_BYTES
    }

    /// A number of things: less than none is none.
    pub(super) fn count(&self, index: usize) -> u64 {
        self.number(index).map_or(0, |number| u64::try_from(number).unwrap_or(0))
    }

    pub(super) fn text(&self, index: usize) -> Option<&str> {
        let (argument, at) = self.value(index)?;
        match argument.values.data_type() {
            DataType::Utf8 => Some(argument.values.as_string::<i32>().value(at)),
            DataType::LargeUtf8 => Some(argument.values.as_string::<i64>().value(at)),
            DataType::Utf8View => Some(argument.values.as_string_view().value(at)),
            _ => None,
        }
    }

    /// At most how many elements `range(start, stop, step)` or `range(stop)` has.
    pub(super) fn steps(&self) -> u64 {
        if self.is_null() {
            return 0;
        }
        let (start, stop) = if self.len() == 1 { (Some(0), self.number(0)) } else { (self.number(0), self.number(1)) };
        let (Some(start), Some(stop)) = (start, stop) else { return u64::MAX };
        let distance = i128::from(stop) - i128::from(start);
        let (distance, step) = match (self.interval(2), self.number(2)) {
            (Some(interval), _) => match nanoseconds(interval) {
                Some(step_ns) => (distance * 1_000, step_ns),
                None => return u64::MAX,
            },
            (None, Some(step)) => (distance, i128::from(step)),
            (None, None) => (distance, 1),
        };
        if step == 0 || (distance > 0) != (step > 0) {
            return 1;
        }
        u64::try_from(distance / step).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn value(&self, index: usize) -> Option<(&Argument, usize)> {
        let argument = self.arguments.get(index)?;
        let at = argument.at(self.row);
        let is_there = argument.values.is_valid(at) && !argument.values.data_type().is_null();
        is_there.then_some((argument, at))
    }

    fn number(&self, index: usize) -> Option<i64> {
        let (argument, at) = self.value(index)?;
        let numbers = argument.numbers.as_ref()?;
        numbers.is_valid(at).then(|| numbers.value(at))
    }

    fn interval(&self, index: usize) -> Option<IntervalMonthDayNano> {
        let (argument, at) = self.value(index)?;
        match argument.values.data_type() {
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Some(argument.values.as_primitive::<IntervalMonthDayNanoType>().value(at))
            }
            _ => None,
        }
    }
}

/// The shortest that an interval can be. Where its parts point both ways it may be nothing at all.
fn nanoseconds(interval: IntervalMonthDayNano) -> Option<i128> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let parts =
        [i128::from(months) * 28 * 86_400_000_000_000, i128::from(days) * 86_400_000_000_000, nanoseconds.into()];
    let points_both_ways = parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0);
    (!points_both_ways).then(|| parts.iter().sum())
}

/// How many bytes each value has in an array, with everything in it. What cannot be told counts as more than there is.
pub(crate) fn bytes_of(values: &dyn Array) -> Vec<u64> {
    let each = |bytes: &dyn Fn(usize) -> u64| (0..values.len()).map(bytes).collect();
    match values.data_type() {
        DataType::Utf8 => lengths(values.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => lengths(values.as_string::<i64>().value_offsets()),
        DataType::Binary => lengths(values.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => lengths(values.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => {
            let views = values.as_string_view().views();
            each(&|row| length_of_view(views[row]))
        }
        DataType::BinaryView => {
            let views = values.as_binary_view().views();
            each(&|row| length_of_view(views[row]))
        }
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            sums(lists.value_offsets(), lists.values().as_ref())
        }
        DataType::LargeList(_) => {
            let lists = values.as_list::<i64>();
            sums(lists.value_offsets(), lists.values().as_ref())
        }
        DataType::Map(..) => {
            let maps = values.as_map();
            sums(maps.value_offsets(), maps.entries())
        }
        DataType::FixedSizeList(_, length) => {
            let elements = bytes_of(values.as_fixed_size_list().values().as_ref());
            let length = usize::try_from(*length).unwrap_or(0);
            each(&|row| elements[row * length..(row + 1) * length].iter().map(|bytes| bytes + ELEMENT_BYTES).sum())
        }
        DataType::Struct(_) => {
            let columns: Vec<_> = values.as_struct().columns().iter().map(|column| bytes_of(column.as_ref())).collect();
            each(&|row| columns.iter().fold(0, |sum, column| column[row].saturating_add(sum)))
        }
        DataType::Dictionary(..) => {
            let dictionary = values.as_any_dictionary();
            let known = bytes_of(dictionary.values().as_ref());
            let keys = dictionary.normalized_keys();
            each(&|row| known.get(keys[row]).copied().unwrap_or(0))
        }
        DataType::FixedSizeBinary(width) => vec![u64::try_from(*width).unwrap_or(0); values.len()],
        DataType::Null | DataType::Boolean => vec![1; values.len()],
        other => vec![other.primitive_width().map_or(u64::MAX, |width| width as u64); values.len()],
    }
}

fn lengths<O: OffsetSizeTrait>(offsets: &[O]) -> Vec<u64> {
    offsets.windows(2).map(|ends| (ends[1].as_usize() - ends[0].as_usize()) as u64).collect()
}

fn length_of_view(view: u128) -> u64 {
    // The lower 32 bits of a view are the length.
    (view & u128::from(u32::MAX)) as u64
}

/// The bytes of the elements of each list.
fn sums<O: OffsetSizeTrait>(offsets: &[O], elements: &dyn Array) -> Vec<u64> {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Vec::new() };
    let first = first.as_usize();
    let elements = bytes_of(elements.slice(first, last.as_usize() - first).as_ref());
    let sum = |ends: &[O]| {
        let elements = &elements[ends[0].as_usize() - first..ends[1].as_usize() - first];
        elements.iter().fold(0_u64, |sum, bytes| sum.saturating_add(bytes.saturating_add(ELEMENT_BYTES)))
    };
    offsets.windows(2).map(sum).collect()
}
