//! The statements of PostgreSQL that are refused, each with what to do instead.

use sql::{SqlError, sqlstate};

const WRITE: &str = "INSERT ... ON CONFLICT DO UPDATE, UPDATE and DELETE write to a table; many records at once are produced to the topic \
                     with a Kafka client or POST /v1/topics/{topic}/records";
const DEFINE: &str = "CREATE SOURCE declares a topic, CREATE TABLE one of rows with a key, CREATE MATERIALIZED VIEW ... AS SELECT derives \
                      from them";
const DERIVED: &str = "what is served is derived from the log and kept up to date by itself";

/// The refusal of a statement that begins with `words` (lower case), where it is one that PostgreSQL knows.
pub(super) fn refusal(words: &[&str]) -> Option<SqlError> {
    let unsupported = |what: &str, hint: &'static str| {
        Some((sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"), hint))
    };
    let first = *words.first()?;
    let upper = first.to_uppercase();
    let refused = match first {
        "merge" | "truncate" => unsupported(&upper, WRITE),
        "create" | "alter" | "drop" => {
            // `MATERIALIZED VIEW` is one thing in two words.
            let named = if words.get(1) == Some(&"materialized") { 3 } else { 2 };
            unsupported(&words[..words.len().min(named)].join(" ").to_uppercase(), DEFINE)
        }
        "vacuum" | "analyze" | "cluster" | "reindex" | "checkpoint" => unsupported(&upper, DERIVED),
        "grant" | "revoke" | "security" | "reassign" => unsupported(&upper, "everyone who reaches this port may read"),
        "listen" | "notify" => unsupported(&upper, "consume the topic of the source with a Kafka client"),
        "lock" | "comment" | "do" | "call" | "import" | "load" | "move" => {
            unsupported(&upper, "this server answers queries and definitions of sources and views")
        }
        "prepare" | "execute" => unsupported(
            &format!("{upper} as a statement"),
            "use the prepared statements of the client library, which the protocol carries",
        ),
        _ => None,
    };
    refused.map(|(code, message, hint)| SqlError::new(code, message).with_hint(hint))
}

/// `COPY ... FROM`.
pub(super) fn copy_from() -> SqlError {
    SqlError::unsupported("COPY FROM").with_hint(WRITE)
}
