//! For tests: a log in memory, sources, random rows, and an oracle that is plain DataFusion.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arrow::{
    array::RecordBatch,
    compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::prelude::{SessionConfig, SessionContext};
use eventlog::{
    Acks, Appended, Bounds, CommittedOffset, Compression, Error, EventLog, Header, Pending, ReadResult, Record,
    RecordBatchBuilder, Result, StoredBatch, TimedOffset, Topic, TopicSpec, record::split_batches,
};
use model::{Metrics, Offset, Positions, SystemClock, TopicName, TopicPartition};
use sql::{SourceDefinition, Statement, ViewDefinition};
use tokio::sync::watch;
use uuid::Uuid;

use crate::source::DeadLetters;

/// A log in memory; time moves one millisecond with each append.
#[derive(Default)]
pub(crate) struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, Arc<Topic>>,
    partitions: BTreeMap<TopicPartition, Partition>,
    now_ms: i64,
    /// How many topics were created.
    created: u128,
    /// The topic that takes no appends.
    refuses: Option<TopicName>,
    /// The topic whose next append is stored, but not answered.
    loses_answer: Option<TopicName>,
}

struct Partition {
    batches: Vec<StoredBatch>,
    start: Offset,
    high_watermark: watch::Sender<Offset>,
}

impl MemoryLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes no appends to a topic, until told otherwise.
    pub(crate) fn refuse(&self, topic: Option<TopicName>) {
        self.state.lock().unwrap().refuses = topic;
    }

    /// Stores the next append to a topic and fails all the same.
    pub(crate) fn lose_answer(&self, topic: TopicName) {
        self.state.lock().unwrap().loses_answer = Some(topic);
    }

    /// Forgets everything before `offset`, as retention does.
    pub(crate) fn expire(&self, place: &TopicPartition, offset: Offset) {
        let mut state = self.state.lock().unwrap();
        let partition = state.partitions.get_mut(place).unwrap();
        partition.batches.retain(|batch| batch.next_offset() > offset);
        partition.start = offset;
    }
}

