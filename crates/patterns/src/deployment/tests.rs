//! Versions of views that come, stay beside each other and go, with a crash at any moment.

use std::time::Duration;

use model::Positions;
use streaming::{Statement, ViewDefinition, sql};

use crate::{
    fixture::{Counts, Product, counts},
    lambda::LambdaView,
};

const SOURCE: &str = "CREATE SOURCE s (k TEXT) WITH (topic = 's', partitions = 1)";
const COUNT: &str = "SELECT k, count(*) AS n FROM s GROUP BY k";
const TENFOLD: &str = "SELECT k, count(*) * 10 AS n FROM s GROUP BY k";
const HOUR: Duration = Duration::from_secs(3600);

fn create(query: &str) -> String {
    format!("CREATE OR REPLACE MATERIALIZED VIEW v WITH (batch = '1 hour') AS {query}")
}

fn definition(text: &str) -> ViewDefinition {
    let Statement::CreateView(definition) = sql::parse(text).unwrap().remove(0) else { panic!("not a view") };
    definition
}

fn expected(a: i64, b: i64) -> Counts {
    [("a", a), ("b", b)].into_iter().filter(|(_, n)| *n > 0).map(|(k, n)| (k.to_owned(), n)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_replacement_is_built_both_versions_keep_their_batches() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();

    // What a replacement does before it is committed.
    let plan = product.deployment.plan(&definition(&create(TENFOLD))).unwrap();
    let captured = product.deployment.capture(plan.source()).await.unwrap();
    let new = LambdaView::start(&product.parts, &plan, 2, captured.clone(), HOUR).await.unwrap();
    let mut end = Positions::new();
    for round in 1..=3 {
        end = product.append("s", &["a", "b", "a"]).await;
        assert_eq!(product.counts("v", &end).await, expected(2 * round, round));
        assert_eq!(counts(&*new.relation(), &end).await, expected(20 * round, 10 * round));
        // Their batch runs take turns.
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        let report = new.run_batch().await.unwrap();
        assert_eq!((&report.positions, report.merge_conflicts), (&end, 0));
        assert_eq!(product.counts("v", &end).await, expected(2 * round, round));
        assert_eq!(counts(&*new.relation(), &end).await, expected(20 * round, 10 * round));
    }

    // A crash before the swap: the old version goes on from its own batch, and nothing is left of the new one.
    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert!(second.state("v").ends_with(&format!("up to {end}")), "{}", second.state("v"));
    assert_eq!(second.counts("v", &end).await, expected(6, 3));
    assert!(product.has("lake/batch/v/2") && !second.has("lake/batch/v/2"));
    second.stop().await;

    new.stop().await;
    let new = LambdaView::start(&product.parts, &plan, 2, captured, HOUR).await.unwrap();
    assert_eq!(new.batch_version().1, end);
    assert_eq!(counts(&*new.relation(), &end).await, expected(60, 30));
    new.stop().await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_went_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    let end = product.append("s", &["a", "b", "a"]).await;
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    assert!(product.has("lake/batch/v/1"));

    // Another interval alone: the batch is the same, and is not computed again.
    product.execute(&create(COUNT).replace("1 hour", "2 hours")).await.unwrap();
    assert!(product.state("v").ends_with(&format!("up to {end}")), "{}", product.state("v"));
    assert_eq!(product.counts("v", &end).await, expected(2, 1));
    assert!(product.has("lake/batch/v/2") && !product.has("lake/batch/v/1"));

    // Another query, by the other pattern and back: nothing of the batch is of use.
    let kappa = format!("CREATE OR REPLACE MATERIALIZED VIEW v AS {TENFOLD}");
    for (text, lambda) in [(kappa, false), (create(TENFOLD), true)] {
        product.execute(&text).await.unwrap();
        assert_eq!(product.counts("v", &end).await, expected(20, 10));
        assert!(!product.has("lake/batch/v/2"));
        assert_eq!(product.state("v"), if lambda { "running, no batch yet" } else { "running" });
    }
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    assert!(product.has("lake/batch/v/4"));

    // What a crash keeps from being deleted goes when the product starts, and does not come back to life.
    for stray in ["lake/batch/v/3/_delta_log", "lake/batch/gone/1/_delta_log", "checkpoints/views/v/3"] {
        std::fs::create_dir_all(product.directory.join(stray)).unwrap();
        std::fs::write(product.directory.join(stray).join("00000000000000000000.json"), "torn").unwrap();
    }
    let second = product.after_a_crash(&directory.path().join("second")).await;
    for (path, stays) in [
        ("lake/batch/v/4", true),
        ("lake/batch/v/3", false),
        ("lake/batch/gone", false),
        ("checkpoints/views/v/3/00000000000000000000.json", false),
    ] {
        assert_eq!(second.has(path), stays, "{path}");
    }
    assert_eq!(second.counts("v", &end).await, expected(20, 10));
    second.stop().await;

    product.execute("DROP MATERIALIZED VIEW v").await.unwrap();
    assert!(!product.has("lake/batch/v/4"));
    let torn = product.directory.join("lake/batch/v/1/_delta_log");
    std::fs::create_dir_all(&torn).unwrap();
    std::fs::write(torn.join("00000000000000000000.json"), "torn").unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    assert_eq!(product.counts("v", &end).await, expected(2, 1));
    product.stop().await;
}
