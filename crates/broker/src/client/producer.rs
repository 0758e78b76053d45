//! [`Producer`]: records in, confirmations out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Acks, Record, record::partition_of_key};
use model::{Offset, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::accumulator::{Accumulator, Outcome};
use super::error::ClientError;
use super::producer_task::ProducerTask;
use super::requests::Client;
use super::send_queue::SendQueue;
use super::settings::ProducerSettings;

/// How many batches of one producer a broker remembers.
const IN_FLIGHT_MAX: usize = 5;

/// Sends records. Cheap to clone; the last clone dropped gives up what is not confirmed, so [`flush`](Self::flush)
/// first.
#[derive(Clone, Debug)]
pub struct Producer {
    queue: Arc<SendQueue>,
    client: Client,
    room: Arc<Semaphore>,
    topics: Arc<Mutex<BTreeMap<TopicName, TopicState>>>,
    _task: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct TopicState {
    partitions: i32,
    /// Where records without a key go at present, and how many bytes went there.
    sticky: i32,
    sticky_bytes: usize,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The promise of a record's confirmation.
#[derive(Debug)]
pub struct Delivery {
    partition: TopicPartition,
    index: i32,
    queued: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// A record that the broker confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: TopicPartition,
    /// The record's offset; -1 with [`Acks::Queued`].
    pub offset: Offset,
    /// From the call to [`Producer::send`] to the confirmation.
    pub latency: Duration,
}

impl Producer {
    /// Starts a producer with a connection of its own.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when there is no broker.
    pub async fn start(client: &Client, settings: ProducerSettings) -> model::Result<Self> {
        let settings = ProducerSettings { in_flight_max: settings.in_flight_max.clamp(1, IN_FLIGHT_MAX), ..settings };
        let client = client.separate();
        // Without confirmations there is nothing to repeat, and no need to recognise repetitions.
        let identity = match settings.acks {
            Acks::Queued => None,
            Acks::Written | Acks::Durable => Some(client.init_producer_id().await?),
        };
        let room = Arc::new(Semaphore::new(settings.buffered_bytes_max));
        let queue = Arc::new(SendQueue {
            accumulator: Mutex::new(Accumulator::new(&settings, identity)),
            wake: Notify::new(),
            unconfirmed: watch::channel(0).0,
        });
        let task = ProducerTask::new(client.clone(), settings, Arc::clone(&queue));
        let task = Arc::new(AbortOnDrop(tokio::spawn(task.run())));
        Ok(Self { queue, client, room, topics: Arc::default(), _task: task })
    }

    /// Queues a record: by its key's hash, or without a key wherever the present batch is. Waits while the buffer is
    /// full. The record is stored once the [`Delivery`] is confirmed.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when the topic does not exist and is not created;
    /// [`Invalid`](model::ErrorKind::Invalid) when the record is larger than the whole buffer.
    pub async fn send(&self, topic: &TopicName, record: Record) -> model::Result<Delivery> {
        if !self.topics.lock().contains_key(topic) {
            let partitions = self.client.topic(topic, true).await?.partitions;
            let fresh = TopicState { partitions, sticky: 0, sticky_bytes: 0 };
            self.topics.lock().entry(topic.clone()).or_insert(fresh);
        }
        let partition = self.choose_partition(topic, &record);
        self.send_to(&TopicPartition::new(topic.clone(), partition), record).await
    }

    /// Queues a record for a partition; otherwise as [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_to(&self, partition: &TopicPartition, record: Record) -> model::Result<Delivery> {
        let queued = Instant::now();
        let bytes = record_bytes(&record);
        let too_large =
            || model::Error::invalid(format!("a record of {bytes} bytes is larger than the producer's buffer"));
        let count = u32::try_from(bytes).map_err(|_| too_large())?;
        if bytes > self.queue.accumulator.lock().buffered_bytes_max() {
            return Err(too_large());
        }
        let permit = Arc::clone(&self.room).acquire_many_owned(count).await.map_err(|_| ClientError::Closed)?;
        let pushed = {
            let mut accumulator = self.queue.accumulator.lock();
            let pushed = accumulator.push(partition, record, permit, queued);
            if pushed.is_new_batch {
                // Counted before the task can see the batch, and count it off.
                self.queue.unconfirmed.send_modify(|count| *count += 1);
            }
            pushed
        };
        if pushed.is_new_batch || pushed.is_full {
            self.queue.wake.notify_one();
        }
        Ok(Delivery { partition: partition.clone(), index: pushed.index, queued, outcome: pushed.outcome })
    }

    /// Sends what is queued without lingering, and returns when all of it is confirmed or given up. How each record
    /// fared is in its [`Delivery`].
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when records queued before were given up.
    pub async fn flush(&self) -> model::Result<()> {
        let failed_before = {
            let mut accumulator = self.queue.accumulator.lock();
            accumulator.flush();
            accumulator.failed_batches()
        };
        self.queue.wake.notify_one();
        let mut unconfirmed = self.queue.unconfirmed.subscribe();
        // The sender lives as long as this producer.
        let _ = unconfirmed.wait_for(|count| *count == 0).await;
        let failed = self.queue.accumulator.lock().failed_batches() - failed_before;
        if failed > 0 {
            return Err(model::Error::unavailable(format!("{failed} batches were not stored"))
                .with_hint("each record's delivery says why"));
        }
        Ok(())
    }

    fn choose_partition(&self, topic: &TopicName, record: &Record) -> i32 {
        let mut topics = self.topics.lock();
        let Some(state) = topics.get_mut(topic) else { return 0 };
        if let Some(key) = &record.key {
            return partition_of_key(key, state.partitions);
        }
        state.sticky_bytes += record_bytes(record);
        if state.sticky_bytes > self.queue.accumulator.lock().batch_bytes_max() {
            state.sticky_bytes = 0;
            state.sticky = (state.sticky + 1) % state.partitions.max(1);
        }
        state.sticky
    }
}

impl Delivery {
    /// Waits for the confirmation.
    ///
    /// # Errors
    /// The broker's refusal, or [`Unavailable`](model::ErrorKind::Unavailable) when the record was given up: whether it
    /// was stored is then not known.
    pub async fn confirmed(mut self) -> model::Result<Delivered> {
        let outcome = match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome {
            Some(Outcome { result: Ok(base_offset), at }) => Ok(Delivered {
                partition: self.partition,
                offset: if base_offset < 0 { -1 } else { base_offset + Offset::from(self.index) },
                latency: at.saturating_duration_since(self.queued),
            }),
            Some(Outcome { result: Err(error), .. }) => Err(error.into()),
            None => Err(ClientError::Closed.into()),
        }
    }
}

/// What a record takes of the buffer; never zero, so that empty records are bounded as well.
fn record_bytes(record: &Record) -> usize {
    const OVERHEAD_BYTES: usize = 24;
    let optional = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize = record.headers.iter().map(|header| header.name.len() + optional(&header.value) + 4).sum();
    OVERHEAD_BYTES + optional(&record.key) + optional(&record.value) + headers
}
