//! What can go wrong between a client and a broker.

use std::time::Duration;

use kafka_wire::{ErrorCode, WireError};

/// A client's own error; mapped once to [`model::Error`].
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach the Kafka broker at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("the connection to the Kafka broker was lost: {0}")]
    Disconnected(String),
    #[error("the Kafka broker did not answer {what} within {waited:?}")]
    TimedOut { what: &'static str, waited: Duration },
    #[error("what listens at {address} is no Kafka server: its answer cannot be read ({reason})")]
    NotKafka { address: String, reason: String },
    #[error("the Kafka broker's answer cannot be read: {0}")]
    Malformed(String),
    #[error("the Kafka broker does not serve {0} in a version that this client speaks")]
    NotServed(&'static str),
    #[error("the Kafka broker refused {what}: {code}{}", message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Refused { what: String, code: ErrorCode, message: Option<String> },
    #[error("the producer is closed")]
    Closed,
}

impl ClientError {
    pub(crate) fn check(code: i16, what: impl FnOnce() -> String, message: Option<String>) -> Result<(), Self> {
        match ErrorCode::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(Self::Refused { what: what(), code, message }),
        }
    }
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<ClientError> for model::Error {
    fn from(error: ClientError) -> Self {
        use model::ErrorKind as Kind;
        let (kind, hint) = match &error {
            ClientError::Unreachable { .. } => (Kind::Unavailable, Some("is the server running on this address?")),
            ClientError::Disconnected(_) | ClientError::TimedOut { .. } => (Kind::Unavailable, None),
            ClientError::NotKafka { .. } => {
                (Kind::Invalid, Some("connect to the Kafka door; HTTP and PostgreSQL have ports of their own"))
            }
            ClientError::Malformed(_) => (Kind::Internal, None),
            ClientError::NotServed(_) => (Kind::Unsupported, Some("use a newer broker")),
            ClientError::Closed => (Kind::Unavailable, None),
            ClientError::Refused { code, .. } => refused(*code),
        };
        let mapped = Self::new(kind, error.to_string());
        match hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}

fn refused(code: ErrorCode) -> (model::ErrorKind, Option<&'static str>) {
    use model::ErrorKind as Kind;
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::GroupIdNotFound => {
            (Kind::NotFound, Some("create the topic first"))
        }
        ErrorCode::TopicAlreadyExists => (Kind::Conflict, Some("choose another name, or delete the topic first")),
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
            (Kind::Conflict, None)
        }
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => (Kind::Denied, None),
        ErrorCode::NotLeaderOrFollower => {
            (Kind::Unsupported, Some("this client talks to one broker; connect to the partition's leader"))
        }
        ErrorCode::UnknownServerError | ErrorCode::KafkaStorageError => (Kind::Internal, Some("see the server's log")),
        code if code.is_retriable() => (Kind::Unavailable, None),
        _ => (Kind::Invalid, None),
    }
}
