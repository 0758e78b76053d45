//! A dead letter: a rejected record as a record of its own, with the reason, the origin, and who rejected it.
//!
//! The form is written down in `docs/formats/dead-letter.md`. What must hold: [`Mark::of`] gives back what [`encode`]
//! was given, and takes nothing for a dead letter that [`encode`] did not make.

use bytes::Bytes;
use eventlog::{Header, Record};
use model::{Offset, TopicName, TopicPartition};
use uuid::Uuid;

use super::reason::{Reason, ReasonClass};

const SUFFIX: &str = ".dead-letter";
/// A reason can repeat the value that it is about.
const REASON_CHARACTERS_MAX: usize = 1_000;
const REASON_CHARACTERS_LEAST: usize = 40;
/// Names of topics are in ASCII, and have at most so many characters.
const TOPIC_CHARACTERS_MAX: usize = 249;
/// Digits of a hash in the place of the end of a name.
const HASH_CHARACTERS: usize = 16;

const CLASS: &str = "ff_class";
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

/// The headers that make a letter.
const OWN_HEADERS: usize = 8;

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
    pub reason: Reason,
}

/// Who rejects records: each writes its own letter about a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rejecter {
    /// The source of this name, whose definition decodes as this hash says.
    Source { name: String, decoder: String },
    /// The view of this name, with the plan of this hash.
    View { name: String, plan: String },
}

impl Rejecter {
    /// Who it is, whatever its definition.
    pub(super) fn name(&self) -> RejectedBy {
        match self {
            Self::Source { name, .. } => RejectedBy::Source(name.clone()),
            Self::View { name, .. } => RejectedBy::View(name.clone()),
        }
    }
}

/// Who rejects records, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectedBy {
    /// A source that cannot decode them.
    Source(String),
    /// A view that cannot evaluate them.
    View(String),
}

impl std::fmt::Display for RejectedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(name) => write!(f, "source {name}"),
            Self::View(name) => write!(f, "view {name}"),
        }
    }
}

/// What a rejecter looked at: a partition, of a topic that may be deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Checked {
    pub(super) by: Rejecter,
    pub(super) topic_partition: TopicPartition,
    pub(super) topic_id: Uuid,
}

/// Where the bad records of a topic go: one partition, the topic's name with `.dead-letter` after it. Of a name that
/// leaves no room for that, the end becomes a hash of the whole.
///
/// # Errors
/// [`Invalid`](model::ErrorKind::Invalid) when that is no name of a topic, which cannot be.
pub fn dead_letter_topic(topic: &TopicName) -> model::Result<TopicName> {
    let (name, room) = (topic.as_str(), TOPIC_CHARACTERS_MAX - SUFFIX.len());
    if name.len() <= room {
        return TopicName::new(&format!("{name}{SUFFIX}"));
    }
    let hash = crate::hash::hash(&[name]);
    let (begin, hash) = (&name[..room - HASH_CHARACTERS - 1], &hash[..HASH_CHARACTERS]);
    TopicName::new(&format!("{begin}-{hash}{SUFFIX}"))
}

/// The letter about a record; `from` is where its rejecter began to look, without a gap up to the record.
pub(super) fn encode(checked: &Checked, from: Offset, rejected: &RejectedRecord) -> Record {
    let mut headers = rejected.headers.clone();
    let mut push = |name: &'static str, value: String| {
        headers.push(Header { name: Bytes::from_static(name.as_bytes()), value: Some(Bytes::from(value)) });
    };
    push(CLASS, rejected.reason.class.name().to_owned());
    push(REASON, shortened(&rejected.reason.text, REASON_CHARACTERS_MAX));
    push(TOPIC, checked.topic_partition.topic.to_string());
    push(TOPIC_ID, checked.topic_id.to_string());
    push(PARTITION, checked.topic_partition.partition.to_string());
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
    let text = shortened(&rejected.reason.text, REASON_CHARACTERS_MAX);
    let text = format!("{text} (the value of {bytes} bytes is too large to be kept here)");
    let reason = Reason::new(rejected.reason.class, text);
    encode(checked, from, &RejectedRecord { offset: rejected.offset, key: None, value: None, headers: vec![], reason })
}

/// The smallest letter there is about a record.
fn encode_shortest(checked: &Checked, from: Offset, rejected: &RejectedRecord) -> Record {
    let text = format!("{} (the rest is too large)", shortened(&rejected.reason.text, REASON_CHARACTERS_LEAST));
    let reason = Reason::new(rejected.reason.class, text);
    encode(checked, from, &RejectedRecord { offset: rejected.offset, key: None, value: None, headers: vec![], reason })
}

/// A way to write a letter.
type Form = fn(&Checked, Offset, &RejectedRecord) -> Record;

/// The ways to write a letter, the largest first.
pub(super) const FORMS: &[Form] = &[encode, encode_without_value, encode_shortest];

/// About how large the letter will be, in bytes.
pub(super) fn size_bytes(rejected: &RejectedRecord) -> usize {
    let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let headers: usize = rejected.headers.iter().map(|header| header.name.len() + bytes(&header.value) + 16).sum();
    bytes(&rejected.key) + bytes(&rejected.value) + headers + rejected.reason.text.len() + 512
}

/// The class of a letter's reason; it stands before the headers that make a letter.
pub(super) fn class_of(letter: &Record) -> ReasonClass {
    let header = letter.headers.len().checked_sub(OWN_HEADERS + 1).and_then(|at| letter.headers.get(at));
    let value = header.filter(|header| header.name == CLASS.as_bytes()).and_then(|header| header.value.as_deref());
    let name = value.and_then(|value| std::str::from_utf8(value).ok());
    name.and_then(ReasonClass::of).unwrap_or(ReasonClass::Unknown)
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
        let own = letter.headers.get(letter.headers.len().checked_sub(OWN_HEADERS)?..)?;
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
        let topic_partition = TopicPartition::new(TopicName::new(value(1, TOPIC)?).ok()?, partition);
        let topic_id = value(2, TOPIC_ID)?.parse().ok()?;
        let (last, first): (Offset, Offset) = (value(4, OFFSET)?.parse().ok()?, value(5, CHECKED_FROM)?.parse().ok()?);
        let valid = (0..=last).contains(&first);
        valid.then_some(Self { checked: Checked { by, topic_partition, topic_id }, offsets: (first, last) })
    }
}

fn shortened(reason: &str, characters_max: usize) -> String {
    match reason.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason.to_owned(),
    }
}
