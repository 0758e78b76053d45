//! Statements as they are read, and errors with their places.

use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};

use super::{Emit, Show, Statement, parse};
use crate::{SourceFormat, ViewDefinition};

fn one(text: &str) -> Statement {
    let mut statements = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

#[test]
fn a_source_has_columns_and_options() {
    let text = "create source Flights (id INT, \"Carrier\" text, delay double precision, at timestamp with time zone,
        local TIMESTAMP WITHOUT TIME ZONE, d DATE, ok bool, big int8, small smallint, r real, n numeric(10, 2), m decimal)
        WITH (topic = 'flights.v1', partitions = 4, format = 'event', event_time = 'at')";
    let Statement::CreateSource(source) = one(text) else { panic!() };
    assert_eq!((source.name.as_str(), source.topic.as_str(), source.partitions), ("flights", "flights.v1", 4));
    assert_eq!((source.format, source.event_time.as_deref()), (SourceFormat::Event, Some("at")));
    assert_eq!(source.text, text);
    let columns: Vec<_> = source.columns.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    let utc = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        columns,
        [
            ("id", DataType::Int32),
            ("Carrier", DataType::Utf8),
            ("delay", DataType::Float64),
            ("at", utc()),
            ("local", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("d", DataType::Date32),
            ("ok", DataType::Boolean),
            ("big", DataType::Int64),
            ("small", DataType::Int16),
            ("r", DataType::Float32),
            ("n", DataType::Decimal128(10, 2)),
            ("m", DataType::Decimal128(38, 10)),
        ]
    );
    let schema = source.schema();
    let metadata: Vec<_> = schema.fields()[12..].iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        metadata,
        [
            "_partition",
            "_offset",
            "_arrival_time",
            "_key",
            "stream_name",
            "stream_version",
            "event_type",
            "event_id",
            "effective_time",
        ]
    );
}

#[test]
fn a_source_needs_no_options() {
    let Statement::CreateSource(source) = one("CREATE SOURCE s (a int)") else { panic!() };
    assert_eq!((source.topic.as_str(), source.partitions, source.format), ("s", 1, SourceFormat::Json));
    assert_eq!((source.event_time, source.columns.fields().len()), (None, 1));
}

#[test]
fn a_view_has_options_and_a_query() {
    let text = "CREATE OR REPLACE MATERIALIZED VIEW v WITH (batch = '1 hour 30 minutes', emit = 'changes') AS
        SELECT count(*) FROM s";
    let Statement::CreateView(view) = one(text) else { panic!() };
    assert_eq!((view.name.as_str(), view.or_replace, view.query.as_str()), ("v", true, "SELECT count(*) FROM s"));
    assert_eq!(view.options.batch_interval, Some(Duration::from_secs(5_400)));
    assert_eq!((view.options.emit, view.text.as_str()), (Emit::Changes, text));
    let Statement::CreateView(view) = one("CREATE MATERIALIZED VIEW v AS WITH t AS (SELECT 1) SELECT * FROM t;") else {
        panic!()
    };
    assert_eq!((view.or_replace, view.query.as_str()), (false, "WITH t AS (SELECT 1) SELECT * FROM t"));
    assert_eq!(view.options.batch_interval, None);
}

#[test]
fn the_other_statements() {
    let drop_source = |if_exists| Statement::DropSource { name: "s".to_owned(), if_exists };
    let drop_view = |if_exists| Statement::DropView { name: "v".to_owned(), if_exists, cascade: false };
    let query = |text: &str| Statement::Query(text.to_owned());
    let cases = [
        ("DROP SOURCE s", drop_source(false)),
        ("drop source if exists S;", drop_source(true)),
        ("DROP MATERIALIZED VIEW v", drop_view(false)),
        ("DROP MATERIALIZED VIEW IF EXISTS v", drop_view(true)),
        ("DROP MATERIALIZED VIEW v RESTRICT", drop_view(false)),
        (
            "DROP MATERIALIZED VIEW v CASCADE",
            Statement::DropView { name: "v".to_owned(), if_exists: false, cascade: true },
        ),
        ("SHOW SOURCES", Statement::Show(Show::Sources)),
        ("show views", Statement::Show(Show::Views)),
        ("SHOW MATERIALIZED VIEWS", Statement::Show(Show::Views)),
        ("SHOW TOPICS", Statement::Show(Show::Topics)),
        ("SHOW server_version", query("SHOW server_version")),
        ("  SELECT ';' -- a ; b\n FROM t /* ; */ ; ", query("SELECT ';' -- a ; b\n FROM t")),
        ("EXPLAIN SELECT 1", Statement::Explain(Box::new(query("SELECT 1")))),
        ("EXPLAIN DROP SOURCE s", Statement::Explain(Box::new(drop_source(false)))),
        ("EXPLAIN ANALYZE SELECT 1", query("EXPLAIN ANALYZE SELECT 1")),
        ("CREATE TABLE t AS SELECT 1", query("CREATE TABLE t AS SELECT 1")),
        ("SELEC", query("SELEC")),
    ];
    for (text, expected) in cases {
        assert_eq!(one(text), expected, "{text}");
    }
    assert_eq!(parse("SELECT 1; ;SELECT 2;\n").unwrap(), [query("SELECT 1"), query("SELECT 2")]);
    assert_eq!(parse(" -- nothing\n").unwrap(), []);
}

