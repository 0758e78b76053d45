//! `fourfold tail`: a topic's records, one a line, in order within each partition.

use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use broker::client::{Client, OffsetQuery};
use eventlog::Record;
use model::{Offset, TopicName, TopicPartition};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::topic;
use crate::cli::{TailArguments, TailStart};
use crate::door;
use crate::output::print_bytes;
use crate::table::count;

const FETCH_BYTES: usize = 1 << 20;
const FETCH_WAIT: Duration = Duration::from_millis(500);
// Batches of records that may wait for standard output.
const QUEUE_BATCHES: usize = 16;

/// Prints records until there are enough, or the end, or for ever.
pub(crate) async fn run(arguments: TailArguments, as_json: bool) -> Result<()> {
    let name = TopicName::new(&arguments.topic)?;
    let client = door::kafka(&arguments.door).await?;
    let partitions = chosen(topic::find(&client, &name).await?.partitions, &arguments)?;
    let shape = match (as_json, arguments.positions) {
        (true, _) => Shape::Json,
        (false, true) => Shape::Placed,
        (false, false) => Shape::Value,
    };
    let (queue, mut batches) = mpsc::channel(QUEUE_BATCHES);
    for partition in partitions {
        let partition = TopicPartition::new(name.clone(), partition);
        let client = client.separate();
        let offset = start(&client, &partition, arguments.from).await?;
        let reader = Reader { client, partition, follow: arguments.follow };
        tokio::spawn(reader.run(offset, queue.clone()));
    }
    drop(queue);
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(batch) = batches.recv().await else { break };
        let (partition, records): (TopicPartition, Vec<Record>) = batch?;
        let wanted = records.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= wanted as u64;
        let lines: Vec<Vec<u8>> = records[..wanted].iter().map(|record| shape.line(&partition, record)).collect();
        print_bytes(&lines.join(&b'\n'))?;
    }
    Ok(())
}

// An offset means something in one partition only.
fn chosen(partitions: i32, arguments: &TailArguments) -> Result<std::ops::Range<i32>> {
    let topic = &arguments.topic;
    let has = || format!("topic {topic} has {}", count(usize::try_from(partitions).unwrap_or(0), "partition"));
    match arguments.partition {
        Some(partition) if !(0..partitions).contains(&partition) => {
            bail!(model::Error::not_found(format!("there is no partition {partition}: {}", has())))
        }
        Some(partition) => Ok(partition..partition + 1),
        None if partitions > 1 && matches!(arguments.from, TailStart::Offset(_)) => {
            let error = model::Error::invalid(format!("an offset is one of a partition, and {}", has()));
            bail!(error.with_hint("name the partition with --partition NUMBER"))
        }
        None => Ok(0..partitions),
    }
}

async fn start(client: &Client, partition: &TopicPartition, from: TailStart) -> Result<Offset> {
    let earliest = client.offset(partition, OffsetQuery::Earliest).await?.unwrap_or(0);
    let latest = client.offset(partition, OffsetQuery::Latest).await?.unwrap_or(0);
    match from {
        TailStart::Beginning => Ok(earliest),
        TailStart::End => Ok(latest),
        TailStart::Offset(offset) if (earliest..=latest).contains(&offset) => Ok(offset),
        TailStart::Offset(offset) => bail!(model::Error::invalid(format!(
            "there is no offset {offset} in {partition}: it begins at {earliest}, and the next record will be {latest}"
        ))),
    }
}

struct Reader {
    client: Client,
    partition: TopicPartition,
    follow: bool,
}

type Batch = (TopicPartition, Vec<Record>);

impl Reader {
    async fn run(self, from: Offset, queue: mpsc::Sender<Result<Batch>>) {
        if let Err(error) = self.read(from, &queue).await {
            // Nobody listens any more when enough was printed.
            let _ = queue.send(Err(error)).await;
        }
    }

    async fn read(&self, mut offset: Offset, queue: &mpsc::Sender<Result<Batch>>) -> Result<()> {
        loop {
            let fetched = self.client.fetch(&self.partition, offset, FETCH_BYTES, FETCH_WAIT).await?;
            let records = fetched.records(offset)?;
            if let Some(last) = records.last() {
                offset = last.offset + 1;
                if queue.send(Ok((self.partition.clone(), records))).await.is_err() {
                    return Ok(());
                }
            } else if !self.follow && offset >= fetched.high_watermark {
                return Ok(());
            }
        }
    }
}

/// What of a record is printed.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Json,
    /// Where it stands and its key, then the value.
    Placed,
    Value,
}

impl Shape {
    fn line(self, partition: &TopicPartition, record: &Record) -> Vec<u8> {
        let value = record.value.as_deref().unwrap_or_default();
        match self {
            Self::Value => value.to_vec(),
            Self::Placed => {
                let place = format!("{partition}:{}", record.offset);
                [place.as_bytes(), record.key.as_deref().unwrap_or_default(), value].join(&b'\t')
            }
            Self::Json => json_of(partition, record).to_string().into_bytes(),
        }
    }
}

fn json_of(partition: &TopicPartition, record: &Record) -> Value {
    let header = |header: &eventlog::Header| {
        let (name, value) = shown("value", header.value.as_deref());
        Value::Object(Map::from_iter([
            ("name".to_owned(), String::from_utf8_lossy(&header.name).into()),
            (name, value),
        ]))
    };
    let mut shape = json!({
        "partition": partition.partition, "offset": record.offset, "timestamp_ms": record.timestamp_ms,
        "headers": record.headers.iter().map(header).collect::<Vec<_>>(),
    });
    for (name, value) in [shown("key", record.key.as_deref()), shown("value", record.value.as_deref())] {
        shape[name] = value;
    }
    shape
}

// Bytes that are no text go in base64 under another name, as at the HTTP door.
fn shown(name: &str, bytes: Option<&[u8]>) -> (String, Value) {
    match bytes.map(std::str::from_utf8) {
        None => (name.to_owned(), Value::Null),
        Some(Ok(text)) => (name.to_owned(), text.into()),
        Some(Err(_)) => (format!("{name}_base64"), BASE64_STANDARD.encode(bytes.unwrap_or_default()).into()),
    }
}

#[cfg(test)]
mod tests {
    //! Records as lines.

    use eventlog::Record;

    use super::Shape;

    #[test]
    fn bytes_that_are_no_text_are_not_lost() {
        let partition = "t/3".parse().unwrap();
        let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| Record {
            offset: 7,
            timestamp_ms: 1,
            key: key.map(Into::into),
            value: value.map(Into::into),
            ..Record::default()
        };
        let text = record(Some(b"k"), Some(b"v"));
        let binary = record(None, Some(b"\xff\x00"));
        for (shape, record, expected) in [
            (Shape::Value, &text, &b"v"[..]),
            (Shape::Value, &binary, b"\xff\x00"),
            (Shape::Placed, &text, b"t/3:7\tk\tv"),
            (Shape::Json, &text, br#"{"headers":[],"key":"k","offset":7,"partition":3,"timestamp_ms":1,"value":"v"}"#),
            (
                Shape::Json,
                &binary,
                br#"{"headers":[],"key":null,"offset":7,"partition":3,"timestamp_ms":1,"value_base64":"/wA="}"#,
            ),
        ] {
            let line = shape.line(&partition, record);
            assert_eq!(line.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{shape:?}");
        }
    }
}
