//! Feeds the flights through the Kafka door, at full speed or at a pace, and measures when they become visible.
//!
//! The order of arrival is the file's, except that one flight in fifty of the first part is held back until the last
//! part: a late event, as they happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use broker::client::{Client, Delivery, Producer, ProducerSettings};
use bytes::Bytes;
use eventlog::{Record, TopicSettings};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Clock as _, Offset, Positions, SystemClock, TopicName, TopicPartition};
use serving::views::Relation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::flights::Flight;
use super::latency::Latencies;
use super::stage::PACED_SHARE;
use crate::output::is_watched;

// One flight in so many is held back.
const LATE_EVERY: usize = 50;
// How many sent events may wait for their confirmation.
const UNCONFIRMED_MAX: usize = 65_536;
// How often the view is looked at; the resolution of the latency figures.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How fast to feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as it goes.
    Free,
    /// At most so many events a second.
    EventsPerSecond(f64),
}

/// What a feed did.
pub(crate) struct Fed {
    /// How many events were sent.
    pub(crate) events: usize,
    /// How many of them had been held back.
    pub(crate) late: usize,
    /// From the first send until all were durable, and visible where a view was watched.
    pub(crate) elapsed: Duration,
    /// From the send of an event until it was visible; empty where no view was watched.
    pub(crate) latencies: Latencies,
    /// The position after everything that was fed so far.
    pub(crate) positions: Positions,
}

impl Fed {
    /// Events per second.
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The flights on their way into the topic.
pub(crate) struct Feed {
    topic: TopicName,
    producer: Producer,
    arrivals: Vec<Flight>,
    /// As they are sent.
    records: Vec<Record>,
    /// Where the last part begins: first the flights that were held back, then the rest.
    first_late: usize,
    late: usize,
    sent: usize,
    positions: Positions,
}

type Sent = (TopicPartition, Offset, Instant);

impl Feed {
    /// Creates the topic and puts the flights in their order of arrival.
    pub(crate) async fn open(kafka: &str, topic: &str, partitions: i32, flights: Vec<Flight>) -> Result<Self> {
        let topic = TopicName::new(topic)?;
        let client = Client::connect(kafka).await?;
        client.create_topic(&topic, partitions, &TopicSettings::default()).await?;
        let producer = Producer::start(&client, ProducerSettings::shipped()).await?;
        let (arrivals, first_late, late) = arrivals(flights);
        // Before any clock runs: what is measured is Kafka and the views.
        let records = arrivals.iter().map(record).collect::<Result<_>>()?;
        Ok(Self { topic, producer, arrivals, records, first_late, late, sent: 0, positions: Positions::new() })
    }

    /// All flights, in their order of arrival.
    pub(crate) fn flights(&self) -> &[Flight] {
        &self.arrivals
    }

    /// The flights that have been sent.
    pub(crate) fn sent(&self) -> &[Flight] {
        &self.arrivals[..self.sent]
    }

    /// Sends until `percent` of all flights are sent; with `view`, waits until the last one is visible in it.
    pub(crate) async fn until(&mut self, percent: usize, pace: Pace, view: Option<Arc<dyn Relation>>) -> Result<Fed> {
        // The shares before the last part are shares of the flights that are on time.
        let end = if percent < PACED_SHARE { self.first_late * percent / PACED_SHARE } else { self.first_late };
        let end = if percent > PACED_SHARE { self.arrivals.len() } else { end }.max(self.sent);
        let begin = self.sent;
        let started = SystemClock.instant();
        let watcher = view.as_ref().map(|view| Watcher::start(Arc::clone(view)));
        let sent = self.send(begin..end, pace, started).await?;
        for (partition, offset, _) in &sent {
            self.positions.advance(partition.clone(), offset + 1);
        }
        self.sent = end;
        if let Some(view) = &view {
            view.frontier().wait_for(&self.positions, VISIBLE_TIMEOUT).await?;
        }
        let elapsed = started.elapsed();
        let visible = match watcher {
            Some(watcher) => watcher.stop().await?,
            None => Vec::new(),
        };
        let late = if end > self.first_late && begin <= self.first_late { self.late } else { 0 };
        let latencies = Latencies::between(&sent, &visible);
        Ok(Fed { events: end - begin, late, elapsed, latencies, positions: self.positions.clone() })
    }

