//! How many appends a second the store takes, beside what the disk could do.
//!
//! `cargo run -p eventstore --example event_rate -- [APPENDERS] [SECONDS] [EVENTS_PER_APPEND] [DIRECTORY]`
//!
//! Each appender appends to a stream of its own with an exact expected version and waits for the answer before the
//! next. The probe is the time of one write and `fdatasync` of 4 KiB on the same disk: a store that shares a sync
//! among all that wait comes near to APPENDERS / probe.
#![expect(clippy::print_stdout, reason = "it is a program that tells figures")]

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::{EmbeddedLog, EventLogSettings};
use eventstore::{EventStore, EventStoreSettings, ExpectedVersion, NewEvent, StreamName};
use model::{Clock as _, Entropy as _, Metrics, SystemClock, SystemEntropy};

const DATA_BYTES: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (appenders, seconds, events_per_append) = (number(0, 64)?, number(1, 5)?, number(2, 1)?);
    let temporary = tempfile::tempdir()?;
    let directory = arguments.get(3).map_or(temporary.path(), Path::new);

    let probe = Latencies::of(probe(directory, Duration::from_secs(1))?);
    let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
    let settings = EventLogSettings::shipped();
    let log = EmbeddedLog::open(&directory.join("log"), settings, Arc::clone(&clock) as _, metrics.clone()).await?;
    let store = EventStore::open(Arc::clone(&log) as _, EventStoreSettings::shipped(), clock, metrics).await?;

    let started = SystemClock.instant();
    let end = started + Duration::from_secs(seconds);
    let tasks: Vec<_> =
        (0..appenders).map(|n| tokio::spawn(append_until(end, Arc::clone(&store), n, events_per_append))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let appends = Latencies::of(latencies);
    let rate = appends.count() as f64 / elapsed;
    let bound = appenders as f64 / probe.quantile(0.5).as_secs_f64();
    println!("appenders {appenders}, events an append {events_per_append}, data {DATA_BYTES} bytes, {elapsed:.1} s");
    println!("append     {rate:>9.0} appends/s   {:>9.0} events/s   {appends}", rate * events_per_append as f64);
    println!("fdatasync  {:>9.0} syncs/s     {probe}", 1.0 / probe.quantile(0.5).as_secs_f64());
    println!("ratio      {:.2} of appenders / fdatasync p50", rate / bound);
    store.close().await;
    log.close().await?;
    Ok(())
}

async fn append_until(
    end: Instant,
    store: Arc<EventStore>,
    number: u64,
    events_per_append: u64,
) -> eventstore::Result<Vec<Duration>> {
    let stream = StreamName::new(&format!("appender-{number}"))?;
    let data = format!("\"{}\"", "x".repeat(DATA_BYTES - 2));
    let mut latencies = Vec::new();
    let mut expected = ExpectedVersion::Any;
    while SystemClock.instant() < end {
        let events =
            (0..events_per_append).map(|_| NewEvent::new(SystemEntropy.uuid(), "measured", data.clone())).collect();
        let started = SystemClock.instant();
        let appended = store.append(&stream, expected, events).await?;
        latencies.push(started.elapsed());
        expected = ExpectedVersion::Exact(appended.last_version);
    }
    Ok(latencies)
}

/// The times of single writes with their syncs.
fn probe(directory: &Path, duration: Duration) -> std::io::Result<Vec<Duration>> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("probe");
    let mut file = File::create(&path)?;
    let mut latencies = Vec::new();
    let started = SystemClock.instant();
    while started.elapsed() < duration {
        let one = SystemClock.instant();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        latencies.push(one.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(latencies)
}

/// Latencies in ascending order.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn quantile(&self, quantile: f64) -> Duration {
        let at = (self.0.len() as f64 * quantile) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |quantile| self.quantile(quantile).as_secs_f64() * 1000.0;
        write!(f, "p50 {:.2} ms  p99 {:.2} ms", ms(0.5), ms(0.99))
    }
}
