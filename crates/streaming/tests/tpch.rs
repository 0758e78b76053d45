//! The questions of TPC-H as views over tables: in any order of inserts, changes and deletions, over all tables, and however often
//! all is lost that was not written down, they have the rows that DataFusion computes over the tables as they are.
//!
//! All of them are one dataflow. `PROPTEST_CASES=100` makes it thorough.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::concat_batches, datatypes::DataType};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};
use eventlog::{Compression, Record, RecordBatchBuilder, StoredBatch};
use proptest::prelude::*;
use sql::{SourceDefinition, Statement, ViewDefinition};
use streaming::{
    CertainSubqueries, DataflowPlan, ExactArithmetic, ExactComparison, ExistsValue, FloatEquality, SourceDecoder,
    bound_functions, register_aggregates, register_times, with_settled_numbers,
};
use support::{
    block_on, cases,
    life::{Life, last_rows},
    rows::check,
};

const TABLES: &str = include_str!("tpch/tables.sql");
const QUERIES: &str = include_str!("tpch/queries.sql");

/// Records that come in together, of one table: what each is made of, and whether it deletes.
#[derive(Clone, Debug)]
struct Arrival {
    table: usize,
    records: Vec<(u64, bool)>,
}

/// Half of what comes are orders and their lines, which most questions ask for.
fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let table = prop_oneof![0..8_usize, 6..8_usize];
    let records = prop::collection::vec((any::<u64>(), prop::bool::weighted(0.15)), 1..12);
    let arrival = (table, records).prop_map(|(table, records)| Arrival { table, records });
    prop::collection::vec(arrival, 30..60)
}

fn tables() -> Vec<SourceDefinition> {
    let statements = sql::parse(TABLES).unwrap();
    let tables = statements.into_iter().map(|statement| match statement {
        Statement::CreateTable(table) => table,
        other => panic!("{other:?}"),
    });
    tables.collect()
}

/// The questions, without what is said about them.
fn queries() -> Vec<String> {
    let lines = QUERIES.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split(';').map(|query| query.trim().to_owned()).filter(|query| !query.is_empty()).collect()
}

/// What tables show, then the questions, as one dataflow.
fn plan(tables: &[SourceDefinition], queries: &[String]) -> Arc<DataflowPlan> {
    let mut views: Vec<ViewDefinition> = tables.iter().map(ViewDefinition::of_table).collect();
    for (number, query) in (1..).zip(queries) {
        let text = format!("CREATE MATERIALIZED VIEW q{number} AS {query}");
        match sql::parse(&text).unwrap().pop() {
            Some(Statement::CreateView(view)) => views.push(view),
            other => panic!("{other:?}"),
        }
    }
    Arc::new(DataflowPlan::new(&views, tables).unwrap())
}

/// Numbers that follow from one (SplitMix64; Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % end as u64).unwrap()
    }

    fn one_of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.below(values.len())]
    }
}

/// A value of a column, from the few that the questions ask for and some that they do not.
fn value<'a>(column: &str, dice: &mut Dice) -> &'a str {
    let numbers = ["1", "2", "3", "4", "5", "6", "7"];
    match column.split_once('_').map_or(column, |(_, name)| name) {
        "regionkey" | "linenumber" => dice.one_of(&numbers[..3]),
        "nationkey" | "partkey" | "suppkey" => dice.one_of(&numbers[..4]),
        // Some customers have no orders.
        "custkey" if column == "c_custkey" => dice.one_of(&numbers),
        "custkey" => dice.one_of(&numbers[..4]),
        "orderkey" => dice.one_of(&numbers),
        "shippriority" => "0",
        "availqty" | "quantity" => dice.one_of(&["1", "5", "20", "200"]),
        "size" => dice.one_of(&["3", "9", "15"]),
        "discount" | "tax" => dice.one_of(&["0.05", "0.06", "0.10"]),
        "acctbal" | "retailprice" | "supplycost" | "totalprice" | "extendedprice" => {
            dice.one_of(&["-3.50", "0.01", "100.00", "12345.67"])
        }
        "orderdate" | "shipdate" | "commitdate" | "receiptdate" => dice.one_of(&[
            "1993-07-15",
            "1994-03-01",
            "1994-04-01",
            "1993-11-01",
            "1994-02-01",
            "1994-06-01",
            "1995-01-10",
            "1995-03-20",
            "1995-09-10",
            "1996-02-01",
        ]),
        "name" if column == "r_name" => dice.one_of(&["EUROPE", "ASIA", "AMERICA"]),
        "name" if column == "n_name" => {
            dice.one_of(&["FRANCE", "GERMANY", "BRAZIL", "CANADA", "CANADA", "SAUDI ARABIA", "SAUDI ARABIA"])
        }
        "name" if column == "p_name" => dice.one_of(&["forest green", "green", "red"]),
        "brand" => dice.one_of(&["Brand#12", "Brand#23", "Brand#45"]),
        "type" => dice.one_of(&["PROMO BRASS", "ECONOMY ANODIZED STEEL", "MEDIUM POLISHED TIN"]),
        "container" => dice.one_of(&["SM CASE", "MED BOX"]),
        "mktsegment" => dice.one_of(&["BUILDING", "MACHINERY"]),
        "orderstatus" | "linestatus" => dice.one_of(&["F", "O"]),
        "orderpriority" => dice.one_of(&["1-URGENT", "5-LOW"]),
        "returnflag" => dice.one_of(&["R", "N"]),
        "shipmode" => dice.one_of(&["AIR", "MAIL"]),
        "shipinstruct" => dice.one_of(&["DELIVER IN PERSON", "NONE"]),
        "phone" => dice.one_of(&["13-100", "31-200", "99-300"]),
        "comment" => dice.one_of(&["special requests", "Customer Complaints", "", "nothing"]),
        _ => dice.one_of(&["x", "y"]),
    }
}

