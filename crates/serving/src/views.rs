//! Views as they are served: keyed rows, the Positions that they reflect, and atomic swaps between versions.
//!
//! [`Relation`] is anything with keyed rows and Positions that a query may name; [`View`] is the materialised one;
//! [`ViewGroup`] is several of those that move on together; [`Views`] maps names to the versions that are being served.
//!
//! What must hold: a [`Snapshot`] is immutable and costs the same whatever the size of the view; rows and Positions of
//! one snapshot belong together; a relation that is still being built answers nobody.

mod building;
mod demand;
mod frontier;
mod group;
mod projection;
mod read_refusal;
mod registry;
mod relation;
mod row_codec;
mod rows;
mod snapshot;
mod snapshot_table;
mod view;

pub use building::{BuildProgress, Building};
pub(crate) use demand::{admitted, require_concerned, require_partitions};
pub use frontier::Frontier;
pub use group::ViewGroup;
pub use read_refusal::ReadRefusal;
pub use registry::Views;
pub use relation::Relation;
pub use rows::{BatchRows, Rows};
pub use snapshot::Snapshot;
pub use view::View;

#[cfg(test)]
mod tests;