fn unknown(place: &TopicPartition) -> Error {
    Error::UnknownPartition(place.to_string())
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        let mut state = self.state.lock().unwrap();
        if state.topics.contains_key(&spec.name) {
            return Err(Error::TopicExists(spec.name));
        }
        let (name, partitions, settings) = (spec.name, spec.partitions, spec.settings);
        state.created += 1;
        let id = Uuid::from_u128(state.created);
        let topic = Arc::new(Topic { name: name.clone(), id, partitions, settings, owner: None });
        for place in topic.topic_partitions() {
            let partition = Partition { batches: Vec::new(), start: 0, high_watermark: watch::channel(0).0 };
            state.partitions.insert(place, partition);
        }
        state.topics.insert(name, Arc::clone(&topic));
        Ok(topic)
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        state.topics.remove(name);
        state.partitions.retain(|place, _| place.topic != *name);
        Ok(())
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.state.lock().unwrap().topics.get(name).map(Arc::clone)
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.state.lock().unwrap().topics.values().map(Arc::clone).collect()
    }

    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        let topic = state.topics.get_mut(name).ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        *topic = Arc::new(Topic { owner: Some(owner), ..(**topic).clone() });
        Ok(())
    }

    async fn enqueue(&self, place: &TopicPartition, batches: Bytes, _: Acks) -> Result<Pending> {
        let mut state = self.state.lock().unwrap();
        if state.refuses.as_ref() == Some(&place.topic) {
            return Err(Error::Stopped("told to refuse".to_owned()));
        }
        state.now_ms += 1;
        let (arrival_time_ms, limit) = match state.topics.get(&place.topic) {
            Some(topic) => (state.now_ms, topic.settings.message_bytes_max as usize),
            None => return Err(unknown(place)),
        };
        let partition = state.partitions.get_mut(place).ok_or_else(|| unknown(place))?;
        let base_offset = *partition.high_watermark.borrow();
        let mut next_offset = base_offset;
        for (header, bytes) in split_batches(batches).unwrap() {
            if bytes.len() > limit {
                return Err(Error::BatchTooLarge { partition: place.clone(), bytes: bytes.len(), bytes_max: limit });
            }
            let mut bytes = bytes.to_vec();
            bytes[..8].copy_from_slice(&next_offset.to_be_bytes());
            next_offset += i64::from(header.last_offset_delta) + 1;
            partition.batches.push(StoredBatch { bytes: bytes.into(), arrival_time_ms });
        }
        partition.high_watermark.send_replace(next_offset);
        let log_start_offset = partition.start;
        if state.loses_answer.take_if(|topic| *topic == place.topic).is_some() {
            return Err(Error::Stopped("told to lose the answer".to_owned()));
        }
        let duplicate = false;
        Ok(Pending::ready(Appended { base_offset, next_offset, arrival_time_ms, log_start_offset, duplicate }))
    }

    async fn read(&self, place: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        let state = self.state.lock().unwrap();
        let partition = state.partitions.get(place).ok_or_else(|| unknown(place))?;
        let (start, end) = (partition.start, *partition.high_watermark.borrow());
        if !(start..=end).contains(&from) {
            return Err(Error::OffsetOutOfRange { partition: place.clone(), offset: from, start, end });
        }
        let mut taken = 0;
        let wanted = partition.batches.iter().filter(|batch| batch.next_offset() > from).take_while(|batch| {
            let fits = taken == 0 || taken + batch.bytes.len() <= bytes_max;
            taken += batch.bytes.len();
            fits
        });
        Ok(ReadResult {
            batches: wanted.cloned().collect(),
            bounds: Bounds { log_start_offset: start, high_watermark: end },
        })
    }

    fn bounds(&self, place: &TopicPartition) -> Result<Bounds> {
        let state = self.state.lock().unwrap();
        let partition = state.partitions.get(place).ok_or_else(|| unknown(place))?;
        Ok(Bounds { log_start_offset: partition.start, high_watermark: *partition.high_watermark.borrow() })
    }

    fn watch(&self, place: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        let state = self.state.lock().unwrap();
        state.partitions.get(place).map(|partition| partition.high_watermark.subscribe()).ok_or_else(|| unknown(place))
    }

    async fn offset_at_time(&self, _: &TopicPartition, _: i64) -> Result<Option<TimedOffset>> {
        Ok(None)
    }

    async fn new_producer_id(&self) -> Result<i64> {
        Ok(1)
    }

    async fn commit_offsets(&self, _: &str, _: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        Ok(())
    }

    fn committed_offsets(&self, _: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        BTreeMap::new()
    }

    fn groups(&self) -> Vec<String> {
        Vec::new()
    }

    async fn delete_group(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A record with a value.
pub(crate) fn record(key: &str, value: &str) -> Record {
    Record { key: Some(key.to_owned().into()), value: Some(value.to_owned().into()), ..Record::default() }
}

/// A header.
pub(crate) fn header(name: &'static str, value: &str) -> Header {
    Header { name: Bytes::from_static(name.as_bytes()), value: Some(value.to_owned().into()) }
}

/// A batch of records.
pub(crate) fn batch(records: Vec<Record>) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for record in records {
        builder.push(record);
    }
    builder.build()
}

/// The source that a statement defines.
pub(crate) fn source(text: &str) -> SourceDefinition {
    match sql::parse(text).unwrap().pop() {
        Some(Statement::CreateSource(source)) => source,
        other => panic!("not a source: {other:?}"),
    }
}

/// A view with this query.
pub(crate) fn view(query: &str) -> ViewDefinition {
    match sql::parse(&format!("CREATE MATERIALIZED VIEW v AS {query}")).unwrap().pop() {
        Some(Statement::CreateView(view)) => view,
        other => panic!("not a view: {other:?}"),
    }
}

/// The source of most tests.
pub(crate) fn flights() -> SourceDefinition {
    source(
        "CREATE SOURCE flights (carrier TEXT, flight INT, delay DOUBLE PRECISION, fare NUMERIC(10, 2), cancelled BOOLEAN,
         miles BIGINT, day DATE, departed TIMESTAMP) WITH (topic = 'flights', partitions = 3, event_time = 'departed')",
    )
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// A flight as JSON: some fields missing, delays that a double holds exactly.
pub(crate) fn flight(random: &mut Random) -> String {
    let carrier = ["AA", "B6", "DL", "Ñandú", "UA"][random.below(5)];
    let number = random.below(40);
    let mut fields = vec![format!("\"flight\": {number}"), format!("\"miles\": {}", random.below(3_000))];
    if random.below(10) > 0 {
        fields.push(format!("\"carrier\": \"{carrier}\""));
    }
    if random.below(8) > 0 {
        fields.push(format!("\"delay\": {}", random.below(4_000) as f64 / 4.0 - 100.0));
    }
    if random.below(9) > 0 {
        fields.push(format!("\"fare\": {}.{:02}", random.below(900), random.below(100)));
    }
    if random.below(3) > 0 {
        fields.push(format!("\"cancelled\": {}", random.below(4) == 0));
    }
    fields.push(format!("\"day\": \"2024-01-{:02}\"", random.below(28) + 1));
    let (hour, minute) = (random.below(24), random.below(60));
    fields.push(format!("\"departed\": \"2024-01-{:02}T{hour:02}:{minute:02}:00Z\"", random.below(3) + 1));
    format!("{{{}}}", fields.join(", "))
}

