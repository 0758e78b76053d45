//! Rows that are written over SQL are there, in the table and in the views over it, once each, and after a crash too.

use std::{collections::BTreeMap, path::Path};

use model::Principal;
use serving::sql::{Outcome, Session};

use super::groups::{product, rows, service};
use crate::{fixture::Product, stored_statement::source_definition};

const TABLE: &str = "CREATE TABLE t (k INT PRIMARY KEY, n BIGINT) WITH (partitions = 3)";
const VIEW: &str =
    "CREATE MATERIALIZED VIEW sums AS SELECT k % 2 AS odd, count(*) AS keys, sum(n) AS n FROM t GROUP BY k % 2";

/// How many rows a statement writes.
async fn write(session: &Session, text: &str) -> usize {
    match session.query(text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error:?}")) {
        Outcome::Written { rows, notices, .. } => {
            assert!(notices.is_empty(), "{text}: {notices:?}");
            rows
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// The table and its view have to show these rows at once.
async fn check(product: &Product, expected: &BTreeMap<i64, i64>) {
    let service = service(product);
    let shown: Vec<String> = expected.iter().map(|(k, n)| format!("{k} {n}")).collect();
    assert_eq!(rows(&service, "SELECT k, n FROM t ORDER BY k").await, shown);
    let mut sums: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
    for (k, n) in expected {
        let (keys, sum) = sums.entry(k % 2).or_default();
        (*keys, *sum) = (*keys + 1, *sum + n);
    }
    let shown: Vec<String> = sums.iter().map(|(odd, (keys, sum))| format!("{odd} {keys} {sum}")).collect();
    assert_eq!(rows(&service, "SELECT odd, keys, n FROM sums ORDER BY odd").await, shown);
}

/// Statement number `number`, carried out on the rows too; answers the statement and how many rows it writes.
fn statement(number: usize, rows: &mut BTreeMap<i64, i64>) -> (String, usize) {
    // Multiplied by a number that scatters it (Knuth, The Art of Computer Programming 3, 6.4).
    let scattered = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (k, n) = ((scattered >> 59) as i64, i64::from(scattered as u16));
    match scattered >> 40 & 3 {
        0 => {
            let is_new = !rows.contains_key(&k);
            rows.entry(k).or_insert(n);
            (format!("INSERT INTO t VALUES ({k}, {n}) ON CONFLICT DO NOTHING"), usize::from(is_new))
        }
        1 => {
            for k in [k, k + 1] {
                rows.entry(k).and_modify(|old| *old += n).or_insert(n);
            }
            let update = "ON CONFLICT (k) DO UPDATE SET n = t.n + excluded.n";
            (format!("INSERT INTO t VALUES ({k}, {n}), ({}, {n}) {update}", k + 1), 2)
        }
        2 => {
            let concerned = rows.iter_mut().filter(|(key, _)| *key % 3 == k % 3);
            (format!("UPDATE t SET n = n - {n} WHERE k % 3 = {}", k % 3), concerned.map(|(_, old)| *old -= n).count())
        }
        _ => {
            let before = rows.len();
            rows.retain(|key, _| key % 5 != k % 5);
            (format!("DELETE FROM t WHERE k % 5 = {}", k % 5), before - rows.len())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_what_was_written_also_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = product(&directory.path().join("0")).await;
    running.execute(TABLE).await.unwrap();
    running.execute(VIEW).await.unwrap();
    let mut expected = BTreeMap::new();
    for life in 1..4 {
        let session = service(&running).session(Principal::anonymous());
        for number in 0..40 {
            let (text, count) = statement(1000 * life + number, &mut expected);
            assert_eq!(write(&session, &text).await, count, "{text}");
            if number % 8 == 0 {
                check(&running, &expected).await;
            }
        }
        check(&running, &expected).await;
        let crashed = directory.path().join(life.to_string());
        running.copy_to(&crashed);
        running.stop().await;
        running = product(&crashed).await;
        check(&running, &expected).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_among_many_writers() {
    const WRITERS: usize = 6;
    const WRITES: usize = 10;
    let directory = tempfile::tempdir().unwrap();
    let product = product(directory.path()).await;
    product.execute(TABLE).await.unwrap();
    let service = service(&product);
    let writers = (0..WRITERS).map(|writer| {
        let session = service.session(Principal::anonymous());
        tokio::spawn(async move {
            for number in 0..WRITES {
                let in_transaction = (writer + number) % 3 == 0;
                if in_transaction {
                    session.query("BEGIN", &[]).await.unwrap();
                }
                let count = "INSERT INTO t VALUES (7, 1) ON CONFLICT (k) DO UPDATE SET n = t.n + 1";
                assert_eq!(write(&session, count).await, 1);
                if in_transaction {
                    let end = if number % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
                    session.query(end, &[]).await.unwrap();
                }
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let numbers = (0..WRITERS).flat_map(|writer| (0..WRITES).map(move |number| (writer, number)));
    let kept = numbers.filter(|(writer, number)| (writer + number) % 3 != 0 || number % 2 == 0).count();
    assert_eq!(rows(&service, "SELECT n FROM t").await, [kept.to_string()]);
    drop(service);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_a_crash_has_left_half_made_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    let running = product(&before).await;
    running.execute("CREATE SOURCE t (k INT, n BIGINT)").await.unwrap();
    // Its source is in the catalogue, and its view is not yet.
    let text = "CREATE TABLE t (k INT PRIMARY KEY, n BIGINT)";
    assert!(source_definition("t", text).unwrap().is_table());
    running.deployment.catalogue.put_source("t", text).unwrap();
    half_made(&running, &after).await;
    running.stop().await;
}

async fn half_made(running: &Product, after: &Path) {
    running.copy_to(after);
    let product = product(after).await;
    let service = service(&product);
    let session = service.session(Principal::anonymous());
    assert_eq!(write(&session, "INSERT INTO t VALUES (1, 2)").await, 1);
    assert_eq!(rows(&service, "SELECT k, n FROM t").await, ["1 2"]);
    let refused = product.execute("DROP SOURCE t").await.unwrap_err();
    assert!(refused.contains("t is a table"), "{refused}");
    product.execute("DROP TABLE t").await.unwrap();
    assert!(product.execute("DROP TABLE t").await.unwrap_err().contains("there is no table t"));
    drop((session, service));
    product.stop().await;
}
