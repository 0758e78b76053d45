//! Capture of topics to Delta Lake tables, exactly once, and batch runs over them.
//!
//! ```text
//!   topic ── SourceReader ── [`Capture`] ── [`LakeTable`]  one Delta table a source; a commit carries its Positions
//!                                               │ snapshot(up to H)
//!                                          [`PinnedTable`]  exactly the rows below H, of one version
//!                                               │ [`batch::run`]
//!                                          [`BatchTable`]   one Delta table a version of a view: partial states, with H
//! ```
//!
//! What it is not: it answers no queries (`serving` does) and merges no layers (`patterns` does). It is the only crate
//! that names `deltalake`.
//!
//! What must hold: a commit is one Delta version that holds rows *and* the offsets they end at, so that a reader sees
//! both or neither; a record of the topic is in its table at most once, whatever is repeated, and every record below
//! the table's Positions was handed to it.

pub mod batch;
mod batch_table;
mod capture;
mod checked_files;
mod checked_log;
mod checked_read;
mod checksum;
mod columns;
mod commit_attempts;
mod durable_file_system;
mod epoch;
mod error;
mod exact_scan;
mod late_failures;
mod location;
mod log_entry;
mod maintenance;
mod mending;
mod pinned_table;
mod rows;
mod staged_files;
mod stated_bounds;
mod stored_schema;
mod table;

pub use batch_table::{BatchTable, BatchVersion};
pub use capture::{Capture, CaptureProgress, CaptureSettings};
pub use durable_file_system::DurableFileSystem;
pub use location::LakeLocation;
pub use maintenance::{Maintenance, MaintenanceSettings};
pub use mending::Mended;
pub use pinned_table::PinnedTable;
pub use table::{CommitOutcome, LakeTable, TableDefinition};
