//! The 61 bytes in front of every record batch, as a view with all of its fields.
//!
//! What must hold: [`BatchHeader::parse`] accepts exactly format v2 with a plausible length; whether the rest of the
//! batch is there, and whether its checksum is right, is asked separately because a scan of a file needs neither.

use bytes::Bytes;
use model::Offset;

use super::Compression;

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchDefect {
    /// Bytes were changed or lost on the way: the same batch may be good when it is sent again.
    #[error("{0}")]
    Damaged(String),
    /// It was made so, and will be no better when it is sent again.
    #[error("{0}")]
    Invalid(String),
}

impl From<BatchDefect> for String {
    fn from(defect: BatchDefect) -> Self {
        defect.to_string()
    }
}

/// The size of a batch's header, in bytes: the records begin here.
pub const HEADER_BYTES: usize = 61;

/// What `batch_length` does not count: base offset and the length itself.
const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the checksummed part begins. Base offset and leader epoch lie before it, so a log may set them.
const CHECKSUM_FROM: usize = 21;

const ATTRIBUTE_COMPRESSION_MASK: i16 = 0b111;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 1 << 3;
const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

/// A batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The size of the batch after this field, in bytes, at least 49. See [`size_bytes`](Self::size_bytes).
    pub batch_length: i32,
    /// The epoch of the leader that appended it; -1 from a producer.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes to the end.
    pub crc: u32,
    /// Compression, timestamp type, transactional and control flags.
    pub attributes: i16,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// The time that the records' timestamps are counted from, in milliseconds since the epoch.
    pub base_timestamp_ms: i64,
    /// The largest timestamp in the batch, in milliseconds since the epoch; -1 when there is none.
    pub max_timestamp_ms: i64,
    /// The idempotent producer's id; -1 for none.
    pub producer_id: i64,
    /// The idempotent producer's epoch; -1 for none.
    pub producer_epoch: i16,
    /// The sequence number of the first record; -1 for none.
    pub base_sequence: i32,
    /// How many records follow.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// A sentence that says what is wrong: too short, not format v2, or an impossible length.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(format!("{} bytes are too few for the header of a record batch", bytes.len()));
        };
        let magic = i8::from_be_bytes(field(header, 16));
        if magic != 2 {
            return Err(format!("record format v{magic} is not supported, only v2"));
        }
        let parsed = Self {
            base_offset: i64::from_be_bytes(field(header, 0)),
            batch_length: i32::from_be_bytes(field(header, 8)),
            leader_epoch: i32::from_be_bytes(field(header, 12)),
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp_ms: i64::from_be_bytes(field(header, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            record_count: i32::from_be_bytes(field(header, 57)),
        };
        if parsed.size_bytes() < HEADER_BYTES {
            return Err(format!("a batch length of {} is impossible", parsed.batch_length));
        }
        Ok(parsed)
    }

    /// The size of the whole batch in bytes, header included; 0 for a negative length, which
    /// [`parse`](Self::parse) refuses.
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length).map_or(0, |length| length.saturating_add(LENGTH_PREFIX_BYTES))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
    }

    /// Whether `batch` (which begins with this header) is complete and its checksum is right.
    pub fn crc_is_valid(&self, batch: &[u8]) -> bool {
        batch.get(CHECKSUM_FROM..self.size_bytes()).is_some_and(|checked| crc32c::crc32c(checked) == self.crc)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// When the batch names a codec that does not exist.
    pub fn compression(&self) -> Result<Compression, String> {
        Compression::from_code(self.attributes & ATTRIBUTE_COMPRESSION_MASK)
    }

    /// Whether the timestamps are the log's, so that every record has the batch's largest.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker written by a broker.
    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Whether an idempotent producer sent it.
    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    /// The sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        add_to_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// Cuts the bytes of a produce request into its batches, without copying.
///
/// # Errors
/// Which byte is wrong and why: nothing there, a bad header, or a batch that is cut short. Checksums are not looked at.
pub fn split_batches(mut bytes: Bytes) -> Result<Vec<(BatchHeader, Bytes)>, BatchDefect> {
    if bytes.is_empty() {
        return Err(BatchDefect::Invalid("there is no record batch".to_owned()));
    }
    let whole = bytes.len();
    let mut batches = Vec::with_capacity(1);
    while !bytes.is_empty() {
        let position = whole - bytes.len();
        let rest = bytes.len();
        let header = BatchHeader::parse(&bytes).map_err(|reason| {
            let reason = format!("at byte {position}: {reason}");
            if rest < HEADER_BYTES { BatchDefect::Damaged(reason) } else { BatchDefect::Invalid(reason) }
        })?;
        let size = header.size_bytes();
        if size > rest {
            let reason = format!("at byte {position}: a batch of {size} bytes is cut short, {rest} bytes are left");
            return Err(BatchDefect::Damaged(reason));
        }
        batches.push((header, bytes.split_to(size)));
    }
    Ok(batches)
}

/// `sequence + count`, wrapping from `i32::MAX` to 0.
pub(crate) fn add_to_sequence(sequence: i32, count: i32) -> i32 {
    const SEQUENCES: i64 = i32::MAX as i64 + 1;
    let sum = (i64::from(sequence) + i64::from(count)).rem_euclid(SEQUENCES);
    i32::try_from(sum).unwrap_or(0)
}

/// Writes the checksum of a complete batch into its header.
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(CHECKSUM_FROM..).unwrap_or_default());
    if let Some(field) = batch.get_mut(17..CHECKSUM_FROM) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

/// Sets what lies outside the checksum: the offset at which the log stored the batch, and the leader's epoch.
pub(crate) fn place(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    if let Some(header) = batch.first_chunk_mut::<16>() {
        header[..8].copy_from_slice(&base_offset.to_be_bytes());
        header[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// `N` bytes of a header at a position that is known to lie inside it.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| header[at + i])
}