/// Text with `^` before the place of the error, SQLSTATE, part of the message, part of the hint.
const ERRORS: &[(&str, &str, &str, &str)] = &[
    ("CREATE SOURCE ^(a int)", "42601", "expected the name of a source, found (", ""),
    ("CREATE SOURCE s^", "42601", "expected \"(\", found the end", ""),
    ("CREATE SOURCE s (a ^blob)", "42704", "no type \"blob\"", "the types are"),
    ("CREATE SOURCE s (a ^jsonb)", "0A000", "type jsonb is not supported", "the types are"),
    ("CREATE SOURCE s (a text^[])", "0A000", "array", ""),
    ("CREATE SOURCE s (a varchar^(10))", "0A000", "length limit", "use text"),
    ("CREATE SOURCE s (a numeric(^39, 2))", "22023", "numeric(39, 2)", "1 to 38"),
    ("CREATE SOURCE s (a numeric(^5, 6))", "22023", "numeric(5, 6)", ""),
    ("CREATE SOURCE s (a int ^NOT NULL)", "0A000", "constraint", "NULL"),
    ("CREATE SOURCE s (a int, ^a int)", "42701", "given twice", ""),
    ("CREATE SOURCE s (a int, ^_offset bigint)", "42701", "\"_offset\" is one that every source", "another name"),
    (
        "CREATE SOURCE s (a int) WITH (^topik = 'x')",
        "22023",
        "no option \"topik\"",
        "topic, partitions, format, event_time",
    ),
    ("CREATE SOURCE s (a int) WITH (topic = ^'a b')", "42602", "not a topic name", "letters"),
    ("CREATE SOURCE s (a int) WITH (partitions = ^0)", "22023", "option \"partitions\"", ""),
    ("CREATE SOURCE s (a int) WITH (format = ^'avro')", "22023", "'json' or 'event'", ""),
    ("CREATE SOURCE s (a int) WITH (topic = 'a', ^topic = 'b')", "42601", "given twice", ""),
    ("CREATE SOURCE s (a int) WITH (event_time = ^'b')", "42703", "not a column", ""),
    ("CREATE SOURCE s (a int) WITH (event_time = ^'a')", "42804", "not a timestamp", ""),
    ("CREATE SOURCE s (a int) WITH (^late = '5 s')", "0A000", "option \"late\" is not supported", "leave it out"),
    ("CREATE SOURCE s (a int) WITH (^out_of_order = '5 s')", "0A000", "out_of_order", ""),
    ("CREATE SOURCE s (a int) WITH (^early = '5 s')", "0A000", "early", ""),
    ("CREATE SOURCE s (a int) WITH (^on_late = 'drop')", "0A000", "on_late", ""),
    ("CREATE SOURCE s (a int) ^AS", "42601", "expected the end", ""),
    ("CREATE SOURCE ^\"S t\" (a int)", "42602", "cannot be the name", "lower-case"),
    ("CREATE ^OR REPLACE SOURCE s (a int)", "0A000", "CREATE OR REPLACE SOURCE", ""),
    ("CREATE ^SINK s", "0A000", "CREATE SINK", ""),
    ("CREATE MATERIALIZED VIEW v WITH (emit = ^'final') AS SELECT 1", "0A000", "watermark", "'changes'"),
    ("CREATE MATERIALIZED VIEW v WITH (emit = ^'never') AS SELECT 1", "22023", "option \"emit\"", ""),
    ("CREATE MATERIALIZED VIEW v WITH (batch = ^'often') AS SELECT 1", "22023", "option \"batch\"", ""),
    ("CREATE MATERIALIZED VIEW v WITH (^ttl = '1 day') AS SELECT 1", "22023", "no option \"ttl\"", "batch, emit"),
    ("CREATE MATERIALIZED VIEW v ^SELECT 1", "42601", "expected as", ""),
    ("CREATE MATERIALIZED VIEW v AS^", "42601", "expected a query", ""),
    ("CREATE MATERIALIZED VIEW v AS SELECT a FROM s ^GROUP a", "42601", "expected", ""),
    ("SELECT 1;\nCREATE MATERIALIZED VIEW v AS SELECT a\n  FROM s ^) WHERE", "42601", "expected", ""),
    ("SELECT 'é'; DROP SOURCE^", "42601", "expected the name of a source", ""),
    ("DROP SOURCE s ^CASCADE", "42601", "expected the end", ""),
    ("EXPLAIN^", "42601", "expected a statement", ""),
    ("EXPLAIN ^EXPLAIN SELECT 1", "42601", "expected a statement to explain", ""),
    ("SELECT ^'open", "42601", "unterminated", ""),
];

