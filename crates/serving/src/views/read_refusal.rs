//! [`ReadRefusal`]: why a read of a relation got nothing, so that each door can say what to do about it.

use std::time::Duration;

use model::{Error, Positions};

use super::{BuildProgress, Relation};

/// Why a read got nothing.
#[derive(Debug)]
pub enum ReadRefusal {
    /// The relation has not folded yet what was in the log when it began, so that rows would be a part of the truth.
    Building {
        /// The same as a sentence.
        error: Error,
        /// How far it is.
        progress: BuildProgress,
    },
    /// It did not reach the demanded Positions in time.
    Late(Error),
    /// It cannot be read, and waiting does not help.
    Refused(Error),
}

impl ReadRefusal {
    /// The answer to a read that has waited for `timeout` in vain.
    pub(super) fn after(relation: &dyn Relation, demanded: &Positions, timeout: Duration) -> Self {
        let frontier = relation.frontier();
        match frontier.building() {
            Some(progress) => Self::Building { error: building(relation.name(), &progress), progress },
            None => Self::Late(frontier.late(demanded, timeout)),
        }
    }
}

fn building(name: &str, progress: &BuildProgress) -> Error {
    Error::unavailable(format!("view {name} is being built and does not answer yet: {progress}"))
        .with_hint("try again later; SHOW VIEWS says how far it is")
}

impl From<Error> for ReadRefusal {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<ReadRefusal> for Error {
    fn from(refusal: ReadRefusal) -> Self {
        match refusal {
            ReadRefusal::Building { error, .. } | ReadRefusal::Late(error) | ReadRefusal::Refused(error) => error,
        }
    }
}
