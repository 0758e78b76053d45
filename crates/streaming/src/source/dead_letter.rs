//! A dead letter: a rejected record as a record of its own, with the reason, the origin, and who rejected it.
//!
//! The form is written down in `docs/formats/dead-letter.md`. What must hold: [`Mark::of`] gives back what [`encode`]
//! was given, and takes nothing for a dead letter that [`encode`] did not make.

use bytes::Bytes;
use eventlog::{Header, Record};
use model::{Offset, TopicName, TopicPartition};
use uuid::Uuid;

const SUFFIX: &str = ".dead-letter";
/// A reason can repeat the value that it is about.
const REASON_CHARACTERS_MAX: usize = 1_000;

const REASON: &str = "ff_reason";
const TOPIC: &str = "ff_topic";
const TOPIC_ID: &str = "ff_topic_id";
const PARTITION: &str = "ff_partition";
const OFFSET: &str = "ff_offset";
const CHECKED_FROM: &str = "ff_checked_from";
const SOURCE: &str = "ff_source";
const DECODER: &str = "ff_decoder";
const VIEW: &str = "ff_view";
const PLAN: &str = "ff_plan";

/// A record that a source could not decode, or a view could not evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Why it was rejected.
    pub reason: String,
}

/// Who rejects records: each writes its own letter about a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rejecter {
    /// The source of this name, whose definition decodes as this hash says.
    Source { name: String, decoder: String },
    /// The view of this name, with the plan of this hash.
    View { name: String, plan: String },
}

/// What a rejecter looked at: a partition, of a topic that may be deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Checked {
    pub(super) by: Rejecter,
    pub(super) place: TopicPartition,
    pub(super) topic_id: Uuid,
}

/// Where the bad records of a topic go: one partition, the topic's name with `.dead-letter` after it.
///
/// # Errors
/// [`Invalid`](model::ErrorKind::Invalid) when that name would be too long.
pub fn dead_letter_topic(topic: &TopicName) -> model::Result<TopicName> {
    TopicName::new(&format!("{topic}{SUFFIX}"))
}

/// The letter about a record; `from` is where its rejecter began to look, without a gap up to the record.
pub(super) fn encode(checked: &Checked, from: Offset, rejected: &RejectedRecord) -> Record {
    let mut headers = rejected.headers.clone();
    let mut push = |name: &'static str, value: String| {
        headers.push(Header { name: Bytes::from_static(name.as_bytes()), value: Some(Bytes::from(value)) });
    };
    push(REASON, shortened(&rejected.reason));
    push(TOPIC, checked.place.topic.to_string());
    push(TOPIC_ID, checked.topic_id.to_string());
    push(PARTITION, checked.place.partition.to_string());
    push(OFFSET, rejected.offset.to_string());
    push(CHECKED_FROM, from.to_string());
    let by = match &checked.by {
        Rejecter::Source { name, decoder } => [(SOURCE, name), (DECODER, decoder)],
        Rejecter::View { name, plan } => [(VIEW, name), (PLAN, plan)],
    };
    by.into_iter().for_each(|(name, value)| push(name, value.clone()));
    Record { offset: 0, timestamp_ms: -1, key: rejected.key.clone(), value: rejected.value.clone(), headers }
}

/// The letter about a record that is too large to be stored once more: its origin says where to find it.
pub(super) fn encode_without_value(checked: &Checked, from: Offset, rejected: &RejectedRecord) -> Record {
    let bytes = rejected.value.as_ref().map_or(0, Bytes::len);
    let reason = format!("{} (the value of {bytes} bytes is too large to be kept here)", shortened(&rejected.reason));
    encode(checked, from, &RejectedRecord { offset: rejected.offset, key: None, value: None, headers: vec![], reason })
}

/// About how large the letter will be, in bytes.
pub(super) fn size_bytes(rejected: &RejectedRecord) -> usize {
    let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let headers: usize = rejected.headers.iter().map(|header| header.name.len() + bytes(&header.value) + 16).sum();
    bytes(&rejected.key) + bytes(&rejected.value) + headers + rejected.reason.len() + 512
}

/// What a letter says about what was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) checked: Checked,
    /// The first and the last offset of what the rejecter has looked at: all it rejects there has its letter.
    pub(super) offsets: (Offset, Offset),
}

impl Mark {
    /// `None` when the record is no letter. The record's own headers come first, and may themselves be a letter's.
    pub(super) fn of(letter: &Record) -> Option<Self> {
        let own = letter.headers.get(letter.headers.len().checked_sub(8)?..)?;
        let value = |i: usize, name: &str| {
            let header = own.get(i).filter(|header| header.name == name.as_bytes())?;
            std::str::from_utf8(header.value.as_deref()?).ok()
        };
        value(0, REASON)?;
        let by = match value(6, VIEW) {
            Some(name) => Rejecter::View { name: name.to_owned(), plan: value(7, PLAN)?.to_owned() },
            None => Rejecter::Source { name: value(6, SOURCE)?.to_owned(), decoder: value(7, DECODER)?.to_owned() },
        };
        let partition = value(3, PARTITION)?.parse().ok()?;
        let place = TopicPartition::new(TopicName::new(value(1, TOPIC)?).ok()?, partition);
        let topic_id = value(2, TOPIC_ID)?.parse().ok()?;
        let (last, first): (Offset, Offset) = (value(4, OFFSET)?.parse().ok()?, value(5, CHECKED_FROM)?.parse().ok()?);
        let valid = (0..=last).contains(&first);
        valid.then_some(Self { checked: Checked { by, place, topic_id }, offsets: (first, last) })
    }
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason.to_owned(),
    }
}
