//! Serves a log to Kafka clients: `cargo run -p broker --example serve -- PORT`. For trying clients by hand.

use std::sync::Arc;

use broker::{Broker, BrokerSettings};
use model::{Metrics, SystemClock};

#[path = "../tests/support/memory_log.rs"]
mod memory_log;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("debug").init();
    let port: u16 = std::env::args().nth(1).ok_or("usage: serve PORT")?.parse()?;
    let settings = BrokerSettings { listen: ([127, 0, 0, 1], port).into(), ..BrokerSettings::default() };
    let log = Arc::new(memory_log::MemoryLog::default());
    let broker = Broker::start(settings, log, Arc::new(SystemClock), Metrics::default()).await?;
    tracing::info!(address = %broker.local_addr(), "serving");
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