#[test]
fn errors_say_what_where_and_what_to_do() {
    for (marked, sqlstate, message, hint) in ERRORS {
        let position = marked.chars().position(|c| c == '^').unwrap() + 1;
        let text = marked.replace('^', "");
        let error = parse(&text).expect_err(marked);
        assert_eq!(error.sqlstate, *sqlstate, "{marked}: {error:?}");
        assert_eq!(error.position, Some(position), "{marked}: {error:?}");
        assert!(error.message.contains(message), "{marked}: {error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{marked}: {error:?}");
    }
}

#[test]
fn errors_become_the_products_errors() {
    use model::ErrorKind as Kind;
    let kind = |text: &str| model::Error::from(parse(text).unwrap_err()).kind();
    assert_eq!(kind("CREATE SINK s"), Kind::Unsupported);
    assert_eq!(kind("DROP SOURCE"), Kind::Invalid);
}

#[test]
fn no_prefix_of_a_statement_panics() {
    for (text, ..) in ERRORS {
        for (end, _) in text.char_indices() {
            let _ = parse(&text[..end]);
            let _ = parse(&text[end..]);
        }
    }
}

#[test]
fn a_text_is_taken_apart_at_semicolons_that_are_code() {
    let text = "SELECT ';' ; -- one; two\nSELECT 2;;";
    assert_eq!(super::split(text).unwrap(), ["SELECT ';'", "SELECT 2"]);
    assert!(super::split("SELECT 'open").is_err());
}

/// What a statement begins with, what is repeated, what stands within, what closes each repetition; how many
/// repetitions pass, and how many do not.
const REPETITIONS: &[(&str, &str, &str, &str, usize, usize)] = &[
    ("SELECT ", "(", "1", ")", 40, 51),
    ("SELECT ", "array[", "1", "]", 10, 30),
    ("SELECT ", "f(", "1", ")", 12, 20),
    ("SELECT ", "cast(", "1", " AS int)", 6, 12),
    ("SELECT ", "substring(", "a", " FROM 1)", 6, 12),
    ("SELECT ", "CASE WHEN a THEN ", "1", " END", 10, 20),
    ("SELECT ", "CASE WHEN end THEN ", "1", " END", 10, 20),
    ("SELECT 1", ", CASE WHEN a THEN 1 END", "", "", 900, 1_001),
    ("SELECT 1", ", f(1)", "", "", 1_663, 1_664),
    ("SELECT f(1", ", 1", ")", "", 1_663, 1_664),
    ("SELECT 1 GROUP BY 1", ", 1", "", "", 1_663, 1_664),
    ("SELECT 1 ORDER BY 1", ", 1", "", "", 1_663, 1_664),
    ("SELECT ARRAY[1", ", 1", "]", "", 10_000, usize::MAX),
    ("SELECT 1 FROM (VALUES (1)", ", (1)", ") AS t", "", 10_000, usize::MAX),
    ("SELECT 1", " + 1", "", "", 1_000, 1_001),
    ("SELECT a", " || a", "", "", 1_000, 1_001),
    ("SELECT a", " = a", "", "", 1_000, 1_001),
    ("SELECT a", " IS NULL", "", "", 1_000, 1_001),
    ("SELECT a", " COLLATE b", "", "", 0, 1_001),
    ("SELECT a", "[1]", "", "", 1_000, 1_001),
    ("SELECT a", ".a", "", "", 4, 2_000),
    ("SELECT 1::int", "[]", "", "", 900, 1_001),
    ("SELECT 1::", "array<", "int", ">", 0, 51),
    ("SELECT ", "interval ", "'1'", "", 40, 1_001),
    ("SELECT ", "not ", "true", "", 30, 1_001),
    ("SELECT 1 WHERE a = 1", " OR a = 1", "", "", 999, 1_000),
    ("SELECT 1 FROM s", ", s", "", "", 499, 500),
    ("SELECT 1 FROM s", " JOIN s ON a", "", "", 499, 500),
    ("SELECT 1", " UNION SELECT 1", "", "", 249, 250),
    ("SELECT 1 WHERE 1 IN (0", ", 1", ")", "", 100_000, usize::MAX),
];

