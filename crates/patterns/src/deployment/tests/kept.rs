//! Versions that were replaced and are kept: as they were, after a crash too, current again when asked, gone when their time is
//! over.

use std::time::Duration;

use model::Positions;

use super::{
    SOURCE,
    groups::{product, rows, service},
};
use crate::fixture::Product;

const FIRST: &str = "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM s GROUP BY k";
const SECOND: &str =
    "CREATE OR REPLACE MATERIALIZED VIEW v WITH (keep = '1 hour') AS SELECT k, 10 * count(*) AS n FROM s GROUP BY k";
const READER: &str = "CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n FROM v";

async fn wait(product: &Product, end: &Positions) {
    for view in product.views.names().iter().filter(|view| !view.contains('@')) {
        product.views.wait_for(view, end, Duration::from_secs(20)).await.unwrap();
    }
}

/// What views show, by the names in queries.
async fn check(product: &Product, expected: &[(&str, &[&str])]) {
    for (view, expected) in expected {
        assert_eq!(&rows(&service(product), &format!("SELECT * FROM {view} ORDER BY 1")).await, expected, "{view}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_kept_as_it_was_and_is_current_again_also_after_a_crash() {
    let (directory, crashed, again) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = product(directory.path()).await;
    for statement in [SOURCE, FIRST, READER] {
        before.execute(statement).await.unwrap();
    }
    wait(&before, &before.append("s", &["a", "b", "a"]).await).await;
    let notices = before.execute(SECOND).await.unwrap();
    // Of `v` there is a second version since a view reads it.
    assert_eq!(notices, ["version 2 is kept as \"v@2\"", "version 1 is kept as \"total@1\""]);
    wait(&before, &before.append("s", &["c"]).await).await;
    let shown: [(&str, &[&str]); 4] =
        [("v", &["a 20", "b 10", "c 10"]), ("total", &["40"]), ("\"v@2\"", &["a 2", "b 1"]), ("\"total@1\"", &["3"])];
    check(&before, &shown).await;

    let product = before.after_a_crash(crashed.path()).await;
    before.deployment.stop().await.unwrap();
    check(&product, &shown).await;

    // Back, from where it stood: what has come since is in it too.
    let notices = product.execute("ROLLBACK MATERIALIZED VIEW v").await.unwrap();
    assert_eq!(notices.last().map(String::as_str), Some("version 2 of view v is current again"));
    check(&product, &[("v", &["a 2", "b 1", "c 1"]), ("total", &["4"]), ("\"v@3\"", &["a 20", "b 10", "c 10"])]).await;
    // And forth.
    product.execute("ROLLBACK MATERIALIZED VIEW v").await.unwrap();
    let end = product.append("s", &["c"]).await;
    wait(&product, &end).await;
    check(&product, &[("v", &["a 20", "b 10", "c 20"]), ("total", &["50"]), ("\"v@2\"", &["a 2", "b 1"])]).await;

    product.execute("DROP MATERIALIZED VIEW v CASCADE").await.unwrap();
    assert_eq!(product.views.names(), Vec::<String>::new());
    let empty = product.after_a_crash(again.path()).await;
    product.deployment.stop().await.unwrap();
    assert_eq!(empty.views.names(), Vec::<String>::new());
    empty.deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_version_is_gone_when_its_time_is_over() {
    let (directory, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = product(directory.path()).await;
    for statement in [SOURCE, FIRST, &SECOND.replace("1 hour", "700 milliseconds")] {
        before.execute(statement).await.unwrap();
    }
    assert!(before.views.names().contains(&"v@1".to_owned()));
    let product = before.after_a_crash(crashed.path()).await;
    for product in [&before, &product] {
        tokio::time::timeout(Duration::from_secs(20), async {
            let folder = product.directory.join("checkpoints/views/v/1");
            let has_files = || std::fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some());
            while !product.deployment.catalogue.kept().unwrap().is_empty() || has_files() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(product.views.names(), ["v"]);
        let refused = product.execute("ROLLBACK MATERIALIZED VIEW v").await.unwrap_err();
        assert!(refused.contains("no version of view v is kept"), "{refused}");
        product.deployment.stop().await.unwrap();
    }
}
