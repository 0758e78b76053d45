//! The questions of TPC-H as views over tables, and those of Nexmark that need no window as views over sources: in any order
//! of inserts, changes and deletions, over all of what they read, and however often all is lost that was not written down, they
//! have the rows that DataFusion computes over everything at once.
//!
//! All questions of one are one dataflow. `PROPTEST_CASES=100` makes it thorough.
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

/// A benchmark: what is asked, of what.
struct Benchmark {
    sources: Vec<SourceDefinition>,
    queries: Vec<String>,
    /// A value of a column, as JSON has it.
    value: fn(&str, &mut Dice) -> &'static str,
}

impl Benchmark {
    fn tpch() -> Self {
        let (definitions, queries) = (include_str!("tpch/definitions.sql"), include_str!("tpch/queries.sql"));
        Self::new(definitions, queries, tpch_value)
    }

    fn nexmark() -> Self {
        let (definitions, queries) = (include_str!("nexmark/definitions.sql"), include_str!("nexmark/queries.sql"));
        Self::new(definitions, queries, nexmark_value)
    }

    fn new(definitions: &str, queries: &str, value: fn(&str, &mut Dice) -> &'static str) -> Self {
        let statements = sql::parse(definitions).unwrap();
        let sources = statements.into_iter().map(|statement| match statement {
            Statement::CreateTable(source) | Statement::CreateSource(source) => source,
            other => panic!("{other:?}"),
        });
        // Without what is said about the questions.
        let lines = queries.lines().filter(|line| !line.starts_with("--"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let queries = text.split(';').map(|query| query.trim().to_owned()).filter(|query| !query.is_empty());
        Self { sources: sources.collect(), queries: queries.collect(), value }
    }

    /// What tables show.
    fn tables(&self) -> Vec<ViewDefinition> {
        self.sources.iter().filter(|source| source.is_table()).map(ViewDefinition::of_table).collect()
    }

    /// What tables show, then the questions, as one dataflow.
    fn plan(&self) -> Arc<DataflowPlan> {
        let mut views = self.tables();
        for (number, query) in (1..).zip(&self.queries) {
            let text = format!("CREATE MATERIALIZED VIEW q{number} AS {query}");
            match sql::parse(&text).unwrap().pop() {
                Some(Statement::CreateView(view)) => views.push(view),
                other => panic!("{other:?}"),
            }
        }
        Arc::new(DataflowPlan::new(&views, &self.sources).unwrap())
    }

    /// A record of a source, with the key that SQL gives it.
    fn record(&self, source: &SourceDefinition, seed: u64, deletes: bool) -> Record {
        let mut dice = Dice(seed);
        let fields = source.columns.fields().iter().map(|field| {
            let value = (self.value)(field.name(), &mut dice);
            let is_bare = matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Decimal128(..));
            (field.name().as_str(), if is_bare { value.to_owned() } else { format!("\"{value}\"") })
        });
        let fields: Vec<(&str, String)> = fields.collect();
        let object = |fields: &mut dyn Iterator<Item = &(&str, String)>| {
            let members = fields.map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        };
        let key = match source.key.as_slice() {
            [] => None,
            [column] => Some(fields[*column].1.clone()),
            columns => Some(object(&mut columns.iter().map(|column| &fields[*column]))),
        };
        let value = (key.is_none() || !deletes).then(|| object(&mut fields.iter()).into());
        Record { key: key.map(Into::into), value, ..Record::default() }
    }

    /// The rows of records that arrived at one moment, behind `count` others.
    fn decoded(&self, arrival: &Arrival, count: usize, arrival_time_ms: i64) -> RecordBatch {
        let source = &self.sources[arrival.source];
        let mut builder = RecordBatchBuilder::new(Compression::None);
        arrival.records.iter().for_each(|(seed, deletes)| {
            builder.push(self.record(source, *seed, *deletes));
        });
        let from = i64::try_from(count).unwrap();
        let mut bytes = builder.build().to_vec();
        // Where a batch says where it stands.
        bytes[..8].copy_from_slice(&from.to_be_bytes());
        let stored = StoredBatch { bytes: bytes.into(), arrival_time_ms };
        let to = from + i64::try_from(arrival.records.len()).unwrap();
        let decoded = SourceDecoder::new(source).unwrap().decode(0, &[stored], from, to).unwrap();
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        decoded.rows
    }

    async fn compare(&self, life: &Life, records: &[RecordBatch]) -> Vec<usize> {
        let context = context();
        for (source, records) in self.sources.iter().zip(records) {
            let rows = if source.is_table() {
                last_rows(records, &source.key, source.columns.fields().len())
            } else {
                records.clone()
            };
            let rows = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            context.register_table(source.name.as_str(), Arc::new(rows)).unwrap();
        }
        let (tables, mut counts) = (self.tables().len(), Vec::new());
        for (number, query) in self.queries.iter().enumerate() {
            let plan = context.state().create_logical_plan(query).await.and_then(with_settled_numbers);
            let plan = plan.unwrap_or_else(|error| panic!("{query}: {error}"));
            let frame = context.execute_logical_plan(plan).await.unwrap();
            let schema = Arc::clone(frame.clone().into_optimized_plan().unwrap().schema().inner());
            let expected = concat_batches(&schema, &frame.collect().await.unwrap()).unwrap();
            check(&life.rows(tables + number), &expected, &format!("question {}", number + 1));
            counts.push(expected.num_rows());
        }
        counts
    }

    /// Folds records, and answers how many rows each question has had at most.
    async fn fold(&self, arrivals: &[Arrival]) -> Vec<usize> {
        let mut counts = vec![0; self.queries.len()];
        let plan = self.plan();
        let read = |source: usize| plan.sources().iter().position(|read| read.name == self.sources[source].name);
        let empty = self.sources.iter().map(|source| RecordBatch::new_empty(source.schema()));
        let mut records: Vec<RecordBatch> = empty.collect();
        let mut life = Life::new(&plan);
        for (number, arrival) in arrivals.iter().enumerate() {
            let all = &mut records[arrival.source];
            let rows = self.decoded(arrival, all.num_rows(), i64::try_from(number).unwrap());
            *all = concat_batches(&all.schema(), [&*all, &rows]).unwrap();
            if let Some(source) = read(arrival.source) {
                life.apply(source, &rows);
            }
            if number % 7 == 6 {
                life.checkpoint();
            }
            if number % 11 == 10 {
                life.die();
            }
            if number % 20 == 19 {
                most(&mut counts, self.compare(&life, &records).await);
            }
        }
        life.die();
        most(&mut counts, self.compare(&life, &records).await);
        counts
    }

    /// The questions that have no answer over some hundred arrivals.
    fn unanswered(&self) -> Vec<usize> {
        let mut dice = Dice(2013);
        let arrival = |_| {
            let source = dice.below(self.sources.len());
            let records = (0..10).map(|_| (dice.below(usize::MAX) as u64, dice.below(20) == 0));
            Arrival { source, records: records.collect() }
        };
        let arrivals: Vec<Arrival> = (0..240).map(arrival).collect();
        let counts = block_on(self.fold(&arrivals));
        (1..).zip(&counts).filter(|(_, count)| **count == 0).map(|(number, _)| number).collect()
    }
}

/// Records that come in together, of one source: what each is made of, and whether it deletes.
#[derive(Clone, Debug)]
struct Arrival {
    source: usize,
    records: Vec<(u64, bool)>,
}

/// Half of what comes are records of the sources from `last` on, which most questions ask for.
fn arrivals(sources: usize, last: usize) -> impl Strategy<Value = Vec<Arrival>> {
    let source = prop_oneof![0..sources, last..sources];
    let records = prop::collection::vec((any::<u64>(), prop::bool::weighted(0.15)), 1..12);
    let arrival = (source, records).prop_map(|(source, records)| Arrival { source, records });
    prop::collection::vec(arrival, 30..60)
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

    fn one_of(&mut self, values: &[&'static str]) -> &'static str {
        values[self.below(values.len())]
    }
}

/// A value of a column, from the few that the questions ask for and some that they do not.
fn tpch_value(column: &str, dice: &mut Dice) -> &'static str {
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

fn nexmark_value(column: &str, dice: &mut Dice) -> &'static str {
    match column {
        "id" | "seller" | "bidder" | "auction" | "key" => dice.one_of(&["0", "1", "2", "3", "4", "5", "6"]),
        "category" => dice.one_of(&["10", "11", "12"]),
        "price" | "reserve" => dice.one_of(&["1", "99", "100", "117", "9999", "10000", "123456789"]),
        "at" => dice.one_of(&[
            "2026-01-01T05:00:00",
            "2026-01-01T08:30:00.5",
            "2026-01-01T23:59:59.999999",
            "2026-01-02T00:00:00",
        ]),
        "expires" => dice.one_of(&["2026-01-01T09:00:00", "2026-01-03T00:00:00"]),
        "state" => dice.one_of(&["OR", "ID", "CA", "WA"]),
        "channel" => dice.one_of(&["Apple", "google", "channel-7", ""]),
        "url" => dice.one_of(&["https://shop.example/a/item.htm", "https://shop.example/b/c/cc.htm?q=1", "none", ""]),
        _ => dice.one_of(&["x", "y"]),
    }
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

fn most(counts: &mut [usize], more: Vec<usize>) {
    counts.iter_mut().zip(more).for_each(|(most, count)| *most = count.max(*most));
}

#[test]
fn there_are_all_questions_and_all_sources() {
    let sizes =
        [Benchmark::tpch(), Benchmark::nexmark()].map(|benchmark| (benchmark.sources.len(), benchmark.queries.len()));
    assert_eq!(sizes, [(8, 22), (4, 14)]);
}

/// Questions that nobody has an answer to would tell nothing.
#[test]
fn the_records_are_such_that_the_questions_have_answers() {
    for benchmark in [Benchmark::tpch(), Benchmark::nexmark()] {
        assert_eq!(benchmark.unanswered(), Vec::<usize>::new());
    }
}

proptest! {
    #![proptest_config(cases(2))]

    #[test]
    fn each_question_of_tpch_is_answered_as_by_datafusion(arrivals in arrivals(8, 6)) {
        block_on(Benchmark::tpch().fold(&arrivals));
    }

    #[test]
    fn each_question_of_nexmark_is_answered_as_by_datafusion(arrivals in arrivals(4, 1)) {
        block_on(Benchmark::nexmark().fold(&arrivals));
    }
}
