//! Views that read each other are at one moment, are defined together, and go on after a crash as they were.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::{array::RecordBatch, util::display::array_value_to_string};
use futures::TryStreamExt;
use model::{Positions, Principal};
use serving::sql::{Definitions, Outcome, SqlService, SqlSettings};
use streaming::ViewTaskSettings;

use super::SOURCE;
use crate::fixture::Product;

const VIEWS: [&str; 4] = [
    "CREATE MATERIALIZED VIEW ins AS SELECT k, count(*) AS n FROM s GROUP BY k",
    "CREATE MATERIALIZED VIEW outs AS SELECT k, -count(*) AS n FROM s GROUP BY k",
    "CREATE MATERIALIZED VIEW nothing AS SELECT sum(ins.n + outs.n) AS n, count(*) AS keys FROM ins JOIN outs USING (k)",
    "CREATE MATERIALIZED VIEW sizes AS SELECT n, count(*) AS keys FROM ins GROUP BY n",
];
/// What is nothing at every moment: the sum of a diamond, and what two views of it say.
const NOTHING: [&str; 2] = [
    "SELECT count(*) FROM nothing WHERE n <> 0",
    "SELECT count(*) FROM ins FULL JOIN outs ON ins.k = outs.k WHERE ins.n + outs.n <> 0 OR ins.n IS NULL OR outs.n IS NULL",
];

/// A product that checkpoints after every batch.
pub(super) async fn product(directory: &Path) -> Product {
    let shipped = ViewTaskSettings::shipped();
    let view_task = ViewTaskSettings { checkpoint_interval: Duration::ZERO, ..shipped };
    Product::open_with(directory, eventlog::EventLogSettings::shipped(), view_task).await
}

pub(super) fn service(product: &Product) -> Arc<SqlService> {
    let definitions: Arc<dyn Definitions> = Arc::clone(&product.deployment) as _;
    let metrics = product.resources.metrics.clone();
    SqlService::new(Arc::clone(&product.views), definitions, SqlSettings::shipped(), metrics).unwrap()
}

/// The rows of a query, as text.
pub(super) async fn rows(service: &Arc<SqlService>, query: &str) -> Vec<String> {
    let session = service.session(Principal::anonymous());
    let outcome = session.query(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let Outcome::Rows { stream, .. } = outcome else { panic!("{query}") };
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let text = |batch: &RecordBatch, row: usize| {
        let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
        values.collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| text(batch, row))).collect()
}

async fn reached(product: &Product, end: &Positions) {
    for view in product.views.names() {
        product.views.wait_for(&view, end, Duration::from_secs(20)).await.unwrap();
    }
}

