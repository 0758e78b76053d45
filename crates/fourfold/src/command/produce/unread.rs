//! [`Unread`]: which of the records that were just written the topic's sources cannot read.

use model::{Positions, TopicName};
use serde_json::Value;

use crate::cli::HttpDoor;
use crate::door::{Http, path_segment};
use crate::output::say;
use crate::table::{cell, count};

/// What the server says of a range of records.
pub(super) struct Unread {
    /// Each source of the topic: its name, how many records it cannot read, and why.
    pub(super) sources: Value,
    /// Why the server could not be asked.
    failure: Option<String>,
}

impl Unread {
    /// Asks the server about the records from `from` to `to`.
    pub(super) async fn of(door: &HttpDoor, topic: &TopicName, from: &Positions, to: &Positions) -> Self {
        if to.is_empty() {
            return Self { sources: Value::Array(Vec::new()), failure: None };
        }
        let path = format!("/v1/topics/{}/unread", path_segment(topic.as_str()));
        let range = [("from", from.to_string()), ("to", to.to_string())];
        match Http::new(door).get(&path, &range).await {
            Ok(answer) => Self { sources: answer["sources"].clone(), failure: None },
            Err(error) => Self { sources: Value::Null, failure: Some(error.to_string()) },
        }
    }

    /// Warns of records that a source cannot read.
    pub(super) fn tell(&self) {
        if let Some(failure) = &self.failure {
            say(format!("whether sources can read them is not known: {failure}"));
        }
        for source in self.sources.as_array().into_iter().flatten() {
            let (rejected, name) = (source["rejected"].as_u64().unwrap_or(0), cell(&source["source"]));
            if rejected > 0 {
                let records = count(usize::try_from(rejected).unwrap_or(usize::MAX), "record");
                say(format!("warning: source {name} cannot read {records} of {}", cell(&source["records"])));
                say("hint: each line is one JSON object, and SHOW SOURCES says what the source expects");
            }
            for notice in source["notices"].as_array().into_iter().flatten() {
                say(format!("  {}", cell(notice)));
            }
        }
    }
}
