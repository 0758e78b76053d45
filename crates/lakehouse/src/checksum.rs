//! [`FileChecksum`]: CRC-32C of each block of a data file, as the tag `fourfold.crc32c` of its `add` action has it.
//!
//! A block at a time, so that a reader of a part of a file reads that part once and checks all of it.
//!
//! What must hold: bytes that are not those that were written are found; a tag that cannot be read is damage too, and
//! never no tag.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The tag's name.
pub(crate) const TAG: &str = "fourfold.crc32c";
const BLOCK_BYTES: u64 = 1 << 20;
// What a reader takes at once; other writers of this format may have chosen another block.
const BLOCK_BYTES_MAX: u64 = 1 << 26;

/// The checksums of the blocks of one file. As text: `<bytes of the file>/<bytes of a block>:`, and eight hexadecimal digits
/// for each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChecksum {
    file_bytes: u64,
    block_bytes: u64,
    blocks: Vec<u32>,
}

/// A checksum of bytes that come one after the other.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    bytes: u64,
    blocks: Vec<u32>,
}

impl FileChecksum {
    /// How many bytes the file has.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The whole blocks that `range` lies in.
    pub(crate) fn covering(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.div_ceil(self.block_bytes).saturating_mul(self.block_bytes);
        range.start / self.block_bytes * self.block_bytes..end.min(self.file_bytes)
    }

    /// The ranges of all blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (file_bytes, block_bytes) = (self.file_bytes, self.block_bytes);
        let count = self.blocks.len() as u64;
        (0..count).map(move |block| block * block_bytes..((block + 1) * block_bytes).min(file_bytes))
    }

    /// Whether `bytes`, which begin with the block at `start` and have whole blocks, are the file's: the first range
    /// that is not, otherwise.
    pub(crate) fn check(&self, start: u64, bytes: &[u8]) -> Result<(), Range<u64>> {
        let mut from = start;
        for block in bytes.chunks(usize::try_from(self.block_bytes).unwrap_or(usize::MAX)) {
            let number = usize::try_from(from / self.block_bytes).unwrap_or(usize::MAX);
            let to = from + block.len() as u64;
            if self.blocks.get(number) != Some(&crc32c::crc32c(block)) {
                return Err(from..to);
            }
            from = to;
        }
        Ok(())
    }
}

impl Summing {
    /// Goes on with `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = self.bytes % BLOCK_BYTES;
            let room = usize::try_from(BLOCK_BYTES - used).unwrap_or(usize::MAX);
            let (head, tail) = bytes.split_at(room.min(bytes.len()));
            match self.blocks.last_mut() {
                Some(last) if used > 0 => *last = crc32c::crc32c_append(*last, head),
                _ => self.blocks.push(crc32c::crc32c(head)),
            }
            self.bytes += head.len() as u64;
            bytes = tail;
        }
    }

    /// The checksum of everything that came.
    pub(crate) fn finish(self) -> FileChecksum {
        FileChecksum { file_bytes: self.bytes, block_bytes: BLOCK_BYTES, blocks: self.blocks }
    }
}

impl fmt::Display for FileChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:", self.file_bytes, self.block_bytes)?;
        self.blocks.iter().try_for_each(|block| write!(f, "{block:08x}"))
    }
}

impl FromStr for FileChecksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unreadable = || format!("its checksum {text:?} cannot be read");
        let (sizes, digits) = text.split_once(':').ok_or_else(unreadable)?;
        let (file_bytes, block_bytes) = sizes.split_once('/').ok_or_else(unreadable)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| unreadable());
        let (file_bytes, block_bytes) = (number(file_bytes)?, number(block_bytes)?);
        if !(1..=BLOCK_BYTES_MAX).contains(&block_bytes) || digits.len() as u64 != file_bytes.div_ceil(block_bytes) * 8
        {
            return Err(unreadable());
        }
        let block = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).map_err(|_| unreadable())?;
            // A sign would pass for a digit.
            if digits.starts_with('+') {
                return Err(unreadable());
            }
            u32::from_str_radix(digits, 16).map_err(|_| unreadable())
        };
        let blocks = digits.as_bytes().chunks(8).map(block).collect::<Result<_, _>>()?;
        Ok(Self { file_bytes, block_bytes, blocks })
    }
}

#[cfg(test)]
mod tests {
    //! Blocks, their borders, and tags that are none.

    use super::{BLOCK_BYTES, FileChecksum, Summing};

    fn sum(bytes: &[u8], piece: usize) -> FileChecksum {
        let mut summing = Summing::default();
        bytes.chunks(piece).for_each(|piece| summing.push(piece));
        summing.finish()
    }

    #[test]
    fn a_checksum_does_not_depend_on_the_pieces_in_which_bytes_come() {
        let block = usize::try_from(BLOCK_BYTES).unwrap();
        for size in [0, 1, block - 1, block, block + 1, 2 * block + 7] {
            let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let whole = sum(&bytes, usize::MAX);
            assert_eq!(whole, sum(&bytes, 1_000));
            assert_eq!(whole.to_string().parse(), Ok(whole.clone()));
            assert_eq!(whole.check(0, &bytes), Ok(()));
            for range in whole.blocks() {
                let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
                assert_eq!(whole.covering(&(range.start..range.start + 1)), range);
                assert_eq!(whole.check(range.start, &bytes[from..to]), Ok(()));
                let mut damaged = bytes[from..to].to_vec();
                damaged[0] ^= 1;
                assert_eq!(whole.check(range.start, &damaged), Err(range));
            }
        }
        assert_eq!(sum(b"123456789", 2).to_string(), "9/1048576:e3069283");
    }

    #[test]
    fn a_tag_that_cannot_be_read_is_refused() {
        let (short, sign, letter) = ("9/1048576:e306928", "9/1048576:+3069283", "9/1048576:e306928g");
        for text in ["", "9", "9/1048576", "9/0:", short, sign, letter, "10/1:e3069283", "9/99999999999:e3069283"] {
            assert!(text.parse::<FileChecksum>().is_err(), "{text}");
        }
    }
}
