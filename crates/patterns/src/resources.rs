//! What the patterns are wired from, and how they work; made once by whoever starts the product.

use std::{sync::Arc, time::Duration};

use eventlog::EventLog;
use lakehouse::LakeLocation;
use model::{Clock, MemoryBudget, Metrics};
use object_store::ObjectStore;
use serde::Deserialize;
use streaming::{DeadLetters, ViewTaskSettings};
use tokio::runtime::Handle;

/// What every pattern shares.
#[derive(Clone)]
pub struct Resources {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Where records of the log go that a source cannot decode or a view cannot evaluate.
    pub dead_letters: Arc<DeadLetters>,
    /// Where views keep their checkpoints.
    pub checkpoints: Arc<dyn ObjectStore>,
    /// Where lake tables live: `sources/<source>` for captured topics, `batch/<view>/<version>` for batches.
    pub lake: LakeLocation,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What all views together may take: their state, and the rows that they serve.
    pub state_memory: MemoryBudget,
    /// What is counted.
    pub metrics: Metrics,
    /// How the patterns work.
    pub settings: PatternSettings,
    /// Where views fold and lakes capture.
    pub threads: Handle,
}

/// How the patterns work.
#[derive(Clone, Debug)]
pub struct PatternSettings {
    /// How view tasks read and checkpoint.
    pub view_task: ViewTaskSettings,
    /// How captured rows are committed.
    pub capture: lakehouse::CaptureSettings,
    /// How Lambda views work.
    pub lambda: LambdaSettings,
}

impl PatternSettings {
    /// As shipped: the sections `views`, `lake` and `lambda` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            view_task: ViewTaskSettings::shipped(),
            capture: lakehouse::CaptureSettings::shipped(),
            lambda: LambdaSettings::shipped(),
        }
    }
}

/// How Lambda views work.
#[derive(Clone, Debug, Deserialize)]
pub struct LambdaSettings {
    /// How often the speed layer closes an epoch.
    #[serde(rename = "epoch_interval_ms", deserialize_with = "settings::milliseconds")]
    pub epoch_interval: Duration,
}

impl LambdaSettings {
    /// As shipped: the section `lambda` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("lambda")
    }
}
