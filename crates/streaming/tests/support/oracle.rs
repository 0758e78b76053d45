//! The answer that plain DataFusion gives over all rows at once.
//!
//! Where it is not DataFusion's: sums of integers are those of decimals, for DataFusion's wrap around; averages of
//! integers and of decimals are rounded once; sums and averages of floats are exact, rounded once, for DataFusion's depend on the
//! order of the rows; least and greatest floats are found by their total order, for DataFusion's `min` of a group that
//! has only infinities is the largest finite number; the window of a row is computed here, by integer division.

use std::{fmt, sync::Arc};

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, utils::SingleRowListArrayBuilder};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf, function::AccumulatorArgs};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::exact;

/// What DataFusion answers, or why it cannot compute it, over `rows` as table `s`, with windows of `window_us` where the question has some.
pub(crate) async fn answer(rows: &RecordBatch, sql: &str, window_us: Option<i64>) -> Result<RecordBatch> {
    let rows = window_us.map_or_else(|| rows.clone(), |size| with_windows(rows, size));
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
    answer_over(Arc::new(table), sql).await
}

/// What DataFusion answers over a table as `s`.
pub(crate) async fn answer_over(table: Arc<dyn TableProvider>, sql: &str) -> Result<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_table("s", table).unwrap();
    let doubles: [(&str, Finish<Float64Type>); 4] = [
        ("exact_sum", |values| exact::sum(values).into()),
        ("exact_avg", |values| (exact::sum(values) / values.len() as f64).into()),
        ("exact_min", |values| values.iter().copied().min_by(f64::total_cmp).into()),
        ("exact_max", |values| values.iter().copied().max_by(f64::total_cmp).into()),
    ];
    for (name, finish) in doubles {
        context.register_udaf(function::<Float64Type>(name, DataType::Float64, DataType::Float64, finish));
    }
    let integers = |values: &[i64]| exact::average(values).into();
    context.register_udaf(function::<Int64Type>("exact_integer_avg", DataType::Int64, DataType::Float64, integers));
    let decimals = |values: &[i128]| ScalarValue::Decimal128(Some(exact::decimal_average(values)), 38, 16);
    let (argument, output) = (DataType::Decimal128(38, 3), DataType::Decimal128(38, 16));
    context.register_udaf(function::<Decimal128Type>("exact_decimal_avg", argument, output, decimals));
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Arc::clone(frame.schema().inner());
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

/// The rows with the start and the end of each one's window.
fn with_windows(rows: &RecordBatch, size_us: i64) -> RecordBatch {
    let times = rows.column_by_name("at").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let start = |us: i64| us - us.rem_euclid(size_us);
    let starts: TimestampMicrosecondArray = times.iter().map(|us| us.map(start)).collect();
    let ends: TimestampMicrosecondArray = starts.iter().map(|us| us.map(|us| us + size_us)).collect();
    let mut fields: Vec<_> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(["window_start", "window_end"].map(|name| Field::new(name, starts.data_type().clone(), true)));
    let mut columns = rows.columns().to_vec();
    columns.extend([Arc::new(starts) as ArrayRef, Arc::new(ends)]);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// What becomes of the values of a group, of which there is one at least.
type Finish<T> = fn(&[<T as ArrowPrimitiveType>::Native]) -> ScalarValue;

/// An aggregate over an Arrow type of the family `T`.
fn function<T: ArrowPrimitiveType + fmt::Debug>(
    name: &str,
    argument: DataType,
    output: DataType,
    finish: Finish<T>,
) -> AggregateUDF {
    let state = DataType::new_list(argument.clone(), true);
    let (taken, made) = (argument.clone(), output.clone());
    let accumulator = move |_: AccumulatorArgs<'_>| {
        let (argument, output) = (taken.clone(), made.clone());
        Ok(Box::new(Exact::<T> { argument, output, values: Vec::new(), finish }) as Box<dyn Accumulator>)
    };
    let (output, accumulator) = (Arc::new(output), Arc::new(accumulator));
    create_udaf(name, vec![argument], output, Volatility::Immutable, accumulator, Arc::new(vec![state]))
}

#[derive(Debug)]
struct Exact<T: ArrowPrimitiveType + fmt::Debug> {
    argument: DataType,
    output: DataType,
    values: Vec<T::Native>,
    finish: Finish<T>,
}

impl<T: ArrowPrimitiveType + fmt::Debug> Accumulator for Exact<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<T>().iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() { ScalarValue::try_from(&self.output) } else { Ok((self.finish)(&self.values)) }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<T::Native>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = PrimitiveArray::<T>::from_iter_values(self.values.iter().copied());
        let values = values.with_data_type(self.argument.clone());
        Ok(vec![ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(Arc::new(values)).build_list_array()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.values.extend(values.as_primitive::<T>().iter().flatten());
        }
        Ok(())
    }
}
