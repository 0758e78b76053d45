//! Every setting of the product as one typed structure: for each section the struct of the crate that it is for.
//!
//! Passed down as data; nothing reads it from a global.

mod layers;

use std::path::{Path, PathBuf};

use broker::BrokerSettings;
use broker::client::{ClientSettings, ProducerSettings};
use eventlog::EventLogSettings;
use eventstore::{AggregatesSettings, EventStoreSettings};
use lakehouse::CaptureSettings;
use model::Result;
use patterns::{LambdaSettings, PatternSettings};
use serde::Deserialize;
use serving::{http::HttpSettings, pg::PgSettings, sql::SqlSettings};
use streaming::ViewTaskSettings;

pub(crate) use layers::Layers;

/// All settings; `config/default.toml` says what each one means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data: Data,
    pub(crate) kafka: BrokerSettings,
    pub(crate) client: ClientSettings,
    pub(crate) producer: ProducerSettings,
    pub(crate) pg: PgSettings,
    pub(crate) sql: SqlSettings,
    pub(crate) http: HttpSettings,
    pub(crate) log: EventLogSettings,
    views: ViewTaskSettings,
    lake: CaptureSettings,
    lambda: LambdaSettings,
    pub(crate) events: EventStoreSettings,
    pub(crate) aggregates: AggregatesSettings,
    pub(crate) memory: Memory,
}

/// Where data lives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) directory: PathBuf,
    pub(crate) begin_without_catalogue: bool,
}

/// What may be held in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub(crate) budget_bytes: u64,
}

impl Settings {
    /// Puts the layers together; see [`Layers::load`].
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) for an unknown key or a value of the wrong type, naming its layer.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self> {
        Layers::load(file, environment, flags)?.settings()
    }

    /// How the patterns work.
    pub(crate) fn patterns(&self) -> PatternSettings {
        PatternSettings { view_task: self.views.clone(), capture: self.lake.clone(), lambda: self.lambda.clone() }
    }
}

#[cfg(test)]
mod tests;
