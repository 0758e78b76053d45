//! What is a view, and what is refused with which error.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, TimeUnit},
};
use datafusion::{
    common::DFSchema,
    logical_expr::{Volatility, create_udf},
    prelude::{SessionContext, col},
};
use sql::{Statement, parse};

use super::{PlannedView, ViewPlan, step::Expression};
use crate::{
    error::Error,
    testing::{flights, source, view},
};

fn plan(query: &str) -> ViewPlan {
    ViewPlan::new(&view(query), &[flights()]).unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

/// Query with `^` before the place of the error, SQLSTATE, part of the message, part of the hint.
const REFUSALS: &[(&str, &str, &str, &str)] = &[
    (
        "SELECT a.day FROM flights AS a ^JOIN flights AS b ON a.delay < b.delay",
        "0A000",
        "without an equality",
        "a.id = b.id",
    ),
    ("SELECT a.day FROM flights AS a, flights AS b", "0A000", "a join without an equality", ""),
    (
        "SELECT carrier FROM flights INTERSECT ALL SELECT carrier FROM flights",
        "0A000",
        "INTERSECT ALL",
        "leave ALL out",
    ),
    ("SELECT carrier FROM flights EXCEPT ALL SELECT carrier FROM flights", "0A000", "EXCEPT ALL", "leave ALL out"),
    ("SELECT flight FROM flights ^ORDER BY flight", "0A000", "ORDER BY in a view", "query over the view"),
    ("SELECT flight FROM flights ^LIMIT 3", "0A000", "LIMIT", ""),
    ("SELECT row_number() ^OVER (ORDER BY flight) FROM flights", "0A000", "OVER", ""),
    ("SELECT ^DISTINCT ON (carrier) carrier, flight FROM flights", "0A000", "DISTINCT ON", "query over the view"),
    ("SELECT last_value(DISTINCT carrier) FROM flights", "0A000", "last_value(DISTINCT", "leave DISTINCT out"),
    ("SELECT first_value(flight ORDER BY delay) FROM flights", "0A000", "ORDER BY inside first_value", ""),
    ("SELECT median(delay) FROM flights", "0A000", "aggregate median", "count, sum, avg"),
    (
        "SELECT last_value(n) FROM (SELECT count(*) AS n FROM flights GROUP BY carrier) AS t",
        "0A000",
        "last_value over rows that are not",
        "min or max",
    ),
    (
        "SELECT carrier, count(*) FROM flights GROUP BY GROUPING SETS ((carrier), (carrier))",
        "0A000",
        "the same grouping set twice",
        "once",
    ),
    ("SELECT carrier FROM flights WHERE delay = (SELECT delay FROM flights)", "0A000", "several rows", "aggregate it"),
    (
        "SELECT carrier FROM flights WHERE NOT (delay IN (SELECT fare FROM flights) OR cancelled)",
        "0A000",
        "IN with a subquery inside",
        "NOT EXISTS",
    ),
    (
        "SELECT carrier FROM flights WHERE cancelled OR flight NOT IN (SELECT flight FROM flights)",
        "0A000",
        "IN with a subquery inside",
        "NOT EXISTS",
    ),
    ("SELECT carrier FROM flights AS a FULL JOIN flights AS b USING (flight)", "0A000", "with USING", "COALESCE"),
    ("SELECT carrier FROM flights AS a NATURAL RIGHT JOIN flights AS b", "0A000", "with USING", "COALESCE"),
    (
        "SELECT carrier FROM flights AS a WHERE EXISTS (SELECT count(*) FROM flights AS b WHERE b.flight = a.flight)",
        "0A000",
        "EXISTS or IN over an aggregate",
        "one row always",
    ),
    ("^SELECT 1", "0A000", "reads no source", ""),
    ("^SELECT * FROM (VALUES (1)) AS v (x)", "0A000", "reads no source", ""),
    ("SELECT * FROM ^HOP(flights, departed, INTERVAL '1 hour', INTERVAL '5 minutes')", "0A000", "HOP", "TUMBLE"),
    ("SELECT * FROM ^session(flights, departed, INTERVAL '1 hour')", "0A000", "SESSION", "TUMBLE"),
    ("SELECT * FROM ^generate_series(1, 2)", "0A000", "table function", ""),
    ("SELECT * FROM ^TUMBLE(flights, departed)", "42601", "other arguments", "write TUMBLE"),
    ("SELECT * FROM TUMBLE(flights, ^landed, INTERVAL '1 hour')", "42703", "\"landed\" does not exist", "departed"),
    (
        "SELECT count(*) FROM TUMBLE(flights, departed, INTERVAL ^'0 seconds')",
        "22023",
        "a window of '0 seconds'",
        "above",
    ),
    ("SELECT * FROM TUMBLE(flights, departed, INTERVAL ^'-1' HOUR)", "22023", "a window of '-1 HOUR'", "above"),
    ("SELECT * FROM TUMBLE(flights, departed, INTERVAL ^'1 month 1 day')", "22023", "a window of", "months alone"),
    ("SELECT * FROM TUMBLE(flights, departed, INTERVAL ^'1 nanosecond')", "22023", "a window of", ""),
    (
        "SELECT * FROM TUMBLE(flights, ^delay, INTERVAL '1 hour')",
        "42804",
        "\"delay\" is not a timestamp",
        "write TUMBLE",
    ),
    ("SELECT ^carier FROM flights", "42703", "column \"carier\" does not exist", "perhaps you meant"),
    ("SELECT flight FROM flits", "42P01", "source \"flits\" does not exist", "the sources are: flights"),
    ("SELECT ^frobnicate(flight) FROM flights", "42883", "function frobnicate does not exist", ""),
    ("SELECT ^uper(carrier) FROM flights", "42883", "function uper does not exist", "perhaps you meant \"upper\""),
    (
        "SELECT ^flight, count(*) FROM flights GROUP BY carrier",
        "42803",
        "\"flights.flight\" must appear in GROUP BY",
        "",
    ),
    ("SELECT flight FROM flights WHERE count(*) > 1", "42803", "aggregate functions are not allowed", ""),
    ("SELECT carrier, carrier FROM flights", "42701", "column \"carrier\" is given twice", "AS"),
    ("SELECT count(*), count(*) FROM flights", "42701", "column \"count(*)\" is given twice", "AS"),
    ("SELECT sum(carrier) FROM flights", "42883", "there is no sum(Utf8)", "CAST"),
    ("SELECT carrier FROM flights WHERE delay", "42804", "the condition flights.delay is not a boolean", ""),
    ("SELECT ^delay + carrier FROM flights", "42883", "cannot coerce", ""),
    ("SELECT date_bin(INTERVAL '1 hour', delay) FROM flights", "42883", "there is no date_bin(", "CAST"),
    ("SELECT 1 / 0 AS x FROM flights", "22012", "division by zero", ""),
    ("SELECT now() - departed AS age FROM flights", "0A000", "function now", "rebuilt"),
    ("SELECT random() AS r FROM flights", "0A000", "function random", ""),
];

#[test]
fn what_is_not_built_is_refused_by_name_and_place() {
    for (marked, sqlstate, message, hint) in REFUSALS {
        let query = marked.replace('^', "");
        let text = format!("CREATE MATERIALIZED VIEW é AS {query}").replace('é', "v");
        let Some(Statement::CreateView(view)) = parse(&text).unwrap().pop() else { panic!("{text}") };
        let error = PlannedView::new(&view, &[flights()]).expect_err(marked);
        assert_eq!(error.sqlstate, *sqlstate, "{marked}: {error:?}");
        assert!(error.message.contains(message), "{marked}: {error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{marked}: {error:?}");
        if let Some(place) = marked.chars().position(|c| c == '^') {
            let before = text.chars().count() - query.chars().count();
            assert_eq!(error.position, Some(before + place + 1), "{marked}: {error:?}");
        }
    }
}

#[test]
fn keys_are_the_grouping_columns_and_hidden_ones_come_last() {
    let cases: &[(&str, &[&str], &[usize])] = &[
        ("SELECT carrier, count(*) AS n FROM flights GROUP BY carrier", &["carrier", "n"], &[0]),
        ("SELECT count(*) AS n, carrier AS c FROM flights GROUP BY carrier", &["n", "c"], &[1]),
        ("SELECT count(*) AS n FROM flights GROUP BY carrier", &["n", "carrier"], &[1]),
        (
            "SELECT upper(carrier) AS carrier, count(*) AS n FROM flights GROUP BY carrier",
            &["carrier", "n", "_carrier"],
            &[2],
        ),
        ("SELECT day, count(*) AS n FROM flights GROUP BY carrier, day", &["day", "n", "carrier"], &[2, 0]),
        ("SELECT count(*) AS n FROM flights", &["n"], &[]),
        ("SELECT flight FROM flights", &["flight", "_partition", "_offset"], &[1, 2]),
        ("SELECT _offset AS at, flight FROM flights", &["at", "flight", "_partition"], &[2, 0]),
        ("SELECT _offset + 1 AS _offset FROM flights", &["_offset", "_partition", "__offset"], &[1, 2]),
    ];
    for (query, names, keys) in cases {
        let plan = plan(query);
        let found: Vec<_> = plan.output_schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!((found.as_slice(), plan.key_columns()), (*names, *keys), "{query}");
        assert_eq!(plan.state_key_count(), keys.len());
    }
}

#[test]
fn a_window_is_a_projection_in_every_spelling() {
    let spellings = [
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(flights, departed, INTERVAL '1 hour') GROUP BY window_start, window_end",
        "SELECT window_start, window_end, count(*) AS n FROM tumble(TABLE flights, DESCRIPTOR(departed), INTERVAL '1' HOUR) GROUP BY 1, 2",
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(flights, INTERVAL '60 minutes') AS t GROUP BY t.window_start, t.window_end",
        "SELECT window_start, window_end, count(*) AS n FROM (SELECT tumble_start(INTERVAL '1 hour', departed) AS window_start,
         tumble_end(INTERVAL '1 hour', departed) AS window_end FROM flights) AS t GROUP BY window_start, window_end",
    ];
    for spelling in spellings {
        let plan = plan(spelling);
        assert!(plan.is_aggregate());
        assert_eq!(plan.key_columns(), [0, 1], "{spelling}");
        let start = plan.output_schema().field(0).data_type().clone();
        assert_eq!(start, DataType::Timestamp(TimeUnit::Microsecond, None), "{spelling}");
        let departed = plan.source().schema().index_of("departed").unwrap();
        assert_eq!(plan.source_columns(), [departed], "{spelling}");
    }
    let qualified = "SELECT flights.carrier FROM TUMBLE(flights, departed, INTERVAL '1 hour') WHERE flights.window_start IS NOT NULL";
    assert!(!plan(qualified).is_aggregate());
}

