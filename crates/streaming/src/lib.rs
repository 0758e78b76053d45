//! SQL as a running dataflow.

mod checkpoint;
mod error;
mod fold;
mod plan;
pub mod source;
pub mod sql;
mod task;
#[cfg(test)]
mod testing;

pub use checkpoint::{CheckpointStore, RestoredCheckpoint};
pub use error::{Error, Result};
pub use fold::{Fold, ViewChange};
pub use plan::ViewPlan;
pub use source::{
    Decoded, ReaderSettings, RejectedRecord, SourceBatch, SourceDecoder, SourceDefinition, SourceFormat, SourceReader,
    SourceTable, dead_letter_topic,
};
pub use sql::{Emit, Show, SqlError, Statement, ViewDefinition, ViewOptions};
pub use task::{ViewProgress, ViewTask, ViewTaskHandle, ViewTaskSettings};
