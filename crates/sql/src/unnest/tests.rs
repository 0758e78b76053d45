//! How `UNNEST` is written before it is planned, and where it is refused.

use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

use crate::rewrite;

fn check(written: &str, expected: Result<&str, &str>) {
    let mut tree = Parser::parse_sql(&PostgreSqlDialect {}, written).unwrap().remove(0);
    let rewritten = rewrite(&mut tree).map(|()| tree.to_string()).map_err(|error| error.message);
    assert_eq!(rewritten.as_deref().map_err(String::as_str), expected, "{written}");
}

#[test]
fn an_unnest_in_from_has_the_columns_of_postgresql() {
    for (written, expected) in [
        ("SELECT * FROM UNNEST(x) AS t (tag)", "SELECT * FROM UNNEST(x) AS t (tag)"),
        ("SELECT * FROM unnest(x)", "SELECT * FROM UNNEST(x) AS unnest (unnest)"),
        ("SELECT * FROM unnest(x) \"Tag\"", "SELECT * FROM UNNEST(x) \"Tag\" (\"Tag\")"),
        ("SELECT * FROM a, LATERAL unnest(a.x) AS tag", "SELECT * FROM a, UNNEST(a.x) AS tag (tag)"),
        (
            "SELECT * FROM a LEFT JOIN LATERAL Unnest(a.x) AS t (tag) ON true",
            "SELECT * FROM a LEFT JOIN UNNEST(a.x) AS t (tag) ON true",
        ),
        ("SELECT * FROM a, UNNEST(ARRAY[a.x, 1]) AS t", "SELECT * FROM a, UNNEST(make_array(a.x, 1)) AS t (t)"),
        ("SELECT * FROM UNNEST(x, y) AS t (a, b)", "SELECT * FROM UNNEST(x, y) AS t (a, b)"),
        ("SELECT ARRAY[1] FROM LATERAL f(x)", "SELECT ARRAY[1] FROM LATERAL f(x)"),
        (
            "SELECT * FROM UNNEST(x) WITH ORDINALITY AS t (tag, n)",
            "SELECT * FROM UNNEST(x, generate_series(1, CAST(cardinality(x) AS BIGINT))) AS t (tag, n)",
        ),
        (
            "SELECT * FROM a, LATERAL unnest(x) WITH ORDINALITY AS t",
            "SELECT * FROM a, UNNEST(x, generate_series(1, CAST(cardinality(x) AS BIGINT))) AS t (t, ordinality)",
        ),
    ] {
        check(written, Ok(expected));
    }
}

#[test]
fn an_unnest_is_refused_where_postgresql_lets_no_set_be() {
    let several = "UNNEST of several lists WITH ORDINALITY is not supported yet";
    for (written, expected) in [
        ("SELECT * FROM UNNEST(x, y) WITH ORDINALITY", several),
        ("SELECT * FROM LATERAL unnest(x => y)", "unnest takes lists, and not x => y"),
        ("SELECT CASE WHEN a THEN unnest(x) END FROM t", "set-returning functions are not allowed in CASE"),
        ("SELECT coalesce(upper(unnest(x)), '') FROM t", "set-returning functions are not allowed in COALESCE"),
    ] {
        check(written, Err(expected));
    }
}
