//! How fast the log appends durably, beside a bare loop of write and sync on the same disk.
//!
//! ```text
//! cargo run --release -p eventlog --example append_rate -- [directory] [seconds] [writers] [bytes]
//! ```
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder, TopicSpec};
use model::{Clock as _, Metrics, SystemClock, TopicName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| std::env::temp_dir().join("append_rate"), PathBuf::from);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, writers, bytes) = (number(5)?, number(16)?, usize::try_from(number(16_384)?)?);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory)?;
    println!("{writers} writers, batches of {bytes} bytes, {seconds} s each");

    let probe = probe(&directory, Duration::from_secs(seconds), bytes)?;
    println!("bare write + sync, one batch each:  {:>9.0} syncs/s  {:>7.1} MB/s", probe, probe * bytes as f64 / 1e6);
    for (name, acks) in [("durable", Acks::Durable), ("written", Acks::Written)] {
        let log_directory = directory.join(name);
        let rate = append(&log_directory, Duration::from_secs(seconds), writers, bytes, acks).await?;
        println!(
            "appends, acks {name}:               {:>9.0} /s       {:>7.1} MB/s, {:.1} times the bare loop",
            rate,
            rate * bytes as f64 / 1e6,
            rate / probe,
        );
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Writes and syncs a second, as one client without a log would have to.
fn probe(directory: &std::path::Path, duration: Duration, bytes: usize) -> std::io::Result<f64> {
    let mut file = File::create(directory.join("probe"))?;
    let (block, begun, mut count) = (vec![7; bytes], SystemClock.instant(), 0_u32);
    while begun.elapsed() < duration {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

async fn append(
    directory: &std::path::Path,
    duration: Duration,
    writers: u64,
    bytes: usize,
    acks: Acks,
) -> Result<f64, Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock);
    let log = EmbeddedLog::open(directory, EventLogSettings::shipped(), clock, Metrics::default()).await?;
    let topic = log.create_topic(TopicSpec::new(TopicName::new("rate")?, 8)).await?;
    let partitions: Arc<Vec<_>> = Arc::new(topic.topic_partitions().collect());
    let mut builder = RecordBatchBuilder::new(Compression::None);
    while builder.size_bytes() < bytes {
        builder.push(Record { value: Some(vec![7; bytes.min(1000)].into()), ..Record::default() });
    }
    let batch = builder.build();
    let (count, stop, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), SystemClock.instant());
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let (log, batch, partitions) = (Arc::clone(&log), batch.clone(), Arc::clone(&partitions));
        let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let partition = &partitions[usize::try_from(writer).unwrap_or(0) % partitions.len()];
            while !stop.load(Ordering::Relaxed) {
                log.append(partition, batch.clone(), acks).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, eventlog::Error>(())
        }));
    }
    tokio::time::sleep_until((begun + duration).into()).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    log.close().await?;
    Ok(rate)
}
