//! Numbers as PostgreSQL 15 computes them, as constants and in columns, and the names of what is computed.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray},
    util::display::array_value_to_string,
};
use datafusion::{error::DataFusionError, prelude::SessionContext};
use sql::SqlError;

use super::ExactArithmetic;

/// What PostgreSQL answers: a value, or a refusal with SQLSTATE 22003.
type Answer = Result<&'static str, &'static str>;

const BIGINT: Answer = Err("bigint out of range");
const INTEGER: Answer = Err("integer out of range");
const SMALLINT: Answer = Err("smallint out of range");

const CASES: &[(&str, Answer)] = &[
    ("9223372036854775807 + 1", BIGINT),
    ("9223372036854775806 + 1", Ok("9223372036854775807")),
    ("2147483647::int + 1::int", INTEGER),
    ("32767::smallint * 2::smallint", SMALLINT),
    ("(-9223372036854775808)::bigint - 1", BIGINT),
    ("3037000500 * 3037000500", BIGINT),
    ("-((-9223372036854775808)::bigint)", BIGINT),
    ("-((-2147483648)::int)", INTEGER),
    ("-((-32768)::smallint)", SMALLINT),
    ("-(5::int)", Ok("-5")),
    ("CASE WHEN false THEN 9223372036854775807 + 1 ELSE 2 * (3 + 4) END", Ok("14")),
    ("-b", BIGINT),
    ("b - 1", BIGINT),
    ("i + i", INTEGER),
    ("i * s", INTEGER),
    ("s + s", SMALLINT),
    ("s - s", Ok("0")),
    ("NULL::int + i", Ok("NULL")),
    // What is written with a point, and a NUMERIC, is rounded away from zero; a float to the even one.
    ("2.9::int", Ok("3")),
    ("2.5::int", Ok("3")),
    ("3.5::int", Ok("4")),
    ("(-2.5)::int", Ok("-3")),
    ("0.5::bigint", Ok("1")),
    ("2.5::float8::int", Ok("2")),
    ("3.5::float8::int", Ok("4")),
    ("(-2.5)::float8::int", Ok("-2")),
    ("f::int", Ok("2")),
    ("f::smallint", Ok("2")),
    ("n::int", Ok("-3")),
    ("n::bigint + 1", Ok("-2")),
    ("1.49::numeric(4, 2)::int", Ok("1")),
    ("3000000000::int", INTEGER),
    ("40000::smallint", SMALLINT),
    ("i::smallint", SMALLINT),
    ("s::bigint", Ok("32767")),
    ("'NaN'::float8::int", INTEGER),
    ("1e20::float8::bigint", BIGINT),
    ("9223372036854775807.5::numeric(30, 1)::bigint", BIGINT),
    ("'99999999999'::int", Err("value \"99999999999\" is out of range for type integer")),
    ("x::int", Err("value \"99999999999999999999\" is out of range for type integer")),
    ("'12'::int", Ok("12")),
    ("'1e400'::float8", Err("\"1e400\" is out of range for type double precision")),
    ("'1e-400'::float8", Err("\"1e-400\" is out of range for type double precision")),
    ("'1e400'::float4", Err("\"1e400\" is out of range for type real")),
    ("'-Infinity'::float8", Ok("-inf")),
    ("'0e5'::float8", Ok("0.0")),
    ("1e300::float8::float4", Err("value out of range for type real")),
];

fn table() -> RecordBatch {
    let columns: [(&str, ArrayRef); 6] = [
        ("b", Arc::new(Int64Array::from(vec![i64::MIN]))),
        ("i", Arc::new(Int32Array::from(vec![i32::MAX]))),
        ("s", Arc::new(Int16Array::from(vec![i16::MAX]))),
        ("f", Arc::new(Float64Array::from(vec![2.5]))),
        ("n", Arc::new(Decimal128Array::from(vec![-250]).with_precision_and_scale(5, 2).unwrap())),
        ("x", Arc::new(StringArray::from(vec!["99999999999999999999"]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn answer(context: &SessionContext, query: &str) -> Result<String, String> {
    let found = async { context.sql(query).await?.collect().await }.await;
    match found {
        Ok(batches) => {
            let column = batches[0].column(0);
            Ok(if column.is_null(0) { "NULL".to_owned() } else { array_value_to_string(column, 0).unwrap() })
        }
        Err(error) => match error.find_root() {
            DataFusionError::External(source) => {
                let error = source.downcast_ref::<SqlError>().unwrap_or_else(|| panic!("{query}: {source}"));
                assert_eq!(error.sqlstate, "22003", "{query}");
                Err(error.message.clone())
            }
            other => panic!("{query}: {other}"),
        },
    }
}

#[tokio::test]
async fn numbers_are_postgresqls() {
    let mut context = SessionContext::new();
    crate::register_aggregates(&mut context).unwrap();
    context.add_analyzer_rule(Arc::new(ExactArithmetic));
    context.register_batch("t", table()).unwrap();
    for (expression, expected) in CASES {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        for query in [
            format!("SELECT {expression} FROM t"),
            // Constants that meet on the way.
            format!("SELECT y FROM (SELECT {expression} AS y FROM t) AS q WHERE y IS NULL OR y IS NOT NULL"),
            format!("SELECT max({expression}) FROM t GROUP BY i"),
        ] {
            assert_eq!(answer(&context, &query).await, expected, "{query}");
        }
    }
    let query = "SELECT x + 1 FROM (SELECT 9223372036854775807 AS x) AS q";
    assert_eq!(answer(&context, query).await, Err("bigint out of range".to_owned()));
}

#[tokio::test]
async fn columns_have_the_names_and_types_that_they_had() {
    let (plain, exact) = (SessionContext::new(), SessionContext::new());
    exact.add_analyzer_rule(Arc::new(ExactArithmetic));
    for context in [&plain, &exact] {
        context.register_batch("t", table()).unwrap();
    }
    for query in [
        "SELECT (i + 1) * -s, i - (s - 1), f::int, -(b * 2), x::double FROM t WHERE b + 1 < 0 ORDER BY i * 2",
        "SELECT i % 3 + 1, count(*) + 1, sum(s * 2) FROM t GROUP BY i % 3 + 1 HAVING count(*) * 2 > 0",
        "SELECT i + 1, row_number() OVER (PARTITION BY i + 1 ORDER BY b - 1) - 1 FROM t",
    ] {
        let mut schemas = Vec::new();
        for context in [&plain, &exact] {
            let frame = context.sql(query).await.unwrap();
            let plan = context.state().optimize(frame.logical_plan()).unwrap();
            schemas.push(plan.schema().inner().fields().clone());
        }
        assert_eq!(schemas[0], schemas[1], "{query}");
    }
}
