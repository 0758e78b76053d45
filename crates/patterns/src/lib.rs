//! The four streaming architectures, each as the wiring of the crates below.
//!
//! ```text
//!                  commands                      records
//!                     │                             │
//!              event_sourcing                       │
//!                     └────────────► log ◄──────────┘
//!                                     │ fold
//!                     ┌───────────────┴───────────────┐
//!                   kappa                           lambda
//!              one path, replayed            batch up to H + stream after H
//!                     └───────────────┬───────────────┘
//!                                   views ──► cqrs: queries, at least at a position
//! ```
//!
//! What it is: [`Deployment`] (sources and views by definition), [`event_sourcing`], [`cqrs`], and the patterns'
//! documents as module docs.
//!
//! What it is not: it has no storage, protocol or operator of its own.
//!
//! What must hold: the same question gets the same answer from all four (`tests/same_answer.rs`).

mod captured;
mod captures;
mod catalogue;
pub mod cqrs;
mod definitions;
mod dependencies;
mod deployment;
pub mod event_sourcing;
mod extent;
#[cfg(test)]
mod fixture;
mod incarnation;
pub mod kappa;
pub mod lambda;
mod resources;
mod rows;
mod running_view;
mod source_list;
mod stopped_view;
mod stored_statement;
mod view_state;
mod wiring;

pub use catalogue::{check_catalogue, copy_catalogue};
pub use deployment::Deployment;
pub use resources::{LambdaSettings, PatternSettings, Resources};
pub use view_state::ViewState;
