//! What was folded or captured from records that the log no longer has, and what the catalogue was before it was lost.

use std::path::Path;

use arrow::array::AsArray as _;
use eventlog::{EventLog as _, EventLogSettings, TopicSettings, TopicSpec};
use model::{ErrorKind, Positions, Principal, TopicName};
use serving::sql::Definitions as _;
use sql::Show;

use super::{COUNT, SOURCE, TENFOLD, both_patterns, create, expected, walk};
use crate::{
    Deployment, PatternSettings, ViewState,
    fixture::{Product, copy},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_beyond_the_end_of_the_log_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("first");
    let (product, end) = both_patterns(&data).await;
    product.stop().await;
    copy(&data.join("log"), &directory.path().join("log")).unwrap();

    // What comes now is folded, captured and in a batch, and then lost with the end of the log.
    let product = Product::open(&data).await;
    let lost = product.append("s", &["b"; 5]).await;
    for view in ["k", "v"] {
        assert_eq!(product.counts(view, &lost).await, expected(2, 6));
    }
    product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    product.stop().await;
    std::fs::remove_dir_all(data.join("log")).unwrap();
    copy(&directory.path().join("log"), &data.join("log")).unwrap();

    let product = Product::open(&data).await;
    for view in ["k", "v"] {
        assert_eq!(product.counts(view, &end).await, expected(2, 1), "{view}");
    }
    assert!(product.has("lake/sources/s.1/_delta_log"));
    // The same offsets are used again, by other records.
    let end = product.append("s", &["a"; 7]).await;
    for view in ["k", "v"] {
        assert_eq!(product.counts(view, &end).await, expected(9, 1), "{view}");
    }
    let report = product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    assert!(report[0].ends_with("2 groups up to H = s/0:10, 0 merge conflicts"), "{report:?}");
    assert_eq!(product.counts("v", &end).await, expected(9, 1));
    product.stop().await;
    let product = Product::open(&data).await;
    assert_eq!(product.counts("v", &end).await, expected(9, 1));
    assert!(!product.has("lake/sources/s.2"), "once is enough");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_deleted_is_not_made_again_unless_somebody_asks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut product, _) = both_patterns(directory.path()).await;
    let topic: TopicName = "s".parse().unwrap();
    product.log.delete_topic(&topic).await.unwrap();
    for start in ["before", "after"] {
        for view in ["k", "v"] {
            assert_eq!(product.state(view), "failed: topic s was deleted", "{start}");
            let states = product.deployment.view_states();
            let is_told = |state: &ViewState| state.name == view && state.failed && state.ready;
            assert!(states.iter().any(is_told), "{start}: nobody waits for it: {states:?}");
            let refused = product.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap_err();
            assert!(refused.contains("topic s, which source s reads, was deleted"), "{refused}");
        }
        let refused = product.execute(&format!("CREATE MATERIALIZED VIEW w AS {COUNT}")).await.unwrap_err();
        assert!(refused.contains("topic s, which source s reads, was deleted"), "{refused}");
        let sources = product.deployment.show(&Principal::anonymous(), Show::Sources).await.unwrap();
        let warning = sources.column_by_name("warning").unwrap().as_string::<i32>().value(0).to_owned();
        assert_eq!(warning, "topic s, which source s reads, was deleted");
        assert!(product.log.topic("s").is_none(), "{start}");
        product.stop().await;
        product = Product::open(directory.path()).await;
    }
    // Who creates it again has another topic, with which views begin when they are told to.
    product.log.create_topic(TopicSpec::new(topic, 1)).await.unwrap();
    let end = product.append("s", &["b"; 5]).await;
    for view in ["k", "v"] {
        assert_eq!(product.state(view), "failed: topic s was deleted and created again");
        product.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap();
        assert_eq!(product.counts(view, &end).await, expected(0, 5));
    }
    product.stop().await;
}

/// A product whose log deletes what is over a few kilobytes.
pub(super) async fn forgetful(directory: &Path) -> Product {
    let log = EventLogSettings {
        segment_bytes: 2_000,
        wal_file_bytes: 1 << 16,
        checkpoint_wal_bytes: 4_000,
        retention_check_interval_ms: 5,
        ..EventLogSettings::shipped()
    };
    Product::open_with(directory, log, PatternSettings::shipped().view_task).await
}

