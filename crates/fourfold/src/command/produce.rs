//! `fourfold produce`: lines to records, durable before it ends.
//!
//! What must hold: a value is the bytes of its line; a line that is not stored is named; how many are stored is told
//! however it ends, and how many of those a source of the topic cannot read.

mod lines;
mod unread;

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use broker::client::{Client, Delivery, Producer};
use eventlog::Record;
use model::{ErrorKind, Offset, Positions, TopicName, TopicPartition};
use serde_json::json;
use tokio::fs::File;
use tokio::io::BufReader;

use self::lines::{Line, Lines};
use self::unread::Unread;
use super::topic;
use crate::cli::ProduceArguments;
use crate::output::{print, say};
use crate::settings::Settings;
use crate::stop::StopSignals;
use crate::table::count;

// How many lines may be on their way before the oldest must be confirmed.
const UNCONFIRMED_MAX: usize = 10_000;
// How many lines that were not stored are named one by one.
const FAILURES_TOLD_MAX: usize = 20;

/// Sends every line, waits until all are durable, and prints the position after them.
pub(crate) async fn run(arguments: ProduceArguments, as_json: bool) -> Result<()> {
    let topic = TopicName::new(&arguments.topic)?;
    let Settings { client, producer: settings, .. } = Settings::load(None, std::env::vars(), &[])?;
    let client = Client::connect_with(&arguments.door.kafka, client).await?;
    topic::find(&client, &topic).await?;
    let mut lines = Lines::new(open(arguments.file).await?, settings.buffered_bytes_max);
    let mut sending = Sending {
        topic: topic.clone(),
        batch_bytes_max: settings.batch_bytes_max,
        producer: Producer::start(&client, settings).await?,
        unconfirmed: VecDeque::new(),
        tally: Tally::default(),
    };
    let mut stop = StopSignals::listen()?;
    let form = Form { key_separator: arguments.key_separator.as_deref(), null_empty: arguments.null_empty };
    let sent = tokio::select! {
        sent = sending.send_all(&mut lines, &form) => sent,
        interrupted = stop.next() => Err(interrupted.into()),
    };
    let settled = tokio::select! {
        settled = sending.settle() => settled,
        interrupted = stop.next() => Err(interrupted.into()),
    };
    // What is stored is stored: that nobody can read it is a warning.
    let unread = Unread::of(&arguments.http, &topic, &sending.tally.begin, &sending.tally.positions).await;
    sending.tally.tell(as_json, &unread)?;
    sent.and(settled)?;
    match sending.tally.failed {
        0 => Ok(()),
        failed => bail!("{} not stored", count(failed, "line")),
    }
}

async fn open(path: Option<PathBuf>) -> Result<BufReader<File>> {
    let file = match &path {
        None => std::io::stdin().as_fd().try_clone_to_owned().map(|owned| File::from_std(owned.into())),
        Some(path) => File::open(path).await,
    };
    let name = || path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    file.map(BufReader::new).with_context(|| format!("cannot open {}", name()))
}

struct Sending {
    topic: TopicName,
    producer: Producer,
    batch_bytes_max: usize,
    unconfirmed: VecDeque<(Place, Delivery)>,
    tally: Tally,
}

/// Where a record came from.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: u64,
    bytes: usize,
}

impl Sending {
    /// Sends line after line until they end, or nothing more can be sent.
    async fn send_all(&mut self, lines: &mut Lines<BufReader<File>>, form: &Form<'_>) -> Result<()> {
        while let Some(Line { number, bytes, content }) = lines.next().await? {
            let place = Place { line: number, bytes };
            self.tally.lines += 1;
            match content {
                Some(content) => self.send(place, record(&content, form)).await?,
                None => self.tally.fail(place, "is longer than any record may be"),
            }
            while self.unconfirmed.len() > UNCONFIRMED_MAX {
                self.confirm_oldest().await?;
            }
        }
        Ok(())
    }

    /// Waits until the fate of every record that was sent is known.
    async fn settle(&mut self) -> Result<()> {
        // How a record fares is told by its own confirmation.
        let _ = self.producer.flush().await;
        let mut settled = Ok(());
        while !self.unconfirmed.is_empty() {
            settled = settled.and(self.confirm_oldest().await);
        }
        settled
    }

