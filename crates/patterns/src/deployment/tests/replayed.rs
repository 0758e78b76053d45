//! Versions that are replayed beside the current one: a part of the log or all of it, also after a crash, and compared.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    SOURCE,
    groups::{product, rows, service},
};
use crate::fixture::Product;

const VIEW: &str = "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k";
const READER: &str = "CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM v";

async fn check(product: &Product, view: &str, expected: &[&str]) {
    assert_eq!(rows(&service(product), &format!("SELECT * FROM {view} ORDER BY 1")).await, expected, "{view}");
}

/// Version and state of what `SHOW VIEWS` lists.
async fn shown(product: &Product) -> Vec<String> {
    let all = rows(&service(product), "SHOW VIEWS").await;
    all.iter().map(|row| row.split(" kappa ").next().unwrap_or_default().to_owned()).collect()
}

/// What a replay says, as notices.
async fn notice(product: &Product, statement: &str) -> Result<String, String> {
    let session = service(product).session(model::Principal::anonymous());
    match session.query(statement, &[]).await {
        Ok(serving::sql::Outcome::Done { notices, .. }) => Ok(notices.join("; ")),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_log_is_replayed_beside_the_view_and_stays_after_a_crash() {
    let (directory, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = product(directory.path()).await;
    for statement in [SOURCE, VIEW, READER] {
        before.execute(statement).await.unwrap();
    }
    let end = before.append("s", &["a", "b", "a", "c", "a", "b"]).await;
    for view in ["v", "total"] {
        before.views.wait_for(view, &end, Duration::from_secs(20)).await.unwrap();
    }
    let said = notice(&before, "REPLAY MATERIALIZED VIEW total FROM 's/0:1' TO 's/0:4'").await.unwrap();
    assert_eq!(said, "version 2 of view total was built from s/0:1 up to s/0:4, and is kept as \"total@2\"");
    let said = notice(&before, "REPLAY MATERIALIZED VIEW v TO 's/0:2' WITH (keep = '1 hour')").await.unwrap();
    assert_eq!(said, "version 4 of view v was built from the beginning of the log up to s/0:2, and is kept as \"v@4\"");

    for product in [&before, &before.after_a_crash(crashed.path()).await] {
        check(product, "\"total@2\"", &["3"]).await;
        check(product, "\"v@3\"", &["a 1", "b 1", "c 1"]).await;
        check(product, "\"v@4\"", &["a 1", "b 1"]).await;
        check(product, "total", &["6"]).await;
        // The one that answers is the one that it was.
        assert_eq!(shown(product).await, ["total 1", "total@2 2", "v 2", "v@3 3", "v@4 4"]);
        // And none of the others was ever current.
        let refused = product.execute("ROLLBACK MATERIALIZED VIEW v").await.unwrap_err();
        assert!(refused.contains("no version of view v is kept"), "{refused}");
        product.execute("DROP MATERIALIZED VIEW \"total@2\"").await.unwrap();
        let replaced = VIEW.replace("CREATE", "CREATE OR REPLACE").replace("count(*)", "2 * count(*)");
        product.execute(&replaced).await.unwrap();
        assert_eq!(shown(product).await, ["total 2", "v 5", "v@4 4"]);
        check(product, "total", &["12"]).await;
        product.deployment.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_are_not_there_are_refused_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(directory.path()).await;
    product.execute(SOURCE).await.unwrap();
    product.execute("CREATE TABLE t (k TEXT PRIMARY KEY) WITH (partitions = 1)").await.unwrap();
    product.execute(VIEW).await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW both AS SELECT s.k FROM s JOIN t USING (k)").await.unwrap();
    product.append("s", &["a", "b"]).await;
    product.append("t", &["a", "b"]).await;
    let refusals = [
        ("v TO 's/0:3'", "there is nothing to replay up to s/0:3"),
        ("v FROM 's/0:3'", "there is nothing to replay from s/0:3"),
        ("v FROM 's/0:2' TO 's/0:1'", "there is nothing to replay from s/0:2"),
        ("v FROM 's/1:1'", "the view does not read s/1"),
        ("v FROM 't/0:1'", "the view does not read t/0"),
        ("both FROM 't/0:1'", "a table cannot begin at t/0:1"),
        ("w", "there is no view w"),
        ("v COMPARE VERSION 7", "there is no version 7 of view v"),
    ];
    for (replay, expected) in refusals {
        let refused = notice(&product, &format!("REPLAY MATERIALIZED VIEW {replay}")).await.unwrap_err();
        assert!(refused.contains(expected), "{replay}: {refused}");
    }
    // Of a table all records count, from whatever time on the others do: these are of 1970.
    let said = notice(&product, "REPLAY MATERIALIZED VIEW both FROM '2000-01-01'").await.unwrap();
    assert!(said.contains("from s/0:2 up to s/0:2,t/0:"), "{said}");
    check(&product, "\"both@2\"", &[]).await;
    assert_eq!(product.deployment.catalogue.kept().unwrap().len(), 2, "the view, and what the table shows");
    product.deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_compared_at_one_moment_while_records_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(directory.path()).await;
    for statement in [SOURCE, VIEW] {
        product.execute(statement).await.unwrap();
    }
    let lambda = VIEW.replace("VIEW v", "VIEW l WITH (batch = '1 hour')");
    product.execute(&lambda).await.unwrap();
    let end = product.append("s", &["a", "b", "a"]).await;
    product.views.wait_for("l", &end, Duration::from_secs(20)).await.unwrap();
    product.execute("REFRESH MATERIALIZED VIEW l").await.unwrap();
    let is_over = AtomicBool::new(false);
    let arrive = async {
        while !is_over.load(Ordering::Relaxed) {
            product.append("s", &["a", "c", "d"]).await;
        }
    };
    let compare = async {
        for view in ["v", "l", "v", "l", "v"] {
            let compared = rows(&service(&product), &format!("REPLAY MATERIALIZED VIEW {view} COMPARE")).await;
            assert_eq!(compared, Vec::<String>::new(), "{view}");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(arrive, compare);
    // Nothing is left of what was only compared.
    assert!(product.views.names().iter().all(|name| !name.contains('@')));
    product.deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_differ_are_there_with_the_version_that_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(directory.path()).await;
    product.execute(SOURCE).await.unwrap();
    // Rows that are told apart by where they are from, and a NULL.
    product.execute("CREATE MATERIALIZED VIEW v AS SELECT nullif(k, 'n') AS k FROM s").await.unwrap();
    let end = product.append("s", &["a", "b", "a", "n"]).await;
    product.views.wait_for("v", &end, Duration::from_secs(20)).await.unwrap();
    product
        .execute(
            "CREATE OR REPLACE MATERIALIZED VIEW v WITH (keep = '1 hour') AS SELECT replace(k, 'b', 'a') AS k FROM s",
        )
        .await
        .unwrap();
    let end = product.append("s", &["a", "b", "z"]).await;
    product.views.wait_for("v", &end, Duration::from_secs(20)).await.unwrap();
    let compared = rows(&service(&product), "REPLAY MATERIALIZED VIEW v COMPARE VERSION 1").await;
    // Up to where version 1 was left, and no further.
    assert_eq!(compared, ["3 1 a 0 1", "1 1 b 0 1", "3 1 n 0 3", "1 1  0 3"]);
    product.execute("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1 AS k FROM s").await.unwrap();
    let refused = notice(&product, "REPLAY MATERIALIZED VIEW v COMPARE VERSION 1").await.unwrap_err();
    assert!(refused.contains("\"v@1\" has other columns than view v"), "{refused}");
    product.deployment.stop().await.unwrap();
}
