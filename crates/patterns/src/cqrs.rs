#![doc = include_str!("../../../docs/patterns/cqrs.md")]
//!
//! # In code
//! What it is: this page. The command side is [`eventstore::Aggregates`], which knows no view; the query side is
//! [`serving::sql::SqlService`], which has no log to append to. They share nothing but [`model::Positions`]: a command's
//! outcome carries some, and [`serving::sql::Session::demand`] takes them. There is no type for a side, because there is
//! nothing that it would do.
//!
//! What must hold: the command side never reads a view, the query side never appends.