    async fn send(&mut self, place: Place, record: Record) -> Result<()> {
        // A batch is stored or refused as a whole: a record that may be too large for the topic goes alone.
        let alone = place.bytes >= self.batch_bytes_max;
        if alone {
            let _ = self.producer.flush().await;
        }
        match self.producer.send(&self.topic, record).await {
            Ok(delivery) => self.unconfirmed.push_back((place, delivery)),
            Err(error) => self.fail(place, error)?,
        }
        if alone {
            let _ = self.producer.flush().await;
        }
        Ok(())
    }

    async fn confirm_oldest(&mut self) -> Result<()> {
        let Some((place, delivery)) = self.unconfirmed.pop_front() else { return Ok(()) };
        match delivery.confirmed().await {
            Ok(delivered) => {
                self.tally.stored += 1;
                self.tally.begin_with(&delivered.partition, delivered.offset);
                self.tally.positions.advance(delivered.partition, delivered.offset + 1);
                Ok(())
            }
            Err(error) => self.fail(place, error),
        }
    }

    // A record that is wrong in itself says nothing about the next one; anything else would meet the next one too.
    fn fail(&mut self, place: Place, error: model::Error) -> Result<()> {
        self.tally.fail(place, error.to_string());
        if error.kind() == ErrorKind::Invalid { Ok(()) } else { Err(error.into()) }
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Tally {
    lines: usize,
    stored: usize,
    /// Before the first record of each partition.
    begin: Positions,
    /// After the last one.
    positions: Positions,
    failed: usize,
    /// The first of them.
    failures: Vec<(Place, String)>,
}

impl Tally {
    fn fail(&mut self, place: Place, why: impl Into<String>) {
        self.failed += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push((place, why.into()));
        }
    }

    fn begin_with(&mut self, partition: &TopicPartition, offset: Offset) {
        if !self.positions.iter().any(|(known, _)| known == partition) {
            self.begin.advance(partition.clone(), offset);
        }
    }

    fn tell(&self, as_json: bool, unread: &Unread) -> Result<()> {
        if as_json {
            let failure =
                |(place, why): &(Place, String)| json!({ "line": place.line, "bytes": place.bytes, "error": why });
            let failures: Vec<_> = self.failures.iter().map(failure).collect();
            let (records, positions) = (self.stored, self.positions.to_string());
            let told = json!({ "records": records, "positions": positions, "failed": self.failed,
                "failures": failures, "sources": unread.sources });
            return print(told.to_string());
        }
        for (place, why) in &self.failures {
            say(format!("line {} ({}): {why}", place.line, count(place.bytes, "byte")));
        }
        if self.failed > self.failures.len() {
            say(format!("and {} more", count(self.failed - self.failures.len(), "line")));
        }
        let verb = if self.stored == 1 { "is" } else { "are" };
        say(format!("{} {verb} durable", count(self.stored, "record")));
        let unknown = self.lines - self.stored - self.failed;
        if unknown > 0 {
            say(format!("whether {} more are stored is not known", count(unknown, "record")));
        }
        unread.tell();
        if self.positions.is_empty() { Ok(()) } else { print(self.positions.to_string()) }
    }
}

/// What a line says.
struct Form<'a> {
    /// What is between key and value; without it lines have no key.
    key_separator: Option<&'a str>,
    /// Whether an empty value is none.
    null_empty: bool,
}

fn record(line: &[u8], form: &Form<'_>) -> Record {
    let (key, value) = match form.key_separator.and_then(|separator| split_once(line, separator.as_bytes())) {
        Some((key, value)) => (Some(key.to_vec().into()), value),
        None => (None, line),
    };
    let value = (!form.null_empty || !value.is_empty()).then(|| value.to_vec().into());
    Record { key, value, timestamp_ms: now_ms(), ..Record::default() }
}

fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len().max(1)).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

fn now_ms() -> i64 {
    model::Clock::now_ms(&model::SystemClock)
}

#[cfg(test)]
mod tests;