#[test]
fn a_statement_is_no_deeper_and_no_longer_than_can_be_walked() {
    for (start, repeated, within, closed, passes, fails) in REPETITIONS {
        for create in ["", "CREATE MATERIALIZED VIEW v AS "] {
            let text = |count| format!("{create}{start}{}{within}{}", repeated.repeat(count), closed.repeat(count));
            let parsed = parse(&text(*passes));
            assert!(parsed.is_ok(), "{passes} times {repeated}: {parsed:?}");
            if *fails < usize::MAX {
                let error = parse(&text(*fails)).expect_err(repeated);
                assert_eq!(error.sqlstate, "54001", "{fails} times {repeated}: {error:?}");
                assert!(error.position > Some(create.len()) && error.hint.is_some(), "{error:?}");
            }
        }
    }
    // Each statement has its own share.
    assert_eq!(parse(&format!("SELECT 1{};", " + 1".repeat(600)).repeat(2)).unwrap().len(), 2);
    assert_eq!(parse(&format!("{}SELECT 1", "EXPLAIN ".repeat(40_000))).unwrap_err().sqlstate, "42601");
}

#[test]
fn what_with_names_counts_wherever_it_is_read() {
    // Each name reads the one before, once or twice.
    let chain = |length: usize, body: &str| {
        let links = (1..=length).map(|i| {
            let (name, before) = (format!("w{i}"), format!("w{}", i - 1));
            body.replace("NAME", &name).replace("BEFORE", &before)
        });
        let links: Vec<String> = links.collect();
        format!("WITH w0 AS (SELECT 1 AS x), {} SELECT * FROM w{length}", links.join(", "))
    };
    let cases = [
        ("NAME AS (SELECT BEFORE.x, BEFORE.x + BEFORE.x FROM BEFORE)", true),
        ("NAME AS (SELECT a.x FROM BEFORE AS a, BEFORE AS b)", false),
        ("NAME (x) AS (SELECT x FROM BEFORE UNION SELECT x FROM \"BEFORE\")", false),
        ("NAME AS NOT MATERIALIZED (SELECT 1 AS x FROM (BEFORE CROSS JOIN BEFORE AS b))", false),
        ("NAME AS (SELECT (SELECT x FROM BEFORE) + (SELECT max(x) FROM BEFORE) AS x)", false),
    ];
    for (body, passes) in cases {
        assert!(parse(&chain(3, body)).is_ok(), "{body}");
        let parsed = parse(&chain(30, body));
        assert_eq!(parsed.is_ok(), passes, "{body}: {parsed:?}");
        if let Err(error) = parsed {
            assert_eq!(error.sqlstate, "54001", "{body}");
        }
    }
}

#[test]
fn a_table_is_a_source_with_a_key() {
    let Statement::CreateTable(table) =
        one("CREATE TABLE devices (id TEXT PRIMARY KEY NOT NULL, room TEXT) WITH (partitions = 3)")
    else {
        panic!()
    };
    assert_eq!((table.name.as_str(), table.key.as_slice(), table.partitions), ("devices", &[0][..], 3));
    assert!(table.schema().field_with_name("_deleted").is_ok());
    let view = ViewDefinition::of_table(&table);
    assert_eq!((view.query.as_str(), view.is_table), ("SELECT \"id\", \"room\" FROM \"devices\"", true));
    let Statement::CreateTable(table) = one("CREATE TABLE t (a INT, b TEXT, c INT, PRIMARY KEY (c, a))") else {
        panic!()
    };
    assert_eq!(table.key, [2, 0]);
    for (text, expected) in [
        ("CREATE TABLE t (a INT)", "without a PRIMARY KEY"),
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", "one primary key"),
        ("CREATE TABLE t (a INT PRIMARY KEY, PRIMARY KEY (a))", "one primary key"),
        ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "none of the table"),
        ("CREATE TABLE t (a INT, PRIMARY KEY (a, a))", "there twice"),
        ("CREATE TABLE t (_deleted INT PRIMARY KEY)", "every source"),
        ("CREATE TABLE t (a INT PRIMARY KEY) WITH (event_time = 'a')", "event_time"),
        ("CREATE SOURCE t (a INT PRIMARY KEY)", "constraint"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error:?}");
    }
    let drop = Statement::DropTable { name: "t".to_owned(), if_exists: true, cascade: true };
    assert_eq!(one("DROP TABLE IF EXISTS t CASCADE"), drop);
}

