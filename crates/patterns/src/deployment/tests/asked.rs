//! A batch that is asked for goes to where the topic ended when it was asked for, and holds up nobody else.

use std::{pin::pin, sync::Arc};

use model::Positions;
use serving::views::Building;

use super::{
    COUNT, SOURCE, create,
    whole::{BATCHES, slow},
};
use crate::fixture::Product;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_asked_for_goes_to_the_end_of_the_topic() {
    let directory = tempfile::tempdir().unwrap();
    let product = slow(directory.path()).await;
    product.execute(SOURCE).await.unwrap();
    let mut end = Positions::new();
    for _ in 0..BATCHES {
        end = product.append("s", &["a", "b", "a"]).await;
    }
    product.execute(&create(COUNT)).await.unwrap();
    let notices = product.execute("REFRESH MATERIALIZED VIEW v").await.unwrap();
    assert_eq!(notices, [format!("batch version 1: 2 groups up to H = {end}, 0 merge conflicts")]);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_batch_hears_that_the_view_has_failed_or_stops_and_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let product = Product::open(directory.path()).await;
    product.execute(SOURCE).await.unwrap();
    let end = product.append("s", &["a", "b", "a"]).await;
    for view in ["v", "w"] {
        product.execute(&create(COUNT).replace("VIEW v", &format!("VIEW {view}"))).await.unwrap();
        product.counts(view, &end).await;
        // It waits for records that never come.
        let never = end.iter().map(|(partition, next)| (partition.clone(), next + 1)).collect();
        product.views.get(view).unwrap().frontier().build(Building::new(Positions::new(), never));
    }
    let deployment = Arc::clone(&product.deployment);
    let (mut first, mut second) = (pin!(deployment.refresh_view("v")), pin!(deployment.refresh_view("w")));
    assert!(futures::poll!(first.as_mut()).is_pending());
    assert!(futures::poll!(second.as_mut()).is_pending());

    product.execute("CREATE SOURCE other (k TEXT)").await.unwrap();
    product.views.get("v").unwrap().frontier().fail("its disk is full".to_owned());
    let failed = first.await.unwrap_err();
    assert!(failed.message().contains("its disk is full"), "{failed}");
    product.stop().await;
    let stopped = second.await.unwrap_err();
    assert!(stopped.message().contains("being stopped"), "{stopped}");
}