#[test]
fn the_columns_that_are_read_include_places_where_they_count() {
    let schema = flights().schema();
    let names = |query: &str| -> Vec<String> {
        plan(query).source_columns().into_iter().map(|i| schema.field(i).name().clone()).collect()
    };
    assert_eq!(names("SELECT sum(delay) FROM flights WHERE cancelled"), ["delay", "cancelled"]);
    assert_eq!(names("SELECT count(*) FROM flights"), Vec::<String>::new());
    assert_eq!(names("SELECT flight FROM flights"), ["flight", "_partition", "_offset"]);
    assert_eq!(names("SELECT last_value(day) FROM flights"), ["day", "_partition", "_offset", "_arrival_time"]);
}

#[test]
fn the_hash_changes_with_the_meaning_only() {
    let hash = |query: &str| plan(query).hash();
    let first = hash("SELECT carrier, count(*) AS n FROM flights WHERE delay > 1 GROUP BY carrier");
    assert_eq!(first.len(), 32);
    assert_eq!(first, hash("select carrier , COUNT(*) as n -- same\n from Flights where delay > 1 group by carrier"));
    for other in [
        "SELECT carrier, count(*) AS n FROM flights WHERE delay > 2 GROUP BY carrier",
        "SELECT carrier, count(*) AS m FROM flights WHERE delay > 1 GROUP BY carrier",
        "SELECT carrier, count(delay) AS n FROM flights WHERE delay > 1 GROUP BY carrier",
    ] {
        assert_ne!(first, hash(other), "{other}");
    }
    let (wider, elsewhere) = (
        source("CREATE SOURCE flights (carrier TEXT, delay INT, more INT) WITH (topic = 'flights')"),
        source("CREATE SOURCE flights (carrier TEXT, delay INT) WITH (topic = 'other')"),
    );
    let base = source("CREATE SOURCE flights (carrier TEXT, delay INT) WITH (topic = 'flights')");
    let view = view("SELECT carrier, count(*) AS n FROM flights GROUP BY carrier");
    let hash = |source| ViewPlan::new(&view, &[source]).unwrap().hash();
    assert_ne!(hash(base.clone()), hash(wider));
    assert_ne!(hash(base.clone()), hash(elsewhere));
    let mut renamed = view.clone();
    renamed.name = "w".to_owned();
    assert_eq!(hash(base.clone()), ViewPlan::new(&renamed, &[base]).unwrap().hash());
}

