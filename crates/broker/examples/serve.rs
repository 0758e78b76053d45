//! Serves a log on disk to Kafka clients: `cargo run -p broker --example serve -- DIRECTORY PORT`. For trying clients by
//! hand.

use std::path::PathBuf;
use std::sync::Arc;

use broker::{Broker, BrokerSettings, Resources, TopicDeletion};
use eventlog::{EmbeddedLog, EventLog, EventLogSettings};
use model::{Metrics, SystemClock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: serve DIRECTORY PORT")?);
    let port: u16 = arguments.next().ok_or("usage: serve DIRECTORY PORT")?.parse()?;
    let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
    let log =
        EmbeddedLog::open(&directory, EventLogSettings::shipped(), Arc::<SystemClock>::clone(&clock), metrics.clone());
    let log = log.await?;
    let settings = BrokerSettings { port, ..BrokerSettings::shipped() };
    let shared: Arc<dyn EventLog> = Arc::<EmbeddedLog>::clone(&log);
    let resources = Resources { log: shared, clock, metrics, topic_deletion: TopicDeletion::unrestricted() };
    let broker = Broker::start(settings, resources).await?;
    tracing::info!(address = %broker.local_addr(), "serving");
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    log.close().await?;
    Ok(())
}
