//! `fourfold tail`: a topic's records, one a line, in order within each partition.

use std::time::Duration;

use anyhow::Result;
use broker::client::{Client, OffsetQuery};
use eventlog::Record;
use model::{Offset, TopicName, TopicPartition};
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::{TailArguments, TailStart};
use crate::door::print;

const FETCH_BYTES: usize = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
// Batches of records that may wait for standard output.
const QUEUE_BATCHES: usize = 16;

/// Prints records until there are enough, or the end, or for ever.
pub(crate) async fn run(arguments: TailArguments, kafka: &str, as_json: bool) -> Result<()> {
    let name = TopicName::new(&arguments.topic)?;
    let client = Client::connect(kafka).await?;
    let topic = client.topic(&name, false).await?;
    let (queue, mut batches) = mpsc::channel(QUEUE_BATCHES);
    for partition in 0..topic.partitions {
        let partition = TopicPartition::new(name.clone(), partition);
        let reader = Reader { client: client.separate(), partition, follow: arguments.follow };
        tokio::spawn(reader.run(arguments.from, queue.clone()));
    }
    drop(queue);
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while let Some(batch) = batches.recv().await {
        let (partition, records): (i32, Vec<Record>) = batch?;
        for record in records {
            if left == 0 {
                return Ok(());
            }
            print(line(partition, &record, as_json))?;
            left -= 1;
        }
        if left == 0 {
            return Ok(());
        }
    }
    Ok(())
}

struct Reader {
    client: Client,
    partition: TopicPartition,
    follow: bool,
}

impl Reader {
    async fn run(self, from: TailStart, queue: mpsc::Sender<Result<(i32, Vec<Record>)>>) {
        if let Err(error) = self.read(from, &queue).await {
            // Nobody listens any more when enough was printed.
            let _ = queue.send(Err(error)).await;
        }
    }

    async fn read(&self, from: TailStart, queue: &mpsc::Sender<Result<(i32, Vec<Record>)>>) -> Result<()> {
        let mut offset = self.start(from).await?;
        loop {
            let fetched = self.client.fetch(&self.partition, offset, FETCH_BYTES, FETCH_WAIT).await?;
            let records = fetched.records(offset)?;
            if let Some(last) = records.last() {
                offset = last.offset + 1;
                if queue.send(Ok((self.partition.partition, records))).await.is_err() {
                    return Ok(());
                }
            } else if !self.follow && offset >= fetched.high_watermark {
                return Ok(());
            }
        }
    }

    async fn start(&self, from: TailStart) -> Result<Offset> {
        let earliest = self.client.offset(&self.partition, OffsetQuery::Earliest).await?.unwrap_or(0);
        let latest = self.client.offset(&self.partition, OffsetQuery::Latest).await?.unwrap_or(0);
        Ok(match from {
            TailStart::Beginning => earliest,
            TailStart::End => latest,
            TailStart::Offset(offset) => offset.clamp(earliest, latest),
        })
    }
}

fn line(partition: i32, record: &Record, as_json: bool) -> String {
    let text = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if !as_json {
        return text(&record.value).unwrap_or_default();
    }
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|header| json!({ "name": String::from_utf8_lossy(&header.name), "value": text(&header.value) }))
        .collect();
    json!({
        "partition": partition, "offset": record.offset, "timestamp_ms": record.timestamp_ms,
        "key": text(&record.key), "value": text(&record.value), "headers": headers,
    })
    .to_string()
}
