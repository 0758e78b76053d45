//! Columns that sources and tables get: views go on as they were defined, after a crash too, and are defined anew with all.

use std::{collections::BTreeMap, time::Duration};

use eventlog::{Acks, Compression, EventLog as _, Record, RecordBatchBuilder};
use model::{Positions, Principal, TopicPartition};
use serving::sql::Session;

use super::{
    COUNT, SOURCE, create, expected,
    groups::{product, rows, service},
};
use crate::fixture::Product;

const ADD: &str = "ALTER SOURCE s ADD COLUMN x INT";

/// Appends records to partition 0, and answers where it ends.
async fn append(product: &Product, values: &[&str]) -> Positions {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        let value = Some((*value).to_owned().into());
        builder.push(Record { offset: 0, timestamp_ms: 1, key: None, value, headers: vec![] });
    }
    let partition = TopicPartition::new("s".parse().unwrap(), 0);
    let appended = product.log.append(&partition, builder.build(), Acks::Durable).await.unwrap();
    Positions::from_iter([(partition, appended.next_offset)])
}

/// Of each view its version and what it computes.
fn versions(product: &Product) -> BTreeMap<String, (u64, String)> {
    let running = product.deployment.running();
    let version = |view: &crate::running_view::RunningView| (view.stored.version, view.plan.as_ref().unwrap().hash());
    running.iter().map(|view| (view.stored.name.clone(), version(view))).collect()
}

/// How many records a view has folded since the product was opened.
fn folded(product: &Product, view: &str) -> u64 {
    product.resources.metrics.view_folded_records.get_or_create(&[("view", view.to_owned())]).get()
}

/// Waits until a view has folded everything before `end`.
async fn reached(product: &Product, view: &str, end: &Positions) {
    product.views.wait_for(view, end, Duration::from_secs(20)).await.unwrap();
}