/// A new one, with a topic that keeps a few kilobytes, and a view of it.
pub(super) async fn new_forgetful(directory: &Path) -> Product {
    let product = forgetful(directory).await;
    let settings = TopicSettings { retention_bytes: Some(4_000), ..TopicSettings::default() };
    let topic = "s".parse().unwrap();
    product.log.create_topic(TopicSpec { name: topic, partitions: 1, settings }).await.unwrap();
    product.execute(SOURCE).await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    product
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lambda_view_that_is_replaced_or_created_has_what_only_the_lake_has() {
    let directory = tempfile::tempdir().unwrap();
    let product = new_forgetful(directory.path()).await;
    let partition = "s/0".parse().unwrap();
    let mut end = Positions::new();
    while product.log.bounds(&partition).unwrap().log_start_offset == 0 {
        // Fewer bytes than the topic keeps: each record is captured before it can be deleted.
        for _ in 0..10 {
            end = product.append("s", &["a", "b", "a"]).await;
        }
        product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    }
    let records = end.next_offset(&partition) / 3;
    assert_eq!(product.counts("v", &end).await, expected(2 * records, records));

    // Another plan has no batch to go on with, and a view of its own has none at all.
    product.execute(&create(TENFOLD)).await.unwrap();
    assert_eq!(product.counts("v", &end).await, expected(20 * records, 10 * records));
    product.execute(&create(COUNT).replace(" v ", " w ")).await.unwrap();
    assert_eq!(product.counts("w", &end).await, expected(2 * records, records));
    for view in ["v", "w"] {
        let report = product.execute(&format!("REFRESH MATERIALIZED VIEW {view}")).await.unwrap();
        assert!(report[0].ends_with(", 0 merge conflicts"), "{report:?}");
    }
    // A view of the log alone has what the log has, and does not wait for what is gone.
    product.execute(&format!("CREATE MATERIALIZED VIEW k AS {COUNT}")).await.unwrap();
    let kept: i64 = product.counts("k", &end).await.values().sum();
    assert!(kept < 3 * records, "{kept}");
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_batch_stops_its_view_alone_until_it_is_refreshed() {
    let directory = tempfile::tempdir().unwrap();
    let (product, end) = both_patterns(&directory.path().join("first")).await;
    for (number, damage) in
        [|_: &mut u8| {}, |byte: &mut u8| *byte = 0, |byte: &mut u8| *byte ^= 0x55].iter().enumerate()
    {
        let copied = directory.path().join(format!("copy-{number}"));
        product.copy_to(&copied);
        for file in walk(&copied.join("lake/batch/v")) {
            if file.extension().is_some_and(|extension| extension == "parquet") {
                let mut bytes = std::fs::read(&file).unwrap();
                bytes.iter_mut().skip(4).for_each(damage);
                std::fs::write(file, bytes).unwrap();
            }
        }
        let damaged = Product::open(&copied).await;
        assert_eq!(damaged.counts("k", &end).await, expected(2, 1));
        if number > 0 {
            assert!(damaged.state("v").starts_with("failed: "), "{}", damaged.state("v"));
        }
        damaged.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
        assert_eq!(damaged.counts("v", &end).await, expected(2, 1));
        damaged.stop().await;
    }
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_topics_is_not_opened_without_its_catalogue() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(directory.path()).await;
    let file = directory.path().join("another.redb");
    let require = |may_begin_empty| Deployment::require_catalogue(&file, product.log.as_ref(), may_begin_empty);
    // A new log gets a new catalogue.
    require(false).unwrap();
    product.execute(SOURCE).await.unwrap();
    require(false).unwrap();
    for content in [None, Some("")] {
        std::fs::remove_file(&file).unwrap();
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let refused = require(false).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.message().contains("the log has 1 topics"), "{refused}");
        assert!(refused.hint().unwrap().contains("begin_without_catalogue"), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), content, "nothing was changed");
        require(true).unwrap();
        require(false).unwrap();
    }
    product.stop().await;
}
