//! What operators cost on one core: nanoseconds a row, and Nexmark's fourth query as a graph.
//!
//! `cargo run --release -p dataflow --example operator_costs [rows]`
//!
//! Rows are columns already; what it takes to decode them is not in the figures. Each figure is the best of three.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    compute::{
        and,
        kernels::cmp::{gt_eq, lt_eq},
    },
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use dataflow::{
    AggregateKind, AggregateSignature, Arrangement, Change, Graph, GroupBy, GroupColumns, GroupInput, InnerJoin,
    JoinKeys, Layout, Map, Operator, Result, Run, hash_rows,
};

const EPOCH_ROWS: usize = 64 * 1024;

fn main() -> Result<()> {
    let rows = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(4_000_000);
    kernels(rows)?;
    arrangements(rows)?;
    for epoch_rows in [4 * 1024, EPOCH_ROWS] {
        nexmark_q4(rows, epoch_rows)?;
    }
    Ok(())
}

/// Numbers that look random and are the same in every run.
fn mixed(number: usize) -> u64 {
    let mut mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn integers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|source| dataflow::Error::Arrow { doing: "build rows", source })
}

fn kernels(rows: usize) -> Result<()> {
    let keys = integers((0..rows).map(|row| mixed(row) as i64));
    best("hash an integer key", rows, || hash_rows(std::slice::from_ref(&keys), rows).map(drop))?;
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("seller-{}", mixed(row) % 50_000))));
    best("hash a text key", rows, || hash_rows(std::slice::from_ref(&texts), rows).map(drop))?;
    let values = integers((0..rows).map(|row| row as i64 % 1_000));
    for groups in [1_000_u64, 1_000_000] {
        let keys = integers((0..rows).map(|row| (mixed(row) % groups) as i64));
        best(&format!("group by an integer, {groups} groups: count and sum"), rows, || {
            let mut group_by = GroupBy::new(
                schema(&["key", "n", "total"]),
                1,
                vec![aggregate(AggregateKind::Count), aggregate(AggregateKind::Sum)],
                false,
            )?;
            for first in (0..rows).step_by(EPOCH_ROWS) {
                let row_count = EPOCH_ROWS.min(rows - first);
                let argument = |values: Option<ArrayRef>| dataflow::Argument { values, filter: None };
                group_by.push(GroupInput {
                    row_count,
                    keys: vec![keys.slice(first, row_count)],
                    arguments: vec![argument(None), argument(Some(values.slice(first, row_count)))],
                    weights: None,
                    places: None,
                })?;
                group_by.finish()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn aggregate(kind: AggregateKind) -> AggregateSignature {
    AggregateSignature { kind, is_distinct: false, argument_type: DataType::Int64, output_type: DataType::Int64 }
}

fn arrangements(rows: usize) -> Result<()> {
    let schema = schema(&["key", "a", "b", "c", "d"]);
    let epochs = |keys: u64| {
        let epoch = move |first: usize| {
            let numbers = first..(first + EPOCH_ROWS).min(rows);
            let mut columns = vec![integers(numbers.clone().map(|row| (mixed(row) % keys) as i64))];
            columns.extend((0..4).map(|column| integers(numbers.clone().map(|row| row as i64 + column))));
            columns
        };
        (0..rows).step_by(EPOCH_ROWS).map(epoch).collect::<Vec<_>>()
    };
    for is_retracting in [false, true] {
        let layout = Layout { schema: Arc::clone(&schema), key: vec![0], is_retracting };
        let changes = epochs(1 << 40).into_iter().map(|columns| batch(&schema, columns).map(Change::of_rows));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let what = if is_retracting { "that can be taken back" } else { "that only come" };
        best(&format!("sort 64 Ki rows of 5 columns {what}"), rows, || {
            changes.iter().try_for_each(|change| Run::new(&layout, change).map(drop))
        })?;
        best(&format!("arrange {rows} rows {what}, sorting and merging"), rows, || {
            arranged(&layout, &changes).map(drop)
        })?;
        let mut kept = arranged(&layout, &changes)?;
        kept.work(usize::MAX)?;
        let side = || JoinKeys { schema: Arc::clone(&schema), columns: vec![0], is_retracting };
        best(&format!("join, each row meets one, {what}"), rows, || {
            let mut join = InnerJoin::new(side(), side(), false);
            for change in &changes {
                join.push(0, change.clone())?;
                join.push(1, change.clone())?;
                join.finish(&mut |_| Ok(()))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn arranged(layout: &Layout, changes: &[Change]) -> Result<Arrangement> {
    let mut arrangement = Arrangement::new(layout.clone());
    changes.iter().try_for_each(|change| arrangement.insert(Run::new(layout, change)?))?;
    Ok(arrangement)
}

/// Bids that came while their auction ran, and of them columns 1 and 6.
struct InTime;

impl Map for InTime {
    fn apply(&self, change: Change) -> Result<Change> {
        let arrow = |source| dataflow::Error::Arrow { doing: "compare times", source };
        let column = |index: usize| change.rows().column(index).as_primitive::<Int64Type>();
        let begun = gt_eq(column(5), column(2)).map_err(arrow)?;
        let in_time = and(&begun, &lt_eq(column(5), column(3)).map_err(arrow)?).map_err(arrow)?;
        let (rows, weights) = change.filter(&in_time)?.into_parts();
        Change::new(rows.project(&[0, 1, 6]).map_err(arrow)?, weights)
    }
}

/// `SELECT category, avg(final) FROM (SELECT max(price) AS final, category FROM auction, bid WHERE auction.id = bid.auction AND
/// bid.at BETWEEN auction.at AND auction.expires GROUP BY auction.id, category) GROUP BY category`, with persons passed over:
/// of 50 events one is a person, three are auctions and 46 are bids, most of them for auctions of late.
fn nexmark_q4(rows: usize, epoch_rows: usize) -> Result<()> {
    let (auction, bid) = (schema(&["id", "category", "at", "expires"]), schema(&["auction", "at", "price"]));
    let mut epochs = Vec::new();
    for first in (0..rows).step_by(epoch_rows) {
        let numbers = first..(first + epoch_rows).min(rows);
        let auctions: Vec<usize> = numbers.clone().filter(|row| (1..4).contains(&(row % 50))).collect();
        let bids: Vec<usize> = numbers.filter(|row| row % 50 >= 4).collect();
        let id = |row: usize| (row / 50 * 3 + (row % 50).min(3)) as i64;
        let auctions = batch(
            &auction,
            vec![
                integers(auctions.iter().map(|row| id(*row))),
                integers(auctions.iter().map(|row| 10 + (mixed(*row) % 5) as i64)),
                integers(auctions.iter().map(|row| *row as i64)),
                integers(auctions.iter().map(|row| *row as i64 + 20_000)),
            ],
        )?;
        let bids = batch(
            &bid,
            vec![
                integers(bids.iter().map(|row| (id(*row) - (mixed(*row) % 100) as i64).max(1))),
                integers(bids.iter().map(|row| *row as i64)),
                integers(bids.iter().map(|row| (mixed(*row) >> 20) as i64 % 10_000)),
            ],
        )?;
        epochs.push((Change::of_rows(auctions), Change::of_rows(bids)));
    }
    best(&format!("Nexmark q4 from columns, epochs of {epoch_rows} events"), rows, || {
        let mut graph = Graph::new();
        let (auctions, bids) = (graph.input(), graph.input());
        let side = |schema: &SchemaRef| JoinKeys { schema: Arc::clone(schema), columns: vec![0], is_retracting: false };
        let joined = graph.operator(vec![auctions, bids], Box::new(InnerJoin::new(side(&auction), side(&bid), false)));
        let in_time = graph.map(joined, Arc::new(InTime));
        let finals = GroupBy::new(schema(&["id", "category", "final"]), 2, vec![aggregate(AggregateKind::Max)], false)?;
        let columns = GroupColumns { keys: vec![0, 1], arguments: vec![(Some(2), None)], places: None };
        let finals = graph.group_by(in_time, columns, finals);
        let mean = AggregateSignature { output_type: DataType::Float64, ..aggregate(AggregateKind::Avg) };
        let fields = vec![Field::new("category", DataType::Int64, true), Field::new("mean", DataType::Float64, true)];
        let means = GroupBy::new(Arc::new(Schema::new(fields)), 1, vec![mean], true)?;
        let columns = GroupColumns { keys: vec![1], arguments: vec![(Some(2), None)], places: None };
        let means = graph.group_by(finals, columns, means);
        graph.output(means);
        for (auction, bid) in &epochs {
            graph.epoch(vec![(auctions, auction.clone()), (bids, bid.clone())])?;
        }
        Ok(())
    })
}

/// Runs something three times, and prints the best.
#[expect(clippy::print_stdout, reason = "it is what the example is for")]
#[expect(clippy::disallowed_methods, reason = "it measures the machine's time, and nothing depends on it")]
fn best(what: &str, rows: usize, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        run()?;
        least = least.min(started.elapsed());
    }
    let (seconds, rows) = (least.as_secs_f64(), rows as f64);
    println!("{:>8.1} ns a row {:>8.2} M rows/s  {what}", seconds * 1e9 / rows, rows / seconds / 1e6);
    Ok(())
}
