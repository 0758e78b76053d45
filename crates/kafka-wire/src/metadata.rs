//! `Metadata`: topics, partitions, and where they are led.

use bytes::Bytes;
use uuid::Uuid;

use crate::{Api, Reader, Result, Text, Writer};

/// Which topics a client asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The topics; `None` is all of them.
    pub topics: Option<Vec<TopicQuery>>,
    /// Whether a missing topic may be created.
    pub allow_auto_topic_creation: bool,
}

/// One topic asked for: by id when that is not zero, else by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicQuery {
    /// Its id; zero when asked by name.
    pub id: Uuid,
    /// Its name; null or empty when asked by id.
    pub name: Option<Text>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The brokers.
    pub brokers: Vec<Broker>,
    /// The cluster's id.
    pub cluster_id: Text,
    /// The controller's node id.
    pub controller_id: i32,
    /// The topics.
    pub topics: Vec<Topic>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub node_id: i32,
    /// Where clients reach it.
    pub host: Text,
    /// The port.
    pub port: i32,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Zero, or why there is no answer.
    pub error: i16,
    /// Its name; null for an unknown id.
    pub name: Option<Text>,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has, all led by `leader`.
    pub partitions: i32,
    /// The node that leads them.
    pub leader: i32,
}

impl Request {
    /// Reads a request.
    pub fn decode(version: i16, body: Bytes) -> Result<Self> {
        let mut reader = Reader::new(body, Api::Metadata.is_flexible(version));
        let mut topics = reader.nullable_array("topics", if version >= 10 { 17 } else { 1 }, |reader| {
            let id = if version >= 10 { reader.uuid("topic id")? } else { Uuid::nil() };
            let name = if version >= 10 { reader.nullable_string("name")? } else { Some(reader.string("name")?) };
            reader.tags()?;
            Ok(TopicQuery { id, name })
        })?;
        if version == 0 && topics.as_ref().is_some_and(Vec::is_empty) {
            topics = None;
        }
        let allow_auto_topic_creation = version < 4 || reader.bool("allow auto topic creation")?;
        if (8..=10).contains(&version) {
            reader.bool("include cluster authorised operations")?;
        }
        if version >= 8 {
            reader.bool("include topic authorised operations")?;
        }
        reader.tags()?;
        // Bytes may follow, and mean nothing: librdkafka asks for all topics with three of them (2.16.0, version 12),
        // and Apache Kafka does not look.
        Ok(Self { topics, allow_auto_topic_creation })
    }

    /// Writes a request.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        match &self.topics {
            None if version >= 1 => writer.null_array(),
            None => writer.array_length(0),
            Some(topics) => writer.array(topics, |writer, topic| {
                if version >= 10 {
                    writer.uuid(topic.id);
                    writer.nullable_string(topic.name.as_deref());
                } else {
                    writer.string(topic.name.as_deref().unwrap_or_default());
                }
                writer.tags();
            }),
        }
        if version >= 4 {
            writer.bool(self.allow_auto_topic_creation);
        }
        if (8..=10).contains(&version) {
            writer.bool(false);
        }
        if version >= 8 {
            writer.bool(false);
        }
        writer.tags();
    }
}

/// No set of authorised operations is given: Kafka's value for that.
const NO_AUTHORISED_OPERATIONS: i32 = i32::MIN;

impl Response {
    /// Writes the answer.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        if version >= 3 {
            writer.i32(0);
        }
        writer.array(&self.brokers, |writer, broker| {
            writer.i32(broker.node_id);
            writer.string(&broker.host);
            writer.i32(broker.port);
            if version >= 1 {
                writer.nullable_string(None);
            }
            writer.tags();
        });
        if version >= 2 {
            writer.nullable_string(Some(&self.cluster_id));
        }
        if version >= 1 {
            writer.i32(self.controller_id);
        }
        writer.array(&self.topics, |writer, topic| topic.encode(writer, version));
        if (8..=10).contains(&version) {
            writer.i32(NO_AUTHORISED_OPERATIONS);
        }
        writer.tags();
    }

    /// Reads an answer. A client of ours talks to one broker at a time, so of partitions only their number is kept,
    /// and the leader of the first.
    pub fn decode(version: i16, body: Bytes) -> Result<Self> {
        let mut reader = Reader::of_answer(body, Api::Metadata.is_flexible(version));
        if version >= 3 {
            reader.i32("throttle time")?;
        }
        let brokers = reader.array("brokers", 9, |reader| {
            let node_id = reader.i32("node id")?;
            let host = reader.string("host")?;
            let port = reader.i32("port")?;
            if version >= 1 {
                reader.nullable_string("rack")?;
            }
            reader.tags()?;
            Ok(Broker { node_id, host, port })
        })?;
        let cluster_id = if version >= 2 { reader.nullable_string("cluster id")? } else { None };
        let controller_id = if version >= 1 { reader.i32("controller id")? } else { -1 };
        let topics = reader.array("topics", 4, |reader| Topic::decode(reader, version))?;
        Ok(Self { brokers, cluster_id: cluster_id.unwrap_or_default(), controller_id, topics })
    }
}

impl Topic {
    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i16(self.error);
        if version >= 12 {
            writer.nullable_string(self.name.as_deref());
        } else {
            writer.string(self.name.as_deref().unwrap_or_default());
        }
        if version >= 10 {
            writer.uuid(self.id);
        }
        if version >= 1 {
            writer.bool(false);
        }
        writer.array_length(usize::try_from(self.partitions).unwrap_or(0));
        for partition in 0..self.partitions {
            writer.i16(0);
            writer.i32(partition);
            writer.i32(self.leader);
            if version >= 7 {
                writer.i32(0);
            }
            // Replicas, then in-sync replicas: the leader alone.
            for _ in 0..2 {
                writer.array(&[self.leader], |writer, node| writer.i32(*node));
            }
            if version >= 5 {
                writer.array_length(0);
            }
            writer.tags();
        }
        if version >= 8 {
            writer.i32(NO_AUTHORISED_OPERATIONS);
        }
        writer.tags();
    }

    fn decode(reader: &mut Reader, version: i16) -> Result<Self> {
        let error = reader.i16("error code")?;
        let name = if version >= 12 { reader.nullable_string("name")? } else { Some(reader.string("name")?) };
        let id = if version >= 10 { reader.uuid("topic id")? } else { Uuid::nil() };
        if version >= 1 {
            reader.bool("is internal")?;
        }
        let leaders = reader.array("partitions", 12, |reader| {
            reader.i16("error code")?;
            reader.i32("partition index")?;
            let leader = reader.i32("leader id")?;
            if version >= 7 {
                reader.i32("leader epoch")?;
            }
            let lists = if version >= 5 { 3 } else { 2 };
            for _ in 0..lists {
                reader.array("replicas", 4, |reader| reader.i32("replica"))?;
            }
            reader.tags()?;
            Ok(leader)
        })?;
        if version >= 8 {
            reader.i32("authorised operations")?;
        }
        reader.tags()?;
        let partitions = i32::try_from(leaders.len()).unwrap_or(i32::MAX);
        Ok(Self { error, name, id, partitions, leader: leaders.first().copied().unwrap_or(-1) })
    }
}
