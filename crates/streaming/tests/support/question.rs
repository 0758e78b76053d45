//! Random questions: each is a view's query, and the same for DataFusion.

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use proptest::prelude::*;
use proptest::sample::select;
use sql::{SourceDefinition, Statement};
use streaming::ViewPlan;

use super::oracle;

/// A question over the source `s` of [`input`](super::input).
#[derive(Clone, Debug)]
pub(crate) struct Question {
    window: Option<(&'static str, i64)>,
    filter: Option<String>,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Rows(Vec<String>),
    Groups { keys: Vec<(String, bool)>, aggregates: Vec<Aggregate>, having: Option<usize> },
}

#[derive(Clone, Debug)]
struct Aggregate {
    function: Function,
    argument: String,
    is_double: bool,
    filter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    CountAll,
    Count,
    Sum,
    Average,
    Least,
    Greatest,
    First { ignore_nulls: bool },
    Last { ignore_nulls: bool },
}

/// Which aggregates a question may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregates {
    All,
    /// Those from which rows can be taken back.
    Sums,
}

/// What cannot be computed of some rows: those that a view leaves out. It stands alone, where it is computed of every
/// row: whether DataFusion computes what a condition guards depends on the rows beside it, and a view looks at each row
/// alone.
const FAILING: [&str; 2] = ["10 / i", "CAST(t AS BIGINT)"];
const FAILING_FILTER: &str = "10 / i > 1 OR b";
const INTEGERS: [&str; 7] =
    ["i", "j", "i % 3", "j % 5", "coalesce(i, 7)", "CASE WHEN b THEN i END", "CASE WHEN t = u THEN 1 ELSE j END"];
const DOUBLES: [&str; 8] = [
    "d",
    "e",
    "d * 2",
    "-d",
    "d + e",
    "coalesce(d, 0.5)",
    "CASE WHEN b THEN d ELSE e END",
    "CAST(i AS DOUBLE PRECISION) + 0.25",
];
const DECIMALS: [&str; 4] = ["n", "n * 2", "coalesce(n, CAST(1.5 AS DECIMAL(2, 1)))", "CASE WHEN b THEN n END"];
const LARGE_DECIMALS: [&str; 2] = ["m", "coalesce(m, 0)"];
const TEXTS: [&str; 6] = ["t", "u", "upper(t)", "t || u", "coalesce(t, '')", "CASE WHEN b THEN t ELSE u END"];
const OTHERS: [&str; 6] = ["b", "at", "day", "i > 0", "d = d", "t IS NULL"];
const FILTERS: [&str; 22] = [
    "b",
    "NOT b",
    "i > 0",
    "i = 1 OR i IS NULL",
    "i IN (0, 1, 2)",
    "d > 0.1",
    "d = 0.0",
    "d = d",
    "d <> e",
    "d < e",
    "d IS NOT NULL",
    "n >= 1.5",
    "m < 0",
    "t = ''",
    "t LIKE 'a%'",
    "t > u",
    "t <> 'a' AND i < 2",
    "at >= TIMESTAMP '2024-01-01 01:00:00'",
    "day = DATE '2023-12-10'",
    "i BETWEEN 0 AND 2 AND d > -0.5",
    "_offset % 2 = 0",
    "_partition = 0",
];
const WINDOWS: [(&str, i64); 4] = [("7 seconds", 7), ("10 minutes", 600), ("1 hour", 3_600), ("1 day", 86_400)];

/// Any question.
pub(crate) fn question(aggregates: Aggregates) -> impl Strategy<Value = Question> {
    let window = prop::option::weighted(0.4, select(WINDOWS.to_vec()));
    let filter = prop::option::weighted(0.5, filter());
    let groups = (
        prop::collection::vec((key(), prop::bool::weighted(0.9)), 0..=3),
        prop::collection::vec(aggregate(aggregates), 1..5),
        prop::option::weighted(0.3, 0..5_usize),
    );
    let groups = groups.prop_map(|(keys, aggregates, having)| Shape::Groups { keys, aggregates, having });
    let rows = prop::collection::vec(value(), 1..5).prop_map(Shape::Rows);
    (window, filter, prop_oneof![5 => groups, 1 => rows]).prop_map(|(window, filter, mut shape)| {
        fit(&mut shape, window.is_some());
        Question { window, filter, shape }
    })
}

/// Each key once, and those of windows only over windows.
fn fit(shape: &mut Shape, windowed: bool) {
    if let Shape::Groups { keys, .. } = shape {
        keys.retain(|(key, _)| windowed || !key.starts_with("window"));
        let mut seen = std::collections::BTreeSet::new();
        keys.retain(|(key, _)| seen.insert(key.clone()));
    }
}