#[test]
fn altering_adds_columns_to_a_definition_and_nothing_else() {
    let Statement::CreateTable(table) = one("CREATE TABLE t (a INT PRIMARY KEY, b TEXT)") else { panic!() };
    let added = |text: &str| match one(text) {
        Statement::AddColumn(added) => added,
        other => panic!("{other:?}"),
    };
    let first = table.with_column(&added("ALTER TABLE t ADD COLUMN c NUMERIC(10, 2)")).unwrap();
    let second = first.with_column(&added("alter source T add if not exists \"D\" text null;")).unwrap();
    let names: Vec<&str> = second.columns.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names.as_slice(), second.added_columns), (&["a", "b", "c", "D"][..], 2));
    assert_eq!(parse(&second.text).unwrap().len(), 3, "{}", second.text);
    assert_eq!(second.as_of(1).columns, first.columns);
    assert_eq!(second.as_of(0).columns, table.columns);
    assert_eq!(second.as_of(9).columns, second.columns);
    for (text, position, code) in [
        ("SELECT 1; ALTER TABLE t ADD COLUMN a INT", 26, "42701"),
        ("ALTER TABLE t ADD _offset INT", 19, "42701"),
        ("ALTER TABLE t ADD COLUMN _deleted INT", 26, "42701"),
    ] {
        let Statement::AddColumn(added) = parse(text).unwrap().pop().unwrap() else { panic!("{text}") };
        let error = table.with_column(&added).unwrap_err();
        assert_eq!((error.position, error.sqlstate), (Some(position), code), "{text}");
    }
    for (text, position, message) in [
        ("ALTER SOURCE s DROP COLUMN a", 16, "ALTER SOURCE ... DROP COLUMN is not supported yet"),
        ("ALTER TABLE s ALTER a TYPE TEXT", 15, "ALTER TABLE ... ALTER COLUMN is not supported yet"),
        ("ALTER TABLE s RENAME TO t", 15, "ALTER TABLE ... RENAME TO is not supported yet"),
        ("ALTER TABLE s ADD PRIMARY KEY (a)", 15, "ALTER TABLE ... ADD PRIMARY is not supported yet"),
        ("ALTER TABLE s ADD a INT DEFAULT 1", 25, "a constraint or default of an added column is not supported yet"),
        ("ALTER TABLE s ADD a INT, ADD b INT", 24, "adding several columns in one statement is not supported yet"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.position, error.message.as_str()), (Some(position), message), "{text}");
        assert!(error.hint.is_some(), "{text}");
    }
}

#[test]
fn altering_is_nothing_to_a_view_that_was_defined_before() {
    let Statement::CreateSource(source) = one("CREATE SOURCE s (a INT)") else { panic!() };
    let Statement::AddColumn(added) = one("ALTER SOURCE s ADD COLUMN b INT") else { panic!() };
    let grown = source.with_column(&added).unwrap();
    // Also where a name of WITH hides the source.
    for query in ["SELECT * FROM s", "WITH s AS (SELECT * FROM S) SELECT * FROM s"] {
        let Statement::CreateView(mut view) = one(&format!("CREATE MATERIALIZED VIEW v AS {query}")) else { panic!() };
        view.fix_columns(std::slice::from_ref(&source));
        assert_eq!(view.seen(&grown).columns, source.columns);
        view.fix_columns(std::slice::from_ref(&grown));
        assert_eq!(view.seen(&grown).columns, source.columns, "it is said for good");
        view.added_columns = None;
        view.fix_columns(std::slice::from_ref(&grown));
        assert_eq!(view.seen(&grown).columns, grown.columns, "{query}");
    }
}
