//! The codecs a batch's records may be packed with.
//!
//! What must hold: unpacking is bounded before it allocates; a batch that would unfold beyond the bound is an error; what
//! a batch announces is not believed.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use bytes::Bytes;

/// The most that one batch may unfold to, in bytes (256 MiB).
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The framing that Java's snappy library writes: this magic, two version numbers, then blocks with their length.
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// How much is unfolded at a time.
const UNFOLDED_AT_ONCE_BYTES: usize = 32 * 1024;

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
        if self == Self::None {
            return Ok(packed.clone());
        }
        let plain = self.unfold(packed, bytes_max).and_then(|unfolding| read_bounded(unfolding, bytes_max));
        plain.map(Bytes::from).map_err(|reason| format!("the records cannot be decompressed: {reason}"))
    }

    /// Unpacks `packed` bit by bit as it is read. Whoever reads bounds how much; what has to be in memory at once is
    /// bounded by `bytes_max`.
    pub(super) fn unfold<'a>(self, packed: &'a [u8], bytes_max: usize) -> Result<Box<dyn BufRead + 'a>, String> {
        let text = |error: io::Error| error.to_string();
        Ok(match self {
            Self::None => Box::new(packed),
            Self::Gzip => buffered(flate2::read::MultiGzDecoder::new(packed)),
            Self::Snappy if packed.starts_with(XERIAL_MAGIC) => Box::new(XerialBlocks::new(packed, bytes_max)?),
            Self::Snappy => Box::new(Cursor::new(decompress_snappy_block(packed, bytes_max)?)),
            Self::Lz4 => buffered(lz4_flex::frame::FrameDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(text)?;
                // A frame says how much of what was unfolded it refers back to: all of that would be in memory. Encoders
                // that do not know how much will come say 8 MiB and less, however little then comes.
                decoder.window_log_max(bytes_max.max(8 << 20).ilog2().min(31)).map_err(text)?;
                buffered(decoder)
            }
        })
    }
}

fn buffered<'a>(decoder: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(UNFOLDED_AT_ONCE_BYTES, decoder))
}

fn read_bounded(unfolding: impl Read, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    unfolding.take(limit).read_to_end(&mut plain).map_err(|error| error.to_string())?;
    if plain.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(plain) }
}

fn decompress_snappy_block(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    // The length is the sender's claim: no three bytes unfold to more than 64, so a claim beyond that is refused before
    // it is believed.
    let claimed = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if claimed > bytes_max {
        return Err(too_large(bytes_max));
    }
    if claimed > packed.len().saturating_mul(22) {
        return Err(format!("{} bytes of snappy claim to unfold to {claimed}", packed.len()));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())
}

/// The blocks of xerial's framing, one unfolded at a time.
struct XerialBlocks<'a> {
    rest: &'a [u8],
    block: Cursor<Vec<u8>>,
    bytes_max: usize,
}

impl<'a> XerialBlocks<'a> {
    fn new(packed: &'a [u8], bytes_max: usize) -> Result<Self, String> {
        let rest = packed.get(XERIAL_HEADER_BYTES..).ok_or("a snappy header is cut short")?;
        Ok(Self { rest, block: Cursor::default(), bytes_max })
    }

    fn next_block(&mut self) -> Result<(), String> {
        let (length, rest) = self.rest.split_first_chunk().ok_or("a snappy block's length is cut short")?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, rest) = rest.split_at_checked(length).ok_or("a snappy block is cut short")?;
        self.block = Cursor::new(decompress_snappy_block(block, self.bytes_max)?);
        self.rest = rest;
        Ok(())
    }
}

impl BufRead for XerialBlocks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.block.fill_buf()?.is_empty() && !self.rest.is_empty() {
            self.next_block().map_err(io::Error::other)?;
        }
        self.block.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.block.consume(count);
    }
}

impl Read for XerialBlocks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
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