    async fn send(&self, range: std::ops::Range<usize>, pace: Pace, started: Instant) -> Result<Vec<Sent>> {
        let bar = progress_bar(range.len());
        let (unconfirmed, confirming) = mpsc::channel(UNCONFIRMED_MAX);
        let confirmed = tokio::spawn(confirm(confirming));
        for (i, record) in self.records[range].iter().enumerate() {
            if let Pace::EventsPerSecond(rate) = pace {
                let due = started + Duration::from_secs_f64(i as f64 / rate);
                if due > SystemClock.instant() {
                    tokio::time::sleep_until(due.into()).await;
                }
            }
            let at = SystemClock.instant();
            let delivery = self.producer.send(&self.topic, record.clone()).await?;
            unconfirmed.send((delivery, at)).await.context("confirmations ended")?;
            bar.inc(1);
        }
        drop(unconfirmed);
        let sent = confirmed.await.context("confirmations")?;
        bar.finish_and_clear();
        sent
    }
}

// The first part without the flights that are late, then the last part with a late one at its start each time.
fn arrivals(flights: Vec<Flight>) -> (Vec<Flight>, usize, usize) {
    let main = flights.len() * PACED_SHARE / 100;
    let (mut arrivals, mut late, mut rest) = (Vec::with_capacity(flights.len()), Vec::new(), Vec::new());
    for (i, flight) in flights.into_iter().enumerate() {
        match i {
            i if i >= main => rest.push(flight),
            i if i % LATE_EVERY == 0 => late.push(flight),
            _ => arrivals.push(flight),
        }
    }
    let (first_late, count) = (arrivals.len(), late.len());
    arrivals.append(&mut late);
    arrivals.append(&mut rest);
    (arrivals, first_late, count)
}

fn record(flight: &Flight) -> Result<Record> {
    Ok(Record {
        timestamp_ms: flight.scheduled.and_utc().timestamp_millis(),
        key: Some(Bytes::from(flight.carrier.clone())),
        value: Some(serde_json::to_vec(flight)?.into()),
        ..Record::default()
    })
}

async fn confirm(mut unconfirmed: mpsc::Receiver<(Delivery, Instant)>) -> Result<Vec<Sent>> {
    let mut sent = Vec::new();
    while let Some((delivery, at)) = unconfirmed.recv().await {
        let delivered = delivery.confirmed().await?;
        sent.push((delivered.partition, delivered.offset, at));
    }
    Ok(sent)
}

fn progress_bar(events: usize) -> ProgressBar {
    if !is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("  {wide_bar} {pos}/{len} events")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(events as u64).with_style(style)
}

/// Notes when a view reached which Positions.
struct Watcher {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Vec<(Instant, Positions)>>>,
}

impl Watcher {
    fn start(view: Arc<dyn Relation>) -> Self {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut seen: Vec<(Instant, Positions)> = Vec::new();
            let mut looks = tokio::time::interval(LOOK_INTERVAL);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let ended = !matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
                // What a reader would get, so for a merged view the time of the merge counts.
                let positions = view.snapshot().await?.positions().clone();
                if seen.last().is_none_or(|(_, last)| *last != positions) {
                    seen.push((SystemClock.instant(), positions));
                }
                if ended {
                    return Ok(seen);
                }
                looks.tick().await;
            }
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<Vec<(Instant, Positions)>> {
        // A watcher that failed has ended already; its error is below.
        let _ = self.stop.send(());
        self.task.await.context("the watcher")?
    }
}
