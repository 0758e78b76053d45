//! Views that are being built or restored answer whole or not at all, and the deployment says which of them are not ready.

use std::{path::Path, time::Duration};

use eventlog::EventLogSettings;
use model::Positions;
use serving::views::ReadRefusal;
use streaming::{ReaderSettings, ViewTaskSettings};

use super::{COUNT, SOURCE, create};
use crate::fixture::{Product, counts};

pub(super) const BATCHES: i64 = 300;
const NOW: Duration = Duration::ZERO;

/// A product whose views fold one record batch at a time, and store nothing of it.
pub(super) async fn slow(directory: &Path) -> Product {
    let reader = ReaderSettings { read_bytes_max: 1 };
    let view_task = ViewTaskSettings { checkpoint_interval: Duration::from_secs(3600), reader };
    Product::open_with(directory, EventLogSettings::shipped(), view_task).await
}

/// What a read of `view` gets now: the whole of it, or `None` because it is being built.
async fn read(product: &Product, view: &str) -> Option<i64> {
    match product.views.wait_for(view, &Positions::new(), NOW).await {
        Ok(relation) => Some(counts(&*relation, &Positions::new()).await.values().sum()),
        Err(ReadRefusal::Building { progress, .. }) => {
            assert!(progress.folded_records < progress.records, "{progress}");
            None
        }
        Err(refusal) => panic!("{refusal:?}"),
    }
}

fn is_ready(product: &Product, view: &str) -> bool {
    let states = product.deployment.view_states();
    states.iter().find(|state| state.name == view).unwrap().ready
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_answers_whole_or_not_at_all_from_its_first_record_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = slow(&directory.path().join("first")).await;
    first.execute(SOURCE).await.unwrap();
    let mut end = Positions::new();
    for _ in 0..BATCHES {
        end = first.append("s", &["a", "b", "a"]).await;
    }
    // Neither has answered yet: that they are being built is no reason to keep clients away.
    first.execute(&create(COUNT)).await.unwrap();
    first.execute(&format!("CREATE MATERIALIZED VIEW k AS {COUNT}")).await.unwrap();
    for view in ["k", "v"] {
        loop {
            assert!(is_ready(&first, view), "{view}");
            match read(&first, view).await {
                Some(records) => break assert_eq!(records, 3 * BATCHES, "{view}"),
                None => assert!(first.state(view).starts_with("building ") || read(&first, view).await.is_some()),
            }
        }
    }
    while first.deployment.catalogue.views().unwrap().iter().any(|view| !view.built) {
        tokio::task::yield_now().await;
    }

    // After a crash they answered before, and are waited for.
    first.copy_to(&directory.path().join("second"));
    let second = slow(&directory.path().join("second")).await;
    for view in ["k", "v"] {
        loop {
            // In this order: what is ready answers.
            let was_ready = is_ready(&second, view);
            match read(&second, view).await {
                Some(records) => break assert_eq!(records, 3 * BATCHES, "{view}"),
                None => assert!(!was_ready, "{view}"),
            }
        }
        assert!(is_ready(&second, view), "{view}");
        assert_eq!(second.counts(view, &end).await.len(), 2);
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_over_an_empty_topic_answers_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(&directory.path().join("first")).await;
    product.execute(SOURCE).await.unwrap();
    product.execute("CREATE MATERIALIZED VIEW one AS SELECT 'all' AS k, count(*) AS n FROM s").await.unwrap();
    product.execute(&create(COUNT)).await.unwrap();
    let nowhere = Positions::new();
    let read = |view: &'static str| product.views.wait_for(view, &nowhere, Duration::from_secs(60));
    assert_eq!(read("one").await.unwrap().snapshot().await.unwrap().row_count(), Some(1));
    assert_eq!(read("v").await.unwrap().snapshot().await.unwrap().row_count(), Some(0));
    product.stop().await;
}
