//! The answer that plain DataFusion gives over all rows at once.
//!
//! Where it is not DataFusion's: sums and averages of floats are exact, rounded once, for DataFusion's depend on the
//! order of the rows; least and greatest floats are found by their total order, for DataFusion's `min` of a group that
//! has only infinities is the largest finite number; the window of a row is computed here, by integer division.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, Volatility, create_udaf};
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
    let doubles: [(&str, Finish); 4] = [
        ("exact_sum", exact::sum),
        ("exact_avg", |values| exact::sum(values) / values.len() as f64),
        ("exact_min", |values| values.iter().copied().min_by(f64::total_cmp).unwrap()),
        ("exact_max", |values| values.iter().copied().max_by(f64::total_cmp).unwrap()),
    ];
    for (name, finish) in doubles {
        let float = || DataType::Float64;
        let state = DataType::new_list(float(), true);
        let accumulator = move |_: datafusion::logical_expr::function::AccumulatorArgs<'_>| {
            Ok(Box::new(Exact { values: Vec::new(), finish }) as Box<dyn Accumulator>)
        };
        let function = create_udaf(
            name,
            vec![float()],
            Arc::new(float()),
            Volatility::Immutable,
            Arc::new(accumulator),
            Arc::new(vec![state]),
        );
        context.register_udaf(function);
    }
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

/// What becomes of the values of a group.
type Finish = fn(&[f64]) -> f64;

#[derive(Debug)]
struct Exact {
    values: Vec<f64>,
    finish: Finish,
}

impl Accumulator for Exact {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<Float64Type>().iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((!self.values.is_empty()).then(|| (self.finish)(&self.values))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.values.iter().map(|value| ScalarValue::Float64(Some(*value))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Float64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            let values: &Float64Array = values.as_primitive::<Float64Type>();
            self.values.extend(values.iter().flatten());
        }
        Ok(())
    }
}
