//! The entries of the files beside a segment, as bytes.

use model::Offset;

/// Reads an entry of `.index`: where a batch begins, and its last offset.
pub(super) fn read_index_entry(segment_base: Offset, entry: [u8; 8]) -> (u64, Offset) {
    let entry = u64::from_be_bytes(entry);
    (entry & u64::from(u32::MAX), segment_base + (entry >> 32).cast_signed())
}

/// Reads an entry of `.timeindex`: the largest timestamp so far, and the last offset of its batch.
pub(super) fn read_time_entry(segment_base: Offset, entry: [u8; 12]) -> (i64, Offset) {
    let [a, b, c, d, e, f, g, h, offset @ ..] = entry;
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), segment_base + i64::from(u32::from_be_bytes(offset)))
}

/// When a batch arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) time_ms: i64,
    /// The time was lost, and this one stands for it.
    pub(crate) is_estimate: bool,
}

impl Arrival {
    pub(crate) fn known(time_ms: i64) -> Self {
        Self { time_ms, is_estimate: false }
    }
}

/// An entry of `.arrivals`: from `offset` on, batches arrived at that time. The offset of an estimate is stored as its
/// complement, which is negative.
pub(super) fn arrival_entry(offset: Offset, arrival: Arrival) -> [u8; 20] {
    let stored = if arrival.is_estimate { !offset } else { offset };
    let body: [u8; 16] = joined(stored.to_be_bytes(), arrival.time_ms.to_be_bytes());
    joined(body, crc32c::crc32c(&body).to_be_bytes())
}

/// Reads what [`arrival_entry`] made; `None` when its checksum is wrong.
pub(super) fn read_arrival_entry(entry: [u8; 20]) -> Option<(Offset, Arrival)> {
    let (body, checksum) = entry.split_last_chunk()?;
    let (offset, time_ms) = body.split_first_chunk()?;
    let (stored, time_ms) = (i64::from_be_bytes(*offset), i64::from_be_bytes(*time_ms.first_chunk()?));
    let offset = if stored < 0 { !stored } else { stored };
    let arrival = Arrival { time_ms, is_estimate: stored < 0 };
    (crc32c::crc32c(body) == u32::from_be_bytes(*checksum)).then_some((offset, arrival))
}

pub(super) fn joined<const A: usize, const B: usize, const N: usize>(first: [u8; A], second: [u8; B]) -> [u8; N] {
    std::array::from_fn(|i| if i < A { first[i] } else { second[i - A] })
}
