//! Which damage consumers have met: each is reported once in the server's log, and not with every attempt to read it.
//!
//! What must hold: only so much is remembered; what was forgotten is reported again when it is met again.

use std::collections::VecDeque;

use eventlog::Error;
use model::{Offset, TopicPartition};
use parking_lot::Mutex;

const REMEMBERED_MAX: usize = 256;

/// A file, and a place in it.
type Place = (String, u64);

#[derive(Debug, Default)]
pub(crate) struct DamageReports {
    /// The oldest first.
    places: Mutex<VecDeque<Place>>,
}

impl DamageReports {
    /// Reports an error with which a read for a consumer ended, if it is one of the machine and is not known yet.
    pub(crate) fn report(&self, partition: &TopicPartition, offset: Offset, error: &Error) {
        let TopicPartition { topic, partition } = partition;
        match error {
            Error::Corrupt { file, position, .. } if self.is_new(file, *position) => tracing::error!(
                %topic, partition, offset, %error,
                "records are damaged: consumers are told CORRUPT_MESSAGE here, and have to seek behind them"
            ),
            Error::Io { .. } => {
                tracing::error!(%topic, partition, offset, %error, "cannot read what a consumer asked for");
            }
            _ => {}
        }
    }

    fn is_new(&self, file: &str, position: u64) -> bool {
        let mut places = self.places.lock();
        if places.iter().any(|(known, at)| known == file && *at == position) {
            return false;
        }
        if places.len() == REMEMBERED_MAX {
            places.pop_front();
        }
        places.push_back((file.to_owned(), position));
        true
    }
}

#[cfg(test)]
mod tests;
