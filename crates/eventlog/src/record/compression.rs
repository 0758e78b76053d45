//! The codecs a batch's records may be packed with.
//!
//! What must hold: unpacking is bounded before it allocates; a batch that would unfold beyond the bound is an error.

use std::io::{self, Read, Write};

use bytes::Bytes;

/// The most that one batch may unfold to, in bytes (256 MiB).
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The framing that Java's snappy library writes: this magic, two version numbers, then blocks with their length.
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, raw or in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The number by which Kafka knows the codec.
    pub(super) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(super) fn from_code(code: i16) -> Result<Self, String> {
        match code {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            _ => Err(format!("there is no compression codec {code}")),
        }
    }

    /// Packs `plain`.
    pub(super) fn compress(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(plain.to_vec()),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Self::Snappy => compress_xerial(plain),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain)?;
                encoder.finish().map_err(io::Error::other)
            }
            Self::Zstd => zstd::stream::encode_all(plain, 0),
        }
    }

    /// Unpacks `packed` to at most `bytes_max`; uncompressed bytes are shared, not copied.
    pub(super) fn decompress(self, packed: &Bytes, bytes_max: usize) -> Result<Bytes, String> {
        let plain = match self {
            Self::None => return Ok(packed.clone()),
            Self::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(&packed[..]), bytes_max),
            Self::Snappy if packed.starts_with(XERIAL_MAGIC) => decompress_xerial(packed, bytes_max),
            Self::Snappy => decompress_snappy_block(packed, 0, bytes_max),
            Self::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(&packed[..]), bytes_max),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(&packed[..])
                .map_err(|error| error.to_string())
                .and_then(|decoder| read_bounded(decoder, bytes_max)),
        };
        plain.map(Bytes::from).map_err(|reason| format!("the records cannot be decompressed: {reason}"))
    }
}

fn read_bounded(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut plain).map_err(|error| error.to_string())?;
    if plain.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(plain) }
}

/// `unfolded` bytes count against the limit already.
fn decompress_snappy_block(packed: &[u8], unfolded: usize, bytes_max: usize) -> Result<Vec<u8>, String> {
    // The length is the sender's claim: a block cannot unfold to more than about 64 bytes for each 3 of its own, so
    // a claim beyond that is refused before it is believed.
    let claimed = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if claimed.saturating_add(unfolded) > bytes_max {
        return Err(too_large(bytes_max));
    }
    if claimed > packed.len().saturating_mul(64) {
        return Err(format!("{} bytes of snappy claim to unfold to {claimed}", packed.len()));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())
}

fn decompress_xerial(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut rest = packed.get(XERIAL_HEADER_BYTES..).ok_or("a snappy header is cut short")?;
    let mut plain = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, after) = after.split_at_checked(length).ok_or("a snappy block is cut short")?;
        plain.extend_from_slice(&decompress_snappy_block(block, plain.len(), bytes_max)?);
        rest = after;
    }
    if rest.is_empty() { Ok(plain) } else { Err("a snappy block's length is cut short".to_owned()) }
}

fn compress_xerial(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(plain.len() / 2 + XERIAL_HEADER_BYTES);
    packed.extend_from_slice(XERIAL_MAGIC);
    packed.extend_from_slice(&1_i32.to_be_bytes());
    packed.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block).map_err(io::Error::other)?;
        let length = i32::try_from(block.len()).map_err(io::Error::other)?;
        packed.extend_from_slice(&length.to_be_bytes());
        packed.extend_from_slice(&block);
    }
    Ok(packed)
}

fn too_large(bytes_max: usize) -> String {
    format!("they unfold to more than {bytes_max} bytes")
}
