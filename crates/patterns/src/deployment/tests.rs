//! Versions of views that come, stay beside each other and go, with a crash at any moment; topics that go under them.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use eventlog::{EventLog as _, TopicSpec};
use futures::TryStreamExt;
use model::{ErrorKind, Positions, Principal, TopicName};
use serving::sql::{Definitions, Outcome, SqlService, SqlSettings};
use sql::{Statement, ViewDefinition};
use streaming::{PlannedView, ViewPlan};
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, StoredView},
    fixture::{Counts, Product, counts},
    incarnation::Incarnation,
    kappa::{Course, KappaView},
    lambda::LambdaView,
    wiring::Wiring as _,
};

mod altering;
mod asked;
mod damaged;
mod groups;
mod kept;
mod lost;
mod replayed;
mod tables;
mod whole;

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

/// The plan of a view that is a chain.
fn chain(product: &Product, query: &str) -> Arc<ViewPlan> {
    match product.deployment.plans(&definition(&create(query))).unwrap().remove(0) {
        PlannedView::Chain(plan) => plan,
        PlannedView::Dataflow(..) => panic!("{query}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_replacement_is_built_both_versions_keep_their_batches() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();

    // What a replacement does before it is committed.
    let plan = chain(&product, TENFOLD);
    let captured = product.deployment.captures.capture_of(plan.source()).await.unwrap();
    let topic = product.incarnation("s");
    let start = || LambdaView::start(&product.resources, &plan, 2, topic.clone(), captured.clone(), HOUR);
    let new = start().await.unwrap();
    let mut end = Positions::new();
    for round in 1..=3 {
        end = product.append("s", &["a", "b", "a"]).await;
        assert_eq!(product.counts("v", &end).await, expected(2 * round, round));
        assert_eq!(counts(&*new.relation(), &end).await, expected(20 * round, 10 * round));
        // Their batch runs take turns.
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        let report = new.run_batch().await.unwrap();
        assert_eq!(report.positions, end);
        assert_eq!(product.counts("v", &end).await, expected(2 * round, round));
        assert_eq!(counts(&*new.relation(), &end).await, expected(20 * round, 10 * round));
    }

    // A crash before the swap: the old version goes on from its own batch, and nothing is left of the new one.
    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert!(second.state("v").ends_with(&format!("up to {end}")), "{}", second.state("v"));
    assert_eq!(second.counts("v", &end).await, expected(6, 3));
    assert!(product.has("lake/batch/v/2") && !second.has("lake/batch/v/2"));
    second.stop().await;

    new.stop().await.unwrap();
    let new = start().await.unwrap();
    assert_eq!(new.batch_version().1, end);
    assert_eq!(counts(&*new.relation(), &end).await, expected(60, 30));
    new.stop().await.unwrap();
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_went_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    let end = product.append("s", &["a", "b", "a"]).await;
    assert_eq!(product.counts("v", &end).await, expected(2, 1));
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

/// A deployment with the Kappa view `k` and the Lambda view `v`, both over the records a, b, a.
async fn both_patterns(directory: &Path) -> (Product, Positions) {
    let product = Product::open(directory).await;
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    product.execute(&format!("CREATE MATERIALIZED VIEW k AS {COUNT}")).await.unwrap();
    let end = product.append("s", &["a", "b", "a"]).await;
    for view in ["k", "v"] {
        assert_eq!(product.counts(view, &end).await, expected(2, 1));
    }
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    (product, end)
}

async fn create_again(product: &Product, partitions: i32) {
    let topic: TopicName = "s".parse().unwrap();
    product.log.delete_topic(&topic).await.unwrap();
    product.log.create_topic(TopicSpec::new(topic, partitions)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_created_again_is_never_mixed_with_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (product, end) = both_patterns(&directory.path().join("first")).await;
    create_again(&product, 1).await;
    // More records than the one before had, so that its offsets are there again.
    let new_end = product.append("s", &["b"; 5]).await;
    let failed = "failed: topic s was deleted and created again";
    for view in ["k", "v"] {
        assert_eq!(product.state(view), failed);
        assert_eq!(product.counts(view, &end).await, expected(2, 1), "what was folded is still there");
    }

    // After a crash nothing is folded on top of the old state, and whoever asks is told what to do.
    let second = product.after_a_crash(&directory.path().join("second")).await;
    for view in ["k", "v"] {
        assert_eq!(second.state(view), failed);
        let relation = second.views.get(view).unwrap();
        let refused = relation.snapshot().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.hint().unwrap().starts_with("REFRESH MATERIALIZED VIEW"), "{refused:?}");
    }

    // A refresh begins again, with or without a crash; the old captures are kept.
    for product in [&second, &product] {
        for (view, notices) in [("v", vec!["it was set aside as", "rebuilt by replay"]), ("k", vec!["rebuilt"])] {
            let given = product.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap();
            assert_eq!(given.len(), notices.len(), "{given:?}");
            assert!(given.iter().zip(notices).all(|(given, part)| given.contains(part)), "{given:?}");
            assert_eq!(product.counts(view, &new_end).await, expected(0, 5));
        }
        assert!(product.has("lake/sources/s.1/_delta_log"));
        let report = product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        assert_eq!(report, ["batch version 1: 1 groups up to H = s/0:5, 0 merge conflicts"]);
        assert_eq!(product.counts("v", &new_end).await, expected(0, 5));
    }
    second.stop().await;
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_another_topic_are_not_folded() {
    let directory = tempfile::tempdir().unwrap();
    let (product, end) = both_patterns(directory.path()).await;
    let plan = chain(&product, COUNT);
    let (resources, other) = (
        &product.resources,
        Incarnation::new(&product.resources.log, vec![(plan.source().topic.clone(), Uuid::nil())]),
    );
    // As when the topic went while its records were being read.
    let planned = [PlannedView::Chain(Arc::clone(&plan))];
    let kappa = KappaView::start(resources, &planned, 7, other.clone(), Course::On).await.unwrap().remove(0);
    kappa.relation().frontier().settled(&end).await.unwrap_err();
    assert_eq!(kappa.relation().row_count(), Some(0));
    let captured = product.deployment.captures.capture_of(plan.source()).await.unwrap();
    let lambda = LambdaView::start(resources, &plan, 7, other, captured, HOUR).await.unwrap();
    let failed = lambda.relation().frontier().settled(&end).await.unwrap_err();
    assert!(failed.message().contains("created again"), "{failed}");
    assert_eq!(lambda.relation().snapshot().await.unwrap().row_count(), Some(0));
    lambda.run_batch().await.unwrap_err();
    lambda.stop().await.unwrap();
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_no_longer_fits_stops_its_views_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (product, _) = both_patterns(&directory.path().join("first")).await;
    create_again(&product, 2).await;
    product.execute("CREATE SOURCE t (k TEXT) WITH (topic = 't', partitions = 1)").await.unwrap();
    product.execute(&format!("CREATE MATERIALIZED VIEW w AS {}", COUNT.replace("FROM s", "FROM t"))).await.unwrap();
    let end = product.append("t", &["a"]).await;

    let second = product.after_a_crash(&directory.path().join("second")).await;
    assert_eq!(second.counts("w", &end).await, expected(1, 0));
    for view in ["k", "v"] {
        let refused = second.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap_err();
        assert!(refused.contains("topic s has 2 partitions"), "{refused}");
        second.execute(&format!("DROP MATERIALIZED VIEW {view}")).await.unwrap();
    }
    second.execute("DROP SOURCE s").await.unwrap();
    second.execute(&SOURCE.replace("partitions = 1", "partitions = 2")).await.unwrap();
    second.execute(&create(COUNT)).await.unwrap();
    let end = second.append("s", &["b"]).await;
    assert_eq!(second.counts("v", &end).await, expected(0, 1));
    second.stop().await;
    // Its views failed with their topic, and have nothing left to stop.
    product.deployment.stop().await.unwrap();
    product.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_captured_outlives_its_source() {
    let directory = tempfile::tempdir().unwrap();
    let (product, _) = both_patterns(directory.path()).await;
    let refused = product.execute("DROP SOURCE s").await.unwrap_err();
    assert!(refused.contains("reads source s"), "{refused}");
    let wider = SOURCE.replace("(k TEXT)", "(k TEXT, x INT)");
    for (number, source) in [SOURCE, &wider, &wider].into_iter().enumerate() {
        for view in ["k", "v"] {
            // Only the first time there is a `k`.
            product.execute(&format!("DROP MATERIALIZED VIEW IF EXISTS {view}")).await.unwrap();
        }
        let notices = product.execute("DROP SOURCE s").await.unwrap();
        assert!(notices.len() == 1 && notices[0].contains("stays in"), "{notices:?}");
        product.execute(source).await.unwrap();
        // The same topic and columns go on; other columns begin another table.
        let notices = product.execute(&create(COUNT)).await.unwrap();
        assert_eq!(notices.iter().any(|notice| notice.contains("s.1")), number == 1, "{notices:?}");
        assert!(product.has("lake/sources/s/_delta_log"));
        assert_eq!((product.has("lake/sources/s.1"), product.has("lake/sources/s.2")), (number > 0, false));
        let end = product.append("s", &["b"]).await;
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        assert_eq!(product.counts("v", &end).await, expected(2, 2 + number as i64));
    }
    // Without a capture nothing stays.
    product.execute("CREATE SOURCE t (k TEXT) WITH (topic = 't', partitions = 1)").await.unwrap();
    assert!(product.execute("DROP SOURCE t").await.unwrap().is_empty());
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_cannot_be_started_stops_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (product, end) = both_patterns(&directory.path().join("first")).await;
    let topic_ids = BTreeMap::from([("s".to_owned(), product.log.topic("s").unwrap().id)]);
    product.stop().await;
    let texts = [
        ("unknown", "CREATE MATERIALIZED VIEW unknown AS SELECT no_such_function(k) FROM s", "no_such_function"),
        ("unread", "CREATE MATERIALIZED VIEW unread AS SELEC", "expected"),
        ("long", &format!("CREATE MATERIALIZED VIEW long AS SELECT k{} FROM s", " || k".repeat(2_000)), "operators"),
        ("other", "DROP SOURCE s", "not a CREATE MATERIALIZED VIEW"),
    ];
    {
        let catalogue = Catalogue::open(&directory.path().join("first/catalogue.redb")).unwrap();
        for (name, text, _) in &texts {
            let view = StoredView {
                name: (*name).to_owned(),
                version: 1,
                topic_ids: topic_ids.clone(),
                text: (*text).to_owned(),
                added_columns: BTreeMap::new(),
                built: true,
            };
            catalogue.change(&[view], &[], &[]).unwrap();
        }
    }
    // The checkpoint of one is damaged.
    for entry in walk(&directory.path().join("first/checkpoints/views/k")) {
        std::fs::write(entry, "damaged").unwrap();
    }

    let product = Product::open(&directory.path().join("first")).await;
    assert_eq!(product.counts("v", &end).await, expected(2, 1));
    for (name, _, reason) in &texts {
        let state = product.state(name);
        assert!(state.starts_with("failed: ") && state.contains(reason), "{state}");
        let refused = product.views.get(name).unwrap().snapshot().await.unwrap_err();
        assert!(refused.to_string().contains(reason) && refused.hint().is_some(), "{refused:?}");
        product.execute(&format!("REFRESH MATERIALIZED VIEW {name}")).await.unwrap_err();
    }
    assert!(product.state("k").starts_with("failed: "), "{}", product.state("k"));
    let listed = product.after_a_crash(&directory.path().join("listed")).await;
    check_catalogue(&listed).await;
    listed.stop().await;
    product.execute("REFRESH MATERIALIZED VIEW k").await.unwrap();
    assert_eq!(product.counts("k", &end).await, expected(2, 1));
    product.execute(&format!("CREATE OR REPLACE MATERIALIZED VIEW unknown AS {COUNT}")).await.unwrap();
    assert_eq!(product.counts("unknown", &end).await, expected(2, 1));
    for (name, ..) in &texts {
        product.execute(&format!("DROP MATERIALIZED VIEW {name}")).await.unwrap();
    }
    product.stop().await;
    let product = Product::open(&directory.path().join("first")).await;
    assert_eq!(product.deployment.view_states().len(), 2);
    product.stop().await;
}

/// The catalogue tables list every view; a statement that reads one that cannot be read is told why.
async fn check_catalogue(product: &Product) {
    let definitions: Arc<dyn Definitions> = Arc::clone(&product.deployment) as _;
    let metrics = product.resources.metrics.clone();
    let service = SqlService::new(Arc::clone(&product.views), definitions, SqlSettings::shipped(), metrics).unwrap();
    let session = service.session(Principal::anonymous());
    for listed in ["SELECT relname FROM pg_class", "SELECT attname FROM pg_attribute", "TABLE information_schema.views"]
    {
        let Outcome::Rows { stream, .. } = session.query(listed, &[]).await.unwrap() else { panic!("{listed}") };
        stream.try_collect::<Vec<_>>().await.unwrap();
    }
    let refused = session.query("SELECT * FROM unknown", &[]).await.err().unwrap();
    assert!(refused.message.contains("no_such_function"), "{refused}");
}

/// All files below a folder.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