/// A log with `count` random flights in three partitions, in batches of random size.
pub(crate) async fn log_of_flights(count: usize, seed: u64) -> Arc<MemoryLog> {
    let log = MemoryLog::new();
    log.create_topic(TopicSpec::new(TopicName::new("flights").unwrap(), 3)).await.unwrap();
    append_flights(&log, count, &mut Random(seed)).await;
    log
}

/// Appends random flights.
pub(crate) async fn append_flights(log: &MemoryLog, count: usize, random: &mut Random) {
    let mut left = count;
    while left > 0 {
        let size = (random.below(50) + 1).min(left);
        let place = TopicPartition::new(TopicName::new("flights").unwrap(), random.below(3) as i32);
        let records = (0..size).map(|_| record("k", &flight(random))).collect();
        log.append(&place, batch(records), Acks::Durable).await.unwrap();
        left -= size;
    }
}

/// The dead letters of a log, as a process that has just started has them.
pub(crate) fn dead_letters(log: &Arc<dyn EventLog>) -> Arc<DeadLetters> {
    DeadLetters::new(Arc::clone(log), Arc::new(SystemClock), Metrics::default())
}

/// The dead letters of a topic: the headers of each that are text, with its `key` and `value`.
pub(crate) async fn letters(log: &dyn EventLog, topic: &str) -> Vec<BTreeMap<String, String>> {
    let place = TopicPartition::new(TopicName::new(&format!("{topic}.dead-letter")).unwrap(), 0);
    if log.topic(place.topic.as_str()).is_none() {
        return Vec::new();
    }
    let stored = log.read(&place, log.bounds(&place).unwrap().log_start_offset, usize::MAX).await.unwrap().batches;
    let text = |bytes: &Option<Bytes>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let letter = |record: Record| {
        let headers = record.headers.iter().map(|header| (text(&Some(header.name.clone())), text(&header.value)));
        let parts = [("key".to_owned(), text(&record.key)), ("value".to_owned(), text(&record.value))];
        headers.chain(parts).collect()
    };
    stored.iter().flat_map(|batch| batch.records().unwrap()).map(letter).collect()
}

/// Where a topic ends.
pub(crate) fn end_of(log: &dyn EventLog, topic: &str) -> Positions {
    let topic = log.topic(topic).unwrap();
    topic.topic_partitions().map(|place| (place.clone(), log.bounds(&place).unwrap().high_watermark)).collect()
}

/// Everything in the source, decoded.
pub(crate) async fn all_rows(log: Arc<dyn EventLog>, source: &SourceDefinition) -> RecordBatch {
    let until = end_of(log.as_ref(), source.topic.as_str());
    let settings = crate::ReaderSettings::shipped();
    let letters = dead_letters(&log);
    let mut reader = crate::SourceReader::open(log, letters, source, Positions::new(), Some(until), settings).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        batches.push(batch.rows);
    }
    concat_batches(&source.schema(), &batches).unwrap()
}

/// What plain DataFusion answers over the whole input.
pub(crate) async fn oracle(rows: &RecordBatch, query: &str) -> RecordBatch {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_batch("flights", rows.clone()).unwrap();
    let frame = context.sql(query).await.unwrap();
    let schema = Arc::clone(frame.schema().inner());
    concat_batches(&schema, &frame.collect().await.unwrap()).unwrap()
}

/// Rows as lines of text in sorted order, of the first `width` columns.
pub(crate) fn lines(rows: &RecordBatch, width: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = rows.columns()[..width]
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let line = |row: usize| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    let mut lines: Vec<String> = (0..rows.num_rows()).map(line).collect();
    lines.sort();
    lines
}

/// Rows sorted by some columns, so that equal sets are equal batches.
pub(crate) fn sorted(rows: &RecordBatch, columns: usize) -> RecordBatch {
    if columns == 0 || rows.num_rows() == 0 {
        return rows.clone();
    }
    let keys: Vec<SortColumn> =
        rows.columns()[..columns].iter().map(|c| SortColumn { values: Arc::clone(c), options: None }).collect();
    take_record_batch(rows, &lexsort_to_indices(&keys, None).unwrap()).unwrap()
}
