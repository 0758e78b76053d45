//! Sources: a topic seen as typed rows.
//!
//! What it is: [`SourceDecoder`] (record batches to Arrow rows and
//! rejected records), [`SourceReader`] (the log as a run of row batches with Positions), [`DeadLetters`] (where it writes
//! the records that cannot be decoded or evaluated), [`SourceTable`] (a pinned range of the log as a table for
//! DataFusion).
//!
//! What must hold: every row carries where it came from (`_partition`, `_offset`, `_arrival_time`); a record that
//! cannot be decoded or evaluated neither stops the reader nor disappears.

mod change_event;
mod checked_ranges;
mod column_values;
mod dead_letter;
mod dead_letters;
mod decoder;
mod field_names;
mod json;
mod metadata;
mod number_text;
mod reader;
mod reason;
mod row_records;
mod table;
mod table_records;
mod timestamp_text;
mod unmatched;
mod unread_records;

pub use dead_letter::{RejectedBy, RejectedRecord, dead_letter_topic};
pub use dead_letters::{DeadLetters, LetterCount};
pub use decoder::{Decoded, SourceDecoder};
pub use reader::{Evaluated, ReaderSettings, SourceBatch, SourceReader};
pub use reason::{Reason, ReasonClass};
pub use row_records::{RowRecord, records_of_keys, records_of_rows};
pub use table::SourceTable;
pub use unread_records::UnreadRecords;

pub(crate) use decoder::decoder_hash;
pub use number_text::digits_after_point;
pub(crate) use timestamp_text::with_seconds;

#[cfg(test)]
mod tests;