#[test]
fn the_hash_is_the_same_in_every_build() {
    assert_eq!(crate::hash::hash(&["a", "bc"]), "36cc24064d83d94f708145dd58651e3b");
    assert_ne!(crate::hash::hash(&["ab", "c"]), crate::hash::hash(&["a", "bc"]));
}

#[test]
fn a_view_is_planned_on_any_stack() {
    let long = format!("SELECT carrier{} AS c, count(*) FROM flights GROUP BY 1", " || carrier".repeat(100));
    let planning = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || plan(&long));
    assert_eq!(planning.unwrap().join().unwrap().key_columns(), [0]);
}

#[test]
fn a_constant_that_would_be_too_large_is_refused_with_the_view() {
    for call in
        ["repeat('a', 2000000000)", "lpad('a', 2147483647, 'b')", "array_to_string(array_repeat('a', 9000000), '')"]
    {
        let error =
            ViewPlan::new(&view(&format!("SELECT carrier, {call} AS c FROM flights")), &[flights()]).unwrap_err();
        assert!(error.message.contains("more than 16777216 bytes"), "{call}: {error:?}");
    }
}

#[test]
fn a_function_that_panics_has_failed_for_its_rows_alone() {
    let panicking = |arguments: &[datafusion::logical_expr::ColumnarValue]| {
        let value = arguments[0].clone();
        let numbers = value.to_array(1)?;
        assert!(numbers.as_any().downcast_ref::<Int64Array>().unwrap().iter().all(|n| n != Some(2)), "planted");
        Ok(value)
    };
    let int64 = || DataType::Int64;
    let function = create_udf("panicking", vec![int64()], int64(), Volatility::Immutable, Arc::new(panicking));
    let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)]).unwrap();
    let schema = DFSchema::try_from(rows.schema()).unwrap();
    let physical = SessionContext::new().create_physical_expr(function.call(vec![col("n")]), &schema).unwrap();
    let expression = Expression { physical, text: "panicking(n)".to_owned() };

    assert!(matches!(expression.evaluate(&rows), Err(Error::Evaluate { .. })));
    let mut failure = None;
    let values = expression.evaluate_or_null(&rows, &mut failure).unwrap();
    assert_eq!(values.as_any().downcast_ref::<Int64Array>().unwrap(), &Int64Array::from(vec![Some(1), None, Some(3)]));
    assert!(failure.unwrap().contains("panicking(n)"));
}
