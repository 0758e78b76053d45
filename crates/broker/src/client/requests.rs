//! [`Client`]: one method a question.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventlog::record::split_batches;
use eventlog::{Acks, Record, StoredBatch, TopicSettings};
use kafka_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName as WireTopicName,
};
use kafka_wire::{Api, Text, cold, fetch, metadata, produce};
use model::{Offset, TopicName, TopicPartition};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::connection::{Answer, Connection};
use super::error::ClientError;
use super::settings::ClientSettings;

/// A client of one broker. Cheap to clone; clones share one connection, which is made anew after it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) address: Arc<str>,
    pub(super) settings: ClientSettings,
    connection: Arc<Mutex<Option<Connection>>>,
}

/// A topic as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id; nil from brokers that do not say.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// What a fetch found.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole batches, in order; the first may begin before the offset asked for.
    pub batches: Vec<Bytes>,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
    /// The first offset that can be read.
    pub log_start_offset: Offset,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first that can be read.
    Earliest,
    /// The one after the last.
    Latest,
    /// That of the first record at or after this time, in milliseconds since the epoch.
    AtTime(i64),
}

/// What an idempotent producer signs its batches with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl Client {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when there is no broker.
    pub async fn connect(address: &str) -> model::Result<Self> {
        Self::connect_with(address, ClientSettings::shipped()).await
    }

    /// Connects with settings of one's own.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(address: &str, settings: ClientSettings) -> model::Result<Self> {
        let client = Self { address: address.into(), settings, connection: Arc::default() };
        client.connection().await?;
        Ok(client)
    }

    /// A client with a connection of its own, so that long waits of one do not hold up the other.
    #[must_use]
    pub fn separate(&self) -> Self {
        Self { connection: Arc::default(), ..self.clone() }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when it exists; [`Invalid`](model::ErrorKind::Invalid) when it cannot.
    pub async fn create_topic(&self, name: &TopicName, partitions: i32, settings: &TopicSettings) -> model::Result<()> {
        let text = |name: &str, value: &str| {
            let name = Text::from_string(name.to_owned());
            CreatableTopicConfig::default().with_name(name).with_value(Some(Text::from_string(value.to_owned())))
        };
        let config = |name: &str, value: i64| text(name, &value.to_string());
        let configs = [
            settings.retention_ms.map(|ms| config("retention.ms", ms)),
            settings.retention_bytes.map(|bytes| config("retention.bytes", bytes)),
            Some(config("max.message.bytes", i64::from(settings.message_bytes_max))),
        ];
        let others = settings.others.iter().map(|(name, value)| text(name, value));
        let topic = CreatableTopic::default()
            .with_name(wire_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(-1)
            .with_configs(configs.into_iter().flatten().chain(others).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.timeout_ms());
        let response: CreateTopicsResponse = self.ask_cold(Api::CreateTopics, "to create a topic", &request).await?;
        for topic in response.topics {
            let message = topic.error_message.map(|message| message.to_string());
            ClientError::check(topic.error_code, || format!("to create topic {name}"), message)?;
        }
        Ok(())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when there is none of this name.
    pub async fn delete_topic(&self, name: &TopicName) -> model::Result<()> {
        let request = DeleteTopicsRequest::default().with_timeout_ms(self.timeout_ms());
        // Up to version 5 topics are named one way, from 6 another.
        let request = request.with_topic_names(vec![wire_name(name)]);
        let response: DeleteTopicsResponse =
            self.ask_cold_up_to(Api::DeleteTopics, 5, "to delete a topic", &request).await?;
        for topic in response.responses {
            let message = topic.error_message.map(|message| message.to_string());
            ClientError::check(topic.error_code, || format!("to delete topic {name}"), message)?;
        }
        Ok(())
    }

    /// All topics.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when the broker does not answer.
    pub async fn topics(&self) -> model::Result<Vec<TopicDescription>> {
        let request = metadata::Request { topics: None, allow_auto_topic_creation: false };
        let response = self.metadata(&request).await?;
        Ok(response.topics.into_iter().filter_map(|topic| describe(topic).ok()).collect())
    }

    /// One topic; with `create`, a missing one is created as far as the broker allows.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when there is none.
    pub async fn topic(&self, name: &TopicName, create: bool) -> model::Result<TopicDescription> {
        Ok(self.find_topic(name, create).await?)
    }

    pub(super) async fn find_topic(&self, name: &TopicName, create: bool) -> Result<TopicDescription, ClientError> {
        let query = metadata::TopicQuery { id: Uuid::nil(), name: Some(Text::from_string(name.to_string())) };
        let request = metadata::Request { topics: Some(vec![query]), allow_auto_topic_creation: create };
        let found = self.metadata(&request).await?.topics.into_iter().next();
        describe(found.ok_or_else(|| ClientError::Malformed(format!("it says nothing of topic {name}")))?)
    }

    /// Appends record batches to a partition. `None` with [`Acks::Queued`], which is not answered; otherwise the first
    /// record's offset. For throughput use a [`Producer`](super::Producer).
    ///
    /// # Errors
    /// The broker's refusal, or [`Unavailable`](model::ErrorKind::Unavailable): then whether the batch was stored is not
    /// known.
    pub async fn produce(&self, to: &TopicPartition, batch: Bytes, acks: Acks) -> model::Result<Option<Offset>> {
        let batches = vec![(to.clone(), batch)];
        let Some(answer) = self.send_produce(batches, acks).await? else { return Ok(None) };
        let version = answer.version;
        let body = answer.body("a produce request", self.settings.request_timeout).await?;
        let topics = produce::decode_response(version, body).map_err(ClientError::from)?;
        let result = topics.into_iter().flat_map(|topic| topic.partitions).next();
        let result = result.ok_or_else(|| ClientError::Malformed(format!("it says nothing of {to}")))?;
        ClientError::check(result.error, || format!("records for {to}"), result.error_message)?;
        Ok(Some(result.base_offset))
    }

    /// Sends batches without waiting for the answer; `None` when there will be none.
    pub(super) async fn send_produce(
        &self,
        batches: Vec<(TopicPartition, Bytes)>,
        acks: Acks,
    ) -> Result<Option<Answer>, ClientError> {
        // From version 13 on topics are named by id.
        const VERSION_MAX: i16 = 11;
        let connection = self.connection().await?;
        let version = connection.version(Api::Produce, VERSION_MAX)?;
        let request = produce::Request {
            transactional_id: None,
            acks: match acks {
                Acks::Queued => 0,
                Acks::Written => 1,
                Acks::Durable => -1,
            },
            timeout_ms: self.timeout_ms(),
            topics: by_topic(batches, |index, records| produce::PartitionBatches { index, records: Some(records) })
                .into_iter()
                .map(|(name, partitions)| produce::TopicBatches { name, partitions })
                .collect(),
        };
        let encode = |writer: &mut kafka_wire::Writer| {
            request.encode(writer);
            Ok(())
        };
        if acks == Acks::Queued {
            connection.send_unanswered(Api::Produce, version, encode).await?;
            return Ok(None);
        }
        connection.send(Api::Produce, version, encode).await.map(Some)
    }

    /// Reads batches from the one that contains `offset`; waits up to `wait_max` when there is none yet.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) when the offset is outside the partition.
    pub async fn fetch(
        &self,
        from: &TopicPartition,
        offset: Offset,
        bytes_max: usize,
        wait_max: Duration,
    ) -> model::Result<Fetched> {
        let limit = i32::try_from(bytes_max).unwrap_or(i32::MAX);
        let query = fetch::PartitionQuery { index: from.partition, offset, bytes_max: limit };
        let topic = fetch::TopicQuery { name: Text::from_string(from.topic.to_string()), partitions: vec![query] };
        let request = fetch::Request {
            wait_ms_max: milliseconds(wait_max),
            bytes_min: 1,
            bytes_max: limit,
            session_id: 0,
            session_epoch: -1,
            topics: vec![topic],
        };
        let connection = self.connection().await?;
        let version = connection.version(Api::Fetch, i16::MAX)?;
        let answer = connection
            .send(Api::Fetch, version, |writer| {
                request.encode(writer, version);
                Ok(())
            })
            .await?;
        let body = answer.body("a fetch", self.settings.request_timeout + wait_max).await?;
        let response = fetch::Response::decode(version, body).map_err(ClientError::from)?;
        ClientError::check(response.error, || format!("to read {from}"), None)?;
        let result = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let result = result.ok_or_else(|| ClientError::Malformed(format!("it says nothing of {from}")))?;
        ClientError::check(result.error, || format!("to read {from} from offset {offset}"), None)?;
        let mut batches = Vec::new();
        for records in result.batches {
            // Kafka cuts the last batch where the limit falls; ours does not.
            let split =
                split_batches(whole_batches(&records)).map_err(|defect| ClientError::Malformed(defect.into()))?;
            batches.extend(split.into_iter().map(|(_, batch)| batch));
        }
        Ok(Fetched { batches, high_watermark: result.high_watermark, log_start_offset: result.log_start_offset })
    }

    /// A reader that follows a partition from an offset on.
    pub fn follow(&self, partition: TopicPartition, from: Offset) -> Follower {
        Follower { client: self.separate(), partition, next_offset: from }
    }

    /// An offset; `None` when no record is at or after the time asked for.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when the partition does not exist.
    pub async fn offset(&self, of: &TopicPartition, query: OffsetQuery) -> model::Result<Option<Offset>> {
        let timestamp = match query {
            OffsetQuery::Earliest => -2,
            OffsetQuery::Latest => -1,
            OffsetQuery::AtTime(ms) => ms.max(0),
        };
        let partition = ListOffsetsPartition::default().with_partition_index(of.partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(wire_name(&of.topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let response: ListOffsetsResponse = self.ask_cold(Api::ListOffsets, "offsets", &request).await?;
        let found = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let found = found.ok_or_else(|| ClientError::Malformed(format!("it says nothing of {of}")))?;
        ClientError::check(found.error_code, || format!("an offset of {of}"), None)?;
        Ok(Some(found.offset).filter(|offset| *offset >= 0))
    }

    /// A fresh identity for an idempotent producer.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when the broker does not answer.
    pub async fn init_producer_id(&self) -> model::Result<ProducerIdentity> {
        Ok(self.new_identity().await?)
    }

    pub(super) async fn new_identity(&self) -> Result<ProducerIdentity, ClientError> {
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        let response: InitProducerIdResponse = self.ask_cold(Api::InitProducerId, "a producer id", &request).await?;
        ClientError::check(response.error_code, || "a producer id".to_owned(), None)?;
        Ok(ProducerIdentity { id: response.producer_id.0, epoch: response.producer_epoch })
    }

    async fn metadata(&self, request: &metadata::Request) -> Result<metadata::Response, ClientError> {
        let connection = self.connection().await?;
        let version = connection.version(Api::Metadata, i16::MAX)?;
        let answer = connection
            .send(Api::Metadata, version, |writer| {
                request.encode(writer, version);
                Ok(())
            })
            .await?;
        let body = answer.body("a metadata request", self.settings.request_timeout).await?;
        Ok(metadata::Response::decode(version, body)?)
    }

    async fn ask_cold<Q: cold::Encodable, A: cold::Decodable>(
        &self,
        api: Api,
        what: &'static str,
        request: &Q,
    ) -> Result<A, ClientError> {
        self.ask_cold_up_to(api, i16::MAX, what, request).await
    }

    async fn ask_cold_up_to<Q: cold::Encodable, A: cold::Decodable>(
        &self,
        api: Api,
        version_max: i16,
        what: &'static str,
        request: &Q,
    ) -> Result<A, ClientError> {
        let connection = self.connection().await?;
        let version = connection.version(api, version_max)?;
        let answer = connection.send(api, version, |writer| cold::encode(writer, api, version, request)).await?;
        Ok(cold::decode_response(api, version, answer.body(what, self.settings.request_timeout).await?)?)
    }

    /// Gives up the connection; the next request makes a new one.
    pub(super) async fn disconnect(&self) {
        *self.connection.lock().await = None;
    }

    async fn connection(&self) -> Result<Connection, ClientError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&self.address, &self.settings).await?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    fn timeout_ms(&self) -> i32 {
        milliseconds(self.settings.request_timeout)
    }
}

impl Fetched {
    /// The records from `from` on.
    ///
    /// # Errors
    /// [`Corrupt`](model::ErrorKind::Corrupt) when a batch cannot be read.
    pub fn records(&self, from: Offset) -> model::Result<Vec<Record>> {
        let mut records = Vec::new();
        for batch in &self.batches {
            let batch = StoredBatch { bytes: batch.clone(), arrival_time_ms: 0 };
            records.extend(batch.records()?.into_iter().filter(|record| record.offset >= from));
        }
        Ok(records)
    }
}

/// Reads a partition batch by batch, and waits at its end.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    partition: TopicPartition,
    next_offset: Offset,
}

impl Follower {
    const BYTES_MAX: usize = 1024 * 1024;

    /// The next records; empty when none came within `wait_max`.
    ///
    /// # Errors
    /// As [`Client::fetch`]; the follower may be asked again.
    pub async fn next(&mut self, wait_max: Duration) -> model::Result<Vec<Record>> {
        let fetched = self.client.fetch(&self.partition, self.next_offset, Self::BYTES_MAX, wait_max).await?;
        let records = fetched.records(self.next_offset)?;
        if let Some(last) = records.last() {
            self.next_offset = last.offset + 1;
        }
        Ok(records)
    }

    /// The next offset to read.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }
}

fn describe(topic: metadata::Topic) -> Result<TopicDescription, ClientError> {
    let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
    ClientError::check(topic.error, || format!("topic {name}"), None)?;
    let name = TopicName::new(&name).map_err(|error| ClientError::Malformed(error.to_string()))?;
    Ok(TopicDescription { name, id: topic.id, partitions: topic.partitions })
}

/// Groups batches by topic, keeping the order within one.
fn by_topic<T>(batches: Vec<(TopicPartition, Bytes)>, each: impl Fn(i32, Bytes) -> T) -> Vec<(Text, Vec<T>)> {
    let mut topics: Vec<(Text, Vec<T>)> = Vec::new();
    for (to, batch) in batches {
        match topics.iter_mut().find(|(name, _)| **name == *to.topic.as_str()) {
            Some((_, partitions)) => partitions.push(each(to.partition, batch)),
            None => topics.push((Text::from_string(to.topic.to_string()), vec![each(to.partition, batch)])),
        }
    }
    topics
}

/// Drops a batch that was cut off at the end.
fn whole_batches(records: &Bytes) -> Bytes {
    const LENGTH_AT: usize = 8;
    const PREFIX_BYTES: usize = 12;
    let mut end = 0;
    while let Some(prefix) = records.get(end + LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>()) {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*prefix)) else { break };
        match end.checked_add(PREFIX_BYTES + length) {
            Some(next) if next <= records.len() => end = next,
            _ => break,
        }
    }
    records.slice(..end)
}

fn wire_name(name: &TopicName) -> WireTopicName {
    WireTopicName(Text::from_string(name.to_string()))
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