fn filter() -> impl Strategy<Value = String> {
    let one = || select(FILTERS.to_vec());
    prop_oneof![
        1 => Just(FAILING_FILTER.to_owned()),
        8 => one().prop_map(str::to_owned),
        2 => (one(), one()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
        2 => (one(), one()).prop_map(|(a, b)| format!("({a}) OR NOT ({b})")),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let some =
        ["i", "i % 3", "d", "e", "n", "t", "upper(t)", "b", "day", "at", "t || u", "d > 0.1", "_partition", "_key"];
    let key = prop_oneof![2 => select(some.to_vec()), 1 => select(vec!["window_start", "window_end"])];
    key.prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let all = [&INTEGERS[..], &DOUBLES, &DECIMALS, &LARGE_DECIMALS, &TEXTS, &OTHERS].concat();
    select(all).prop_map(str::to_owned)
}

fn aggregate(aggregates: Aggregates) -> impl Strategy<Value = Aggregate> {
    use Function::{Average, Count, CountAll, First, Greatest, Last, Least, Sum};
    let place = |ignore_nulls| [First { ignore_nulls }, Last { ignore_nulls }];
    let sums = vec![CountAll, Count, Sum, Sum, Average, Average];
    let others = match aggregates {
        Aggregates::All => {
            [vec![Least, Greatest, Least, Greatest], place(true).to_vec(), place(false).to_vec()].concat()
        }
        Aggregates::Sums => Vec::new(),
    };
    let number = prop_oneof![
        1 => select(FAILING.to_vec()).prop_map(|text| (text, false)),
        4 => select(INTEGERS.to_vec()).prop_map(|text| (text, false)),
        6 => select(DOUBLES.to_vec()).prop_map(|text| (text, true)),
        2 => select(DECIMALS.to_vec()).prop_map(|text| (text, false)),
    ];
    let large = select(LARGE_DECIMALS.to_vec());
    let any = value();
    let function = select([sums, others].concat());
    (function, number, large, any, prop::bool::weighted(0.1), prop::option::weighted(0.2, filter())).prop_map(
        |(function, (number, is_double), large, any, is_large, filter)| match function {
            Sum if is_large => Aggregate { function, argument: large.to_owned(), is_double: false, filter },
            Sum | Average => {
                let filter = filter.filter(|_| !FAILING.contains(&number));
                Aggregate { function, argument: number.to_owned(), is_double, filter }
            }
            _ => Aggregate { function, is_double: DOUBLES.contains(&any.as_str()), argument: any, filter },
        },
    )
}

/// Of which DataFusion's sum would wrap around.
fn is_integer(argument: &str) -> bool {
    INTEGERS.contains(&argument) || FAILING.contains(&argument)
}

impl Aggregate {
    fn text(&self, for_view: bool) -> String {
        let argument = &self.argument;
        let by_place = |name: &str, ignore_nulls: bool| match (for_view, ignore_nulls) {
            (true, _) => (format!("{name}({argument})"), None),
            (false, ignores) => (
                format!("{name}({argument} ORDER BY _arrival_time, _partition, _offset)"),
                ignores.then(|| format!("({argument}) IS NOT NULL")),
            ),
        };
        let (call, also) = match self.function {
            Function::CountAll => ("count(*)".to_owned(), None),
            Function::Count => (format!("count({argument})"), None),
            Function::Sum if self.is_double && !for_view => (format!("exact_sum({argument})"), None),
            Function::Sum if !for_view && is_integer(argument) => {
                (format!("sum(CAST({argument} AS DECIMAL(38, 0)))"), None)
            }
            Function::Sum => (format!("sum({argument})"), None),
            Function::Average if !for_view && is_integer(argument) => (format!("exact_integer_avg({argument})"), None),
            Function::Average if !for_view && DECIMALS.contains(&argument.as_str()) => {
                (format!("exact_decimal_avg(CAST({argument} AS DECIMAL(38, 3)))"), None)
            }
            Function::Average if !for_view => (format!("exact_avg({argument})"), None),
            Function::Average => (format!("avg({argument})"), None),
            Function::Least if self.is_double && !for_view => (format!("exact_min({argument})"), None),
            Function::Greatest if self.is_double && !for_view => (format!("exact_max({argument})"), None),
            Function::Least => (format!("min({argument})"), None),
            Function::Greatest => (format!("max({argument})"), None),
            Function::First { ignore_nulls } => by_place("first_value", ignore_nulls),
            Function::Last { ignore_nulls } => by_place("last_value", ignore_nulls),
        };
        let ignores =
            matches!(self.function, Function::First { ignore_nulls: true } | Function::Last { ignore_nulls: true });
        let call = match (&self.filter, also) {
            (None, None) => call,
            (Some(filter), None) => format!("{call} FILTER (WHERE {filter})"),
            (None, Some(also)) => format!("{call} FILTER (WHERE {also})"),
            (Some(filter), Some(also)) => format!("{call} FILTER (WHERE ({filter}) AND {also})"),
        };
        if ignores && for_view { call + " IGNORE NULLS" } else { call }
    }
}

impl Question {
    /// The view's query.
    pub(crate) fn view(&self) -> String {
        let from = match self.window {
            Some((size, _)) => format!("TUMBLE(s, at, INTERVAL '{size}')"),
            None => "s".to_owned(),
        };
        self.text(true, &from)
    }

    /// Whether it aggregates.
    pub(crate) fn groups(&self) -> bool {
        matches!(self.shape, Shape::Groups { .. })
    }

    /// Whether rows can be taken back from it.
    pub(crate) fn is_of_sums(&self) -> bool {
        use Function::{Average, Count, CountAll, Sum};
        match &self.shape {
            Shape::Rows(_) => true,
            Shape::Groups { aggregates, .. } => {
                aggregates.iter().all(|aggregate| matches!(aggregate.function, CountAll | Count | Sum | Average))
            }
        }
    }

    /// The query for DataFusion.
    pub(crate) fn oracle(&self) -> String {
        self.text(false, "s")
    }

    /// Whether DataFusion understands the view's query and can compute all of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.window.is_none() && !self.can_fail()
    }

    /// What DataFusion answers over the rows that a view does not leave out.
    pub(crate) async fn answer(&self, rows: &RecordBatch) -> RecordBatch {
        let rows = if self.can_fail() { self.computable(rows).await } else { rows.clone() };
        oracle::answer(&rows, &self.oracle(), self.window_us()).await.unwrap()
    }

    /// The rows of which DataFusion can compute the answer when there is no other row.
    async fn computable(&self, rows: &RecordBatch) -> RecordBatch {
        let mut computable = Vec::new();
        for row in 0..rows.num_rows() {
            let answer = oracle::answer(&rows.slice(row, 1), &self.oracle(), self.window_us()).await;
            computable.push(answer.is_ok());
        }
        filter_record_batch(rows, &computable.into()).unwrap()
    }

    fn can_fail(&self) -> bool {
        FAILING.iter().any(|failing| self.oracle().contains(failing))
    }

    fn window_us(&self) -> Option<i64> {
        self.window.map(|(_, seconds)| seconds * 1_000_000)
    }

    /// The view's plan.
    pub(crate) fn plan(&self, source: &SourceDefinition) -> ViewPlan {
        let text = format!("CREATE MATERIALIZED VIEW v AS {}", self.view());
        match sql::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}")).pop() {
            Some(Statement::CreateView(view)) => {
                ViewPlan::new(&view, std::slice::from_ref(source)).unwrap_or_else(|error| panic!("{text}: {error:?}"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(&self, for_view: bool, from: &str) -> String {
        let filter = self.filter.as_ref().map_or(String::new(), |filter| format!(" WHERE {filter}"));
        match &self.shape {
            Shape::Rows(values) => {
                let values = values.iter().enumerate().map(|(i, value)| format!("{value} AS v{i}"));
                format!("SELECT {} FROM {from}{filter}", values.collect::<Vec<_>>().join(", "))
            }
            Shape::Groups { keys, aggregates, having } => {
                let shown = keys.iter().enumerate().filter(|(_, (_, shown))| *shown);
                let shown = shown.map(|(i, (key, _))| format!("{key} AS k{i}"));
                let aggregated = aggregates.iter().map(|aggregate| aggregate.text(for_view));
                let having = having.map_or(String::new(), |i| match aggregates.get(i) {
                    Some(aggregate) => format!(" HAVING {} IS NOT NULL", aggregate.text(for_view)),
                    None => " HAVING count(*) > 1".to_owned(),
                });
                let aggregated = aggregated.enumerate().map(|(i, text)| format!("{text} AS a{i}"));
                let columns: Vec<_> = shown.chain(aggregated).collect();
                let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
                let by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
                format!("SELECT {} FROM {from}{filter}{by}{having}", columns.join(", "))
            }
        }
    }
}