async fn write(session: &Session, text: &str) {
    session.query(text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altering_a_source_leaves_its_views_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&format!("CREATE MATERIALIZED VIEW plain AS {COUNT}")).await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW whole AS SELECT * FROM s").await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW below AS SELECT k FROM s GROUP BY k").await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW above AS SELECT k, length(k) AS n FROM below").await.unwrap();
    let misfit = r#"{"k": "a", "x": "misfit"}"#;
    let end = append(&product, &[r#"{"k": "a"}"#, r#"{"k": "b", "x": 7}"#, misfit]).await;
    assert_eq!(product.counts("plain", &end).await, expected(2, 1));
    let before = versions(&product);

    assert!(product.execute(ADD).await.unwrap().is_empty());
    assert_eq!(versions(&product), before);
    // What does not fit the new column is nothing to those who do not read it.
    let end = append(&product, &[misfit, r#"{"k": "b", "x": 8}"#]).await;
    assert_eq!(product.counts("plain", &end).await, expected(3, 2));
    for view in ["above", "whole"] {
        reached(&product, view, &end).await;
    }
    let sql = service(&product);
    assert_eq!(rows(&sql, "SELECT k, x, _offset FROM s ORDER BY _offset").await, ["a  0", "b 7 1", "b 8 4"]);
    assert_eq!(rows(&sql, "SELECT count(*) FROM whole").await, ["5"]);
    let whole = rows(&sql, "SELECT * FROM whole WHERE _offset <> 3 ORDER BY _offset").await;
    product.execute("CREATE MATERIALIZED VIEW late AS SELECT k, count(x) AS n FROM s GROUP BY k").await.unwrap();
    assert_eq!(product.counts("late", &end).await, expected(0, 2).into_iter().chain([("a".into(), 0)]).collect());

    // After a crash they go on from where they were.
    let before = versions(&product);
    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert_eq!(versions(&second), before);
    let sql = service(&second);
    for view in ["plain", "whole", "below", "late"] {
        reached(&second, view, &end).await;
        assert_eq!(folded(&second, view), 0, "{view} was built anew");
    }
    assert_eq!(rows(&sql, "SELECT * FROM whole WHERE _offset <> 3 ORDER BY _offset").await, whole);
    assert_eq!(rows(&sql, "SELECT k, x FROM s ORDER BY _offset").await, ["a ", "b 7", "b 8"]);

    // A replay reads what was read before; a new definition reads all columns.
    second.execute("REFRESH MATERIALIZED VIEW plain").await.unwrap();
    assert_eq!(second.counts("plain", &end).await, expected(3, 2));
    second.execute(&format!("CREATE OR REPLACE MATERIALIZED VIEW plain AS {COUNT}")).await.unwrap();
    assert_eq!(second.counts("plain", &end).await, expected(1, 2));
    assert_eq!(versions(&second)["plain"].0, 3);
    second.execute(&format!("CREATE OR REPLACE MATERIALIZED VIEW plain AS {COUNT}")).await.unwrap();
    assert_eq!(versions(&second)["plain"].0, 3, "the same definition again changes nothing");
    second.stop().await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altering_a_source_between_the_views_of_a_group() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW whole AS SELECT * FROM s").await.unwrap();
    append(&product, &[r#"{"k": "a", "x": 1}"#, r#"{"k": "b"}"#]).await;
    product.execute(ADD).await.unwrap();
    product.execute("ALTER TABLE s ADD y TEXT").await.unwrap();
    product
        .execute("CREATE MATERIALIZED VIEW late AS SELECT whole.k, s.x AS n, s.y FROM whole JOIN s USING (_offset)")
        .await
        .unwrap();
    let end = append(&product, &[r#"{"k": "b", "x": 3, "y": "new"}"#]).await;
    let shown = async |product: &Product| {
        reached(product, "late", &end).await;
        let sql = service(product);
        let late = rows(&sql, "SELECT k, n, y FROM late ORDER BY k, n").await;
        assert_eq!(late, ["a 1 ", "b 3 new", "b  "]);
        let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'whole' ORDER BY 1";
        let names = ["_arrival_time", "_key", "_offset", "_partition", "k"];
        assert_eq!(rows(&sql, columns).await, names, "SELECT * means what it meant");
        assert_eq!(rows(&sql, "SELECT k FROM whole ORDER BY _offset").await, ["a", "b", "b"]);
    };
    shown(&product).await;
    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert_eq!(versions(&second), versions(&product));
    shown(&second).await;
    assert_eq!(folded(&second, "whole"), 0);
    // By itself again it reads what it read by itself before.
    second.execute("DROP MATERIALIZED VIEW late").await.unwrap();
    let end = append(&second, &[r#"{"k": "b", "x": "misfit"}"#]).await;
    reached(&second, "whole", &end).await;
    assert_eq!(rows(&service(&second), "SELECT count(*) FROM whole").await, ["4"]);
    second.stop().await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altering_a_table_shows_its_column_and_keeps_those_of_its_views() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(&directory.path().join("first")).await;
    product.execute("CREATE TABLE s (k TEXT PRIMARY KEY, n BIGINT)").await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW over AS SELECT * FROM s").await.unwrap();
    append(&product, &[r#"{"k": "a", "n": 1, "x": 4}"#]).await;
    let session = service(&product).session(Principal::anonymous());
    write(&session, "INSERT INTO s VALUES ('b', 2)").await;
    // One that is under way when the column comes.
    let open = service(&product).session(Principal::anonymous());
    write(&open, "BEGIN").await;
    write(&open, "INSERT INTO s VALUES ('c', 3)").await;

    let notices = product.execute("ALTER TABLE s ADD COLUMN x INT").await.unwrap();
    assert!(notices[0].contains("s/0:2"), "{notices:?}");
    write(&open, "COMMIT").await;
    write(&session, "UPDATE s SET x = 5 WHERE k = 'b'").await;
    write(&session, "INSERT INTO s VALUES ('c', 9, 6), ('d', 7, 8) ON CONFLICT (k) DO UPDATE SET x = excluded.x").await;
    let shown = async |product: &Product| {
        let sql = service(product);
        assert_eq!(rows(&sql, "SELECT * FROM s ORDER BY k").await, ["a 1 4", "b 2 5", "c 3 6", "d 7 8"]);
        assert_eq!(rows(&sql, "SELECT * FROM over ORDER BY k").await, ["a 1", "b 2", "c 3", "d 7"]);
    };
    let end: Positions = "s/0:6".parse().unwrap();
    for view in ["s", "over"] {
        reached(&product, view, &end).await;
    }
    shown(&product).await;
    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert_eq!(versions(&second), versions(&product));
    for view in ["s", "over"] {
        reached(&second, view, &end).await;
    }
    shown(&second).await;
    assert_eq!(folded(&second, "s"), 0);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'over'";
    second.execute("CREATE OR REPLACE MATERIALIZED VIEW over AS SELECT * FROM s").await.unwrap();
    assert_eq!(rows(&service(&second), columns).await, ["3"]);
    second.stop().await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altering_a_captured_source_captures_it_once_more_for_new_views() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    append(&product, &[r#"{"k": "a"}"#, r#"{"k": "b", "x": 7}"#]).await;
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    product.execute(ADD).await.unwrap();
    let end = append(&product, &[r#"{"k": "a", "x": "misfit"}"#, r#"{"k": "b", "x": 8}"#]).await;
    let late =
        "CREATE MATERIALIZED VIEW w WITH (batch = '1 hour') AS SELECT k, sum(x) AS n FROM s WHERE x > 0 GROUP BY k";
    product.execute(late).await.unwrap();
    // The batch reads what the stream has read, of both.
    let second = product.after_a_crash(&directory.path().join("second")).await;
    for product in [product, second] {
        for (view, counts) in [("v", expected(2, 2)), ("w", expected(0, 15))] {
            let report = product.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap();
            assert!(report[0].contains("up to H = s/0:4, 0 merge conflicts"), "{report:?}");
            assert_eq!(product.counts(view, &end).await, counts);
        }
        assert!(product.has("lake/sources/s/_delta_log") && product.has("lake/sources/s-1/_delta_log"));
        product.stop().await;
    }
}
