//! The signal that ends everything that a broker started.

use tokio::sync::watch;

/// Returns when the broker is to stop; also when it stopped before.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender gone is a stop as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
