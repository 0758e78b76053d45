//! [`Captured`]: a source as its capture has it in the lake.

use std::sync::Arc;

use lakehouse::{CaptureProgress, LakeTable};
use tokio::sync::watch;

/// The lake's side of a source: its table, and how far the capture is.
#[derive(Clone)]
pub(crate) struct Captured {
    pub(crate) table: Arc<LakeTable>,
    pub(crate) progress: watch::Receiver<CaptureProgress>,
    /// What became of the table that was there before, where it was not to be believed.
    pub(crate) note: Option<String>,
}
