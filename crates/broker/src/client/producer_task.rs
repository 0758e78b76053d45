//! The task behind a producer: one loop that sends what is due and handles what comes back.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::Acks;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, StreamExt};
use kafka_wire::produce;
use model::{Offset, TopicPartition};
use tokio::time::{Instant, sleep_until};

use super::accumulator::Sent;
use super::connection::Answer;
use super::error::ClientError;
use super::requests::Client;
use super::send_queue::SendQueue;
use super::settings::ProducerSettings;

/// One request's batches, and its answer or why there is none.
type Answered = (Vec<Sent>, Result<Vec<produce::TopicResult>, ClientError>);

pub(super) struct ProducerTask {
    client: Client,
    settings: ProducerSettings,
    queue: Arc<SendQueue>,
    in_flight: FuturesOrdered<BoxFuture<'static, Answered>>,
    /// Nothing is sent before this: the broker was not there, or asked for a pause.
    paused_until: Option<Instant>,
}

/// What the loop woke up for.
enum Event {
    Answered(Answered),
    Pushed,
    Due,
}

impl ProducerTask {
    pub(super) fn new(client: Client, settings: ProducerSettings, queue: Arc<SendQueue>) -> Self {
        Self { client, settings, queue, in_flight: FuturesOrdered::new(), paused_until: None }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let expired = self.queue.accumulator.lock().expire(Instant::now());
            self.finish(expired);
            self.send_due().await;
            match self.next_event().await {
                Event::Answered((sent, answer)) => {
                    if matches!(answer, Err(ClientError::TimedOut { .. })) {
                        // Whatever is said on this connection from now on would come too late.
                        self.client.disconnect().await;
                    }
                    self.handle(sent, &answer);
                }
                Event::Pushed | Event::Due => {}
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        // A limit on the sleep, so that what has waited too long is given up in time.
        const SLEEP_MAX: std::time::Duration = std::time::Duration::from_millis(500);
        let now = Instant::now();
        let due = self.queue.accumulator.lock().next_due();
        let has_room = self.in_flight.len() < self.settings.in_flight_max;
        let wake = match (due, self.paused_until) {
            (_, Some(until)) => until,
            // Due and not sent: it waits for an answer, not for the time.
            (Some(due), None) if due > now && has_room => due.min(now + SLEEP_MAX),
            _ => now + SLEEP_MAX,
        };
        let idle = self.in_flight.is_empty();
        tokio::select! {
            biased;
            Some(answered) = self.in_flight.next(), if !idle => Event::Answered(answered),
            () = self.queue.wake.notified() => Event::Pushed,
            () = sleep_until(wake) => Event::Due,
        }
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        self.paused_until = None;
        let wants_identity = self.queue.accumulator.lock().wants_identity();
        if wants_identity {
            match self.client.new_identity().await {
                Ok(identity) => self.queue.accumulator.lock().set_identity(identity),
                Err(error) => {
                    tracing::debug!(%error, "cannot get a new producer id");
                    self.pause();
                    return;
                }
            }
        }
        while self.in_flight.len() < self.settings.in_flight_max {
            let due = self.queue.accumulator.lock().take_due(now);
            if due.is_empty() {
                return;
            }
            self.send(due).await;
            if self.paused_until.is_some() {
                return;
            }
        }
    }

    async fn send(&mut self, due: Vec<(Sent, Bytes)>) {
        let mut batches: Vec<(TopicPartition, Bytes)> = Vec::with_capacity(due.len());
        let mut sent = Vec::with_capacity(due.len());
        for (one, bytes) in due {
            batches.push((one.partition.clone(), bytes));
            sent.push(one);
        }
        match self.client.send_produce(batches, self.settings.acks).await {
            Ok(Some(answer)) => {
                let patience = self.client.settings.request_timeout;
                let answered = async move { (sent, read(answer, patience).await) };
                self.in_flight.push_back(answered.boxed());
            }
            // No answer will come: handed over is all that can be said.
            Ok(None) => {
                debug_assert_eq!(self.settings.acks, Acks::Queued, "only that is not answered");
                let now = Instant::now();
                let mut accumulator = self.queue.accumulator.lock();
                let done = sent.into_iter().map(|one| accumulator.answered(one, Ok(-1), now)).sum();
                drop(accumulator);
                self.finish(done);
            }
            Err(error) => self.handle(sent, &Err(error)),
        }
    }

    fn handle(&mut self, sent: Vec<Sent>, answer: &Result<Vec<produce::TopicResult>, ClientError>) {
        let now = Instant::now();
        let mut done = 0;
        let mut is_failing = false;
        {
            let mut accumulator = self.queue.accumulator.lock();
            for one in sent {
                let result = result_of(&one.partition, answer);
                is_failing |= result.is_err();
                if let Err(error) = &result {
                    tracing::debug!(partition = %one.partition, %error, "a batch was not confirmed");
                }
                done += accumulator.answered(one, result, now);
            }
        }
        if is_failing {
            self.pause();
        }
        self.finish(done);
    }

    fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + self.settings.retry_pause);
    }

    fn finish(&self, done: usize) {
        if done > 0 {
            self.queue.unconfirmed.send_modify(|count| *count = count.saturating_sub(done));
        }
    }
}

async fn read(answer: Answer, patience: std::time::Duration) -> Result<Vec<produce::TopicResult>, ClientError> {
    let version = answer.version;
    let body = answer.body("a produce request", patience).await?;
    Ok(produce::decode_response(version, body)?)
}

/// What the answer says of one partition.
fn result_of(
    partition: &TopicPartition,
    answer: &Result<Vec<produce::TopicResult>, ClientError>,
) -> Result<Offset, ClientError> {
    let topics = answer.as_ref().map_err(Clone::clone)?;
    let result = topics
        .iter()
        .filter(|topic| *topic.name == *partition.topic.as_str())
        .flat_map(|topic| &topic.partitions)
        .find(|result| result.index == partition.partition)
        .ok_or_else(|| ClientError::Malformed(format!("it says nothing of {partition}")))?;
    ClientError::check(result.error, || format!("records for {partition}"), result.error_message.clone())?;
    Ok(result.base_offset)
}
