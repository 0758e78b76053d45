//! What each statement that writes asks for.

use super::{Conflict, WriteStatement};
use crate::{SourceDefinition, Statement, parse};

fn target(text: &str) -> SourceDefinition {
    match parse(text).unwrap().remove(0) {
        Statement::CreateSource(source) | Statement::CreateTable(source) => source,
        other => panic!("{other:?}"),
    }
}

fn devices() -> SourceDefinition {
    target("CREATE TABLE devices (id TEXT PRIMARY KEY, room TEXT, n INT)")
}

#[test]
fn a_statement_is_a_query_for_what_is_written() {
    let source = target("CREATE SOURCE log (a INT, \"B c\" TEXT)");
    let cases = [
        (
            &source,
            "INSERT INTO log VALUES (1, 'x')",
            "SELECT CAST(given.\"a\" AS INT) AS \"a\", CAST(given.\"B c\" AS TEXT) AS \"B c\" FROM (VALUES (CAST(1 AS INT), CAST('x' AS TEXT))) AS given (\"a\", \"B c\")",
            Conflict::Meant,
        ),
        (
            &devices(),
            "INSERT INTO devices (id, n) VALUES ('a', 1) ON CONFLICT DO NOTHING",
            "SELECT excluded.\"id\" AS \"id\", excluded.\"room\" AS \"room\", excluded.\"n\" AS \"n\", \"devices\".\"id\" IS NOT NULL AS \"_exists\" \
             FROM (SELECT CAST(given.\"id\" AS TEXT) AS \"id\", CAST(NULL AS TEXT) AS \"room\", CAST(given.\"n\" AS INT) AS \"n\" \
             FROM (VALUES (CAST('a' AS TEXT), CAST(1 AS INT))) AS given (\"id\", \"n\")) AS excluded LEFT JOIN \"devices\" ON \"devices\".\"id\" = excluded.\"id\"",
            Conflict::PassedOver,
        ),
        (
            &devices(),
            "UPDATE devices SET n = n + 1, room = 'hall' WHERE id = 'a'",
            "SELECT \"id\", CAST('hall' AS TEXT) AS \"room\", CAST(\"devices\".n + 1 AS INT) AS \"n\" FROM \"devices\" WHERE id = 'a'",
            Conflict::Meant,
        ),
        (&devices(), "DELETE FROM devices WHERE n > 3", "SELECT \"id\" FROM \"devices\" WHERE n > 3", Conflict::Meant),
    ];
    for (target, text, query, conflict) in cases {
        let statement = WriteStatement::parse(text).unwrap();
        assert_eq!(statement.target(), target.name);
        let write = statement.write(target).unwrap();
        assert_eq!((write.query.as_str(), write.conflict), (query, conflict), "{text}");
    }
    let upsert =
        "INSERT INTO devices VALUES ('a', 'hall', 1) ON CONFLICT (id) DO UPDATE SET n = devices.n + excluded.n";
    let write = WriteStatement::parse(upsert).unwrap().write(&devices()).unwrap();
    assert_eq!(write.conflict, Conflict::Replaced);
    assert!(
        write.query.contains("THEN CAST(devices.n + excluded.n AS INT) ELSE excluded.\"n\" END AS \"n\""),
        "{}",
        write.query
    );
    assert!(
        write.query.contains("THEN CAST(\"devices\".\"room\" AS TEXT) ELSE excluded.\"room\" END"),
        "{}",
        write.query
    );
}

#[test]
fn what_is_not_built_is_refused() {
    let source = target("CREATE SOURCE log (a INT)");
    for (target, text, expected) in [
        (&source, "UPDATE log SET a = 1", "UPDATE of source log"),
        (&source, "DELETE FROM log", "DELETE of source log"),
        (&source, "INSERT INTO log VALUES (1) ON CONFLICT DO NOTHING", "ON CONFLICT of a source"),
        (&devices(), "INSERT INTO devices (nothing) VALUES (1)", "column \"nothing\" of relation"),
        (&devices(), "INSERT INTO devices (id, id) VALUES (1, 2)", "twice"),
        (&devices(), "INSERT INTO devices VALUES ('a', 'b', 1) RETURNING id", "RETURNING"),
        (&devices(), "INSERT INTO devices VALUES ('a', 'b', 1) ON CONFLICT (room) DO NOTHING", "no unique constraint"),
        (&devices(), "INSERT INTO devices VALUES ('a', 'b', 1, 2)", "more expressions than target columns"),
        (&devices(), "INSERT INTO devices (id, n) VALUES ('a')", "more target columns than expressions"),
        (&devices(), "INSERT INTO devices VALUES ('a', 'b'), ('c')", "same length"),
        (&devices(), "UPDATE devices SET id = 'b'", "of the primary key"),
        (&devices(), "UPDATE devices SET n = 1, n = 2", "set twice"),
        (&devices(), "UPDATE devices SET n = 1 FROM log", "UPDATE with FROM"),
        (&devices(), "DELETE FROM devices USING log", "DELETE with USING"),
    ] {
        let error = WriteStatement::parse(text).and_then(|statement| statement.write(target)).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error:?}");
    }
}
