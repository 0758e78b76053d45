//! `fourfold produce`: lines to records, durable before it ends.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use broker::client::{Client, Delivery, Producer, ProducerSettings};
use eventlog::Record;
use model::{Positions, TopicName};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::cli::ProduceArguments;
use crate::door::{print, say};

// How many lines may be on their way before the oldest must be confirmed.
const UNCONFIRMED_MAX: usize = 10_000;

/// Sends every line and waits until all are durable.
pub(crate) async fn run(arguments: ProduceArguments, kafka: &str, as_json: bool) -> Result<()> {
    let topic = TopicName::new(&arguments.topic)?;
    let client = Client::connect(kafka).await?;
    // A misspelt topic is an error, not a new topic.
    client.topic(&topic, false).await?;
    let producer = Producer::start(&client, ProducerSettings::default()).await?;
    let mut lines = open(arguments.file).await?;
    let mut unconfirmed: VecDeque<Delivery> = VecDeque::new();
    let (mut records, mut positions) = (0_u64, Positions::new());
    let mut line = String::new();
    while lines.read_line(&mut line).await.context("cannot read the lines")? > 0 {
        let record = record(line.trim_end_matches(['\n', '\r']), arguments.key_separator.as_deref());
        unconfirmed.push_back(producer.send(&topic, record).await?);
        records += 1;
        line.clear();
        while unconfirmed.len() > UNCONFIRMED_MAX {
            confirm(&mut unconfirmed, &mut positions).await?;
        }
    }
    producer.flush().await?;
    while !unconfirmed.is_empty() {
        confirm(&mut unconfirmed, &mut positions).await?;
    }
    if as_json {
        return print(json!({ "records": records, "positions": positions.to_string() }).to_string());
    }
    say(format!("{records} records are durable, position {positions}"));
    Ok(())
}

async fn open(path: Option<PathBuf>) -> Result<BufReader<File>> {
    let file = match path {
        None => std::io::stdin().as_fd().try_clone_to_owned().map(|owned| File::from_std(owned.into())),
        Some(path) => File::open(path).await,
    };
    file.map(BufReader::new).context("cannot open the lines")
}

async fn confirm(unconfirmed: &mut VecDeque<Delivery>, positions: &mut Positions) -> Result<()> {
    if let Some(delivery) = unconfirmed.pop_front() {
        let delivered = delivery.confirmed().await?;
        positions.advance(delivered.partition, delivered.offset + 1);
    }
    Ok(())
}

fn record(line: &str, key_separator: Option<&str>) -> Record {
    let (key, value) = match key_separator.and_then(|separator| line.split_once(separator)) {
        Some((key, value)) => (Some(key.to_owned()), value),
        None => (None, line),
    };
    Record {
        key: key.map(Into::into),
        value: Some(value.to_owned().into()),
        timestamp_ms: now_ms(),
        ..Record::default()
    }
}

fn now_ms() -> i64 {
    model::Clock::now_ms(&model::SystemClock)
}