/// A record of a table, with the key that SQL gives it.
fn record(table: &SourceDefinition, seed: u64, deletes: bool) -> Record {
    let mut dice = Dice(seed);
    let fields = table.columns.fields().iter().map(|field| {
        let value = value(field.name(), &mut dice);
        let is_bare = matches!(field.data_type(), DataType::Int32 | DataType::Decimal128(..));
        (field.name().as_str(), if is_bare { value.to_owned() } else { format!("\"{value}\"") })
    });
    let fields: Vec<(&str, String)> = fields.collect();
    let object = |fields: &mut dyn Iterator<Item = &(&str, String)>| {
        let members = fields.map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    let key = match table.key.as_slice() {
        [column] => fields[*column].1.clone(),
        columns => object(&mut columns.iter().map(|column| &fields[*column])),
    };
    let value = (!deletes).then(|| object(&mut fields.iter()).into());
    Record { key: Some(key.into()), value, ..Record::default() }
}

/// The rows of records that arrived at one moment.
fn decoded(table: &SourceDefinition, arrival: &Arrival, arrival_time_ms: i64) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    arrival.records.iter().for_each(|(seed, deletes)| {
        builder.push(record(table, *seed, *deletes));
    });
    let stored = StoredBatch { bytes: builder.build(), arrival_time_ms };
    let count = i64::try_from(arrival.records.len()).unwrap();
    let decoded = SourceDecoder::new(table).unwrap().decode(0, &[stored], 0, count).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    decoded.rows
}

/// DataFusion with the functions that queries have.
fn context() -> SessionContext {
    let mut context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    register_times(&mut context).unwrap();
    bound_functions(&mut context).unwrap();
    register_aggregates(&mut context).unwrap();
    context.add_analyzer_rule(Arc::new(CertainSubqueries));
    context.add_analyzer_rule(Arc::new(ExistsValue));
    context.add_analyzer_rule(Arc::new(ExactComparison));
    context.add_analyzer_rule(Arc::new(ExactArithmetic));
    context.add_analyzer_rule(Arc::new(FloatEquality));
    context
}

async fn compare(life: &Life, tables: &[SourceDefinition], records: &[RecordBatch], queries: &[String]) -> Vec<usize> {
    let context = context();
    for (table, records) in tables.iter().zip(records) {
        let rows = last_rows(records, &table.key, table.columns.fields().len());
        let rows = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
        context.register_table(table.name.as_str(), Arc::new(rows)).unwrap();
    }
    let mut counts = Vec::new();
    for (number, query) in queries.iter().enumerate() {
        let plan = context.state().create_logical_plan(query).await.and_then(with_settled_numbers);
        let plan = plan.unwrap_or_else(|error| panic!("{query}: {error}"));
        let frame = context.execute_logical_plan(plan).await.unwrap();
        let schema = Arc::clone(frame.clone().into_optimized_plan().unwrap().schema().inner());
        let expected = concat_batches(&schema, &frame.collect().await.unwrap()).unwrap();
        check(&life.rows(tables.len() + number), &expected, &format!("question {}", number + 1));
        counts.push(expected.num_rows());
    }
    counts
}

/// Folds records, and answers how many rows each question has had at most.
async fn fold(arrivals: &[Arrival]) -> Vec<usize> {
    let (tables, queries) = (tables(), queries());
    let mut counts = vec![0; queries.len()];
    let plan = plan(&tables, &queries);
    let read = |table: usize| plan.sources().iter().position(|source| source.name == tables[table].name).unwrap();
    let mut records: Vec<RecordBatch> = tables.iter().map(|table| RecordBatch::new_empty(table.schema())).collect();
    let mut life = Life::new(&plan);
    for (number, arrival) in arrivals.iter().enumerate() {
        let rows = decoded(&tables[arrival.table], arrival, i64::try_from(number).unwrap());
        let all = &mut records[arrival.table];
        *all = concat_batches(&all.schema(), [&*all, &rows]).unwrap();
        life.apply(read(arrival.table), &rows);
        if number % 7 == 6 {
            life.checkpoint();
        }
        if number % 11 == 10 {
            life.die();
        }
        if number % 20 == 19 {
            most(&mut counts, compare(&life, &tables, &records, &queries).await);
        }
    }
    life.die();
    most(&mut counts, compare(&life, &tables, &records, &queries).await);
    counts
}

fn most(counts: &mut [usize], more: Vec<usize>) {
    counts.iter_mut().zip(more).for_each(|(most, count)| *most = count.max(*most));
}

#[test]
fn there_are_all_questions_and_all_tables() {
    assert_eq!((tables().len(), queries().len()), (8, 22));
}

/// Questions that nobody has an answer to would tell nothing.
#[test]
fn the_records_are_such_that_the_questions_have_answers() {
    let mut dice = Dice(2013);
    let arrival = |_| {
        let table = dice.below(8);
        let records = (0..10).map(|_| (dice.below(usize::MAX) as u64, dice.below(20) == 0));
        Arrival { table, records: records.collect() }
    };
    let arrivals: Vec<Arrival> = (0..240).map(arrival).collect();
    let counts = block_on(fold(&arrivals));
    let unanswered: Vec<usize> =
        (1..).zip(&counts).filter(|(_, count)| **count == 0).map(|(number, _)| number).collect();
    assert!(unanswered.is_empty(), "{unanswered:?} of {counts:?}");
}

proptest! {
    #![proptest_config(cases(2))]

    #[test]
    fn each_question_is_answered_as_by_datafusion_over_the_tables_as_they_are(arrivals in arrivals()) {
        block_on(fold(&arrivals));
    }
}