/// What the views have to show of some keys.
async fn check(product: &Product, keys: &[&str]) {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    keys.iter().for_each(|key| *counts.entry(key).or_default() += 1);
    let mut sizes: BTreeMap<i64, i64> = BTreeMap::new();
    counts.values().for_each(|count| *sizes.entry(*count).or_default() += 1);
    let service = service(product);
    let text = |of: Vec<(String, i64)>| of.iter().map(|(k, n)| format!("{k} {n}")).collect::<Vec<_>>();
    let expected = text(counts.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect());
    assert_eq!(rows(&service, "SELECT k, n FROM ins ORDER BY k").await, expected);
    let expected = text(sizes.into_iter().map(|(size, keys)| (size.to_string(), keys)).collect());
    assert_eq!(rows(&service, "SELECT n, keys FROM sizes ORDER BY n").await, expected);
    let expected = if counts.is_empty() { " 0".to_owned() } else { format!("0 {}", counts.len()) };
    assert_eq!(rows(&service, "SELECT n, keys FROM nothing").await, [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diamond_is_nothing_at_every_moment_while_records_come_and_views_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let product = Arc::new(product(directory.path()).await);
    product.execute(SOURCE).await.unwrap();
    for view in VIEWS {
        product.execute(view).await.unwrap();
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let reading = {
        let (product, is_done) = (Arc::clone(&product), Arc::clone(&is_done));
        tokio::spawn(async move {
            let (service, mut looks) = (service(&product), 0);
            while looks < 10 || !is_done.load(Ordering::Relaxed) {
                for query in NOTHING {
                    assert_eq!(rows(&service, query).await, ["0"], "{query}");
                    looks += 1;
                }
            }
        })
    };
    let mut keys = Vec::new();
    let mut end = Positions::new();
    for round in 0..60 {
        let more = [["a", "b", "c"], ["a", "d", "a"], ["e", "b", "f"]][round % 3];
        keys.extend(more);
        end = product.append("s", &more).await;
        if round == 20 {
            let other = VIEWS[1].replace("CREATE", "CREATE OR REPLACE").replace("-count(*)", "0 - count(k)");
            product.execute(&other).await.unwrap();
        }
        if round == 40 {
            product.execute("REFRESH MATERIALIZED VIEW sizes").await.unwrap();
        }
    }
    reached(&product, &end).await;
    is_done.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    check(&product, &keys).await;
    Arc::into_inner(product).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_over_views_go_on_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = product(&directory.path().join("0")).await;
    running.execute(SOURCE).await.unwrap();
    for view in VIEWS {
        running.execute(view).await.unwrap();
    }
    let mut keys = Vec::new();
    for life in 1..5 {
        let more = [["a", "b"], ["c", "a"], ["a", "a"], ["d", "b"]][life - 1];
        keys.extend(more);
        let end = running.append("s", &more).await;
        reached(&running, &end).await;
        check(&running, &keys).await;
        let crashed = directory.path().join(life.to_string());
        running.copy_to(&crashed);
        running.stop().await;
        running = product(&crashed).await;
        // Nothing more than what was there, and all of it.
        reached(&running, &end).await;
        check(&running, &keys).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_leaves_every_view_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let product = product(directory.path()).await;
    product.execute(SOURCE).await.unwrap();
    for view in VIEWS {
        product.execute(view).await.unwrap();
    }
    let end = product.append("s", &["a", "b", "a"]).await;
    reached(&product, &end).await;
    let versions = || {
        let running = product.deployment.running();
        running.iter().map(|view| (view.stored.name.clone(), view.stored.version)).collect::<Vec<_>>()
    };
    let before = versions();
    let refused = [
        ("CREATE OR REPLACE MATERIALIZED VIEW ins AS SELECT k FROM s", "view sizes"),
        (
            "CREATE OR REPLACE MATERIALIZED VIEW ins AS SELECT k, n FROM outs JOIN nothing USING (n)",
            "would read itself",
        ),
        ("CREATE MATERIALIZED VIEW ins AS SELECT k, n FROM outs", "exists already"),
        ("CREATE MATERIALIZED VIEW s AS SELECT k FROM ins", "is taken"),
        ("CREATE MATERIALIZED VIEW more WITH (batch = '1 hour') AS SELECT max(n) AS n FROM ins", "batch interval"),
        ("DROP MATERIALIZED VIEW ins", "view sizes reads view ins"),
        ("DROP SOURCE s", "reads source s"),
    ];
    for (statement, expected) in refused {
        let error = product.execute(statement).await.unwrap_err();
        assert!(error.contains(expected), "{statement}: {error}");
    }
    assert_eq!(versions(), before);
    check(&product, &["a", "b", "a"]).await;

    let notices = product.execute("DROP MATERIALIZED VIEW ins CASCADE").await.unwrap();
    assert_eq!(notices, ["drop cascades to view sizes", "drop cascades to view nothing"]);
    assert_eq!(product.views.names(), ["outs"]);
    assert_eq!(rows(&service(&product), "SELECT k, n FROM outs ORDER BY k").await, ["a -2", "b -1"]);
    product.stop().await;
}
