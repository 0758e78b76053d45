//! Reading a write-ahead log after a crash: which frames count, where it was torn, and what is damaged.
//!
//! A bad frame is *damage* when a good frame after it (or a later file) says that the bad one had been synced; then the good ones after
//! it count, and the bad bytes are set aside. Otherwise it is the *torn tail* of the last write, which nobody was
//! promised: it ends the log, even if whole frames of the same write follow.
//!
//! What it is not: a writer. It says what to do; recovery does it.
//!
//! What must hold: however long the log, only a window of it is in memory, and what is made of the frames found.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::{
    disk::Disk,
    frame::{FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Frame},
    log::{Result, io_error},
    wal::{WAL_HEADER_BYTES, WalHeader},
};

/// How much is read at once.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;

/// A file of the write-ahead log.
#[derive(Clone, Debug)]
pub(crate) struct WalFile {
    pub(crate) path: PathBuf,
    /// The sequence in its name.
    pub(crate) first_sequence: u64,
    /// `None` when both copies of the header are damaged: then none of its frames can be told from noise.
    pub(crate) header: Option<WalHeader>,
    pub(crate) size_bytes: u64,
}

impl WalFile {
    /// Reads the header of a file.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, first_sequence: u64) -> Result<Self> {
        let file = disk.open(path).map_err(io_error("open", path))?;
        let size_bytes = file.size().map_err(io_error("look at", path))?;
        let mut header = [0; WAL_HEADER_BYTES];
        if size_bytes >= WAL_HEADER_BYTES as u64 {
            file.read_exact_at(&mut header, 0).map_err(io_error("read", path))?;
        }
        let header = WalHeader::read(path, &header)?;
        Ok(Self { path: path.to_owned(), first_sequence, header, size_bytes })
    }
}

/// The bytes of the files, a window at a time.
struct Window<'a> {
    disk: &'a dyn Disk,
    files: &'a [WalFile],
    bytes_max: usize,
    file: usize,
    from: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// `count` bytes of a file from `at` on; fewer where the file ends.
    fn bytes(&mut self, file: usize, at: u64, count: usize) -> Result<Bytes> {
        let (from, to) = self.range(file, at, count)?;
        Ok(self.bytes.slice(from..to))
    }

    /// The same, to look at.
    fn look(&mut self, file: usize, at: u64, count: usize) -> Result<&[u8]> {
        let (from, to) = self.range(file, at, count)?;
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// How many zeros come next in a file from `at` on, in whole alignments, as far as the window shows; it is moved only
    /// where it shows nothing of them. No frame begins with so many.
    fn zeros(&mut self, file: usize, at: u64) -> Result<u64> {
        let (from, _) = self.range(file, at, FRAME_ALIGNMENT)?;
        let shown = self.bytes.get(from..).unwrap_or_default();
        let zeros = shown.iter().position(|byte| *byte != 0).unwrap_or(shown.len());
        Ok((zeros - zeros % FRAME_ALIGNMENT) as u64)
    }

    /// Where in the window they are; it is moved there first.
    fn range(&mut self, file: usize, at: u64, count: usize) -> Result<(usize, usize)> {
        let Some(of) = self.files.get(file).filter(|of| at < of.size_bytes) else { return Ok((0, 0)) };
        let left = usize::try_from(of.size_bytes - at).unwrap_or(usize::MAX);
        let count = count.min(left);
        let begin = at.checked_sub(self.from).and_then(|begin| usize::try_from(begin).ok());
        let begin = begin.filter(|begin| self.file == file && begin.saturating_add(count) <= self.bytes.len());
        if let Some(begin) = begin {
            return Ok((begin, begin + count));
        }
        let mut bytes = vec![0; count.max(self.bytes_max).min(left)];
        let read = self.disk.open(&of.path).and_then(|open| open.read_exact_at(&mut bytes, at));
        read.map_err(io_error("read", &of.path))?;
        (self.file, self.from, self.bytes) = (file, at, bytes.into());
        Ok((0, count))
    }
}

/// What was found next.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A frame that counts.
    Frame(Frame),
    /// Bytes of `file` that had been synced and are bad now; `frames` is how many are missing.
    Damage { file: usize, from: u64, to: u64, frames: u64 },
    /// The log ends in `file` at `at`; what follows was never promised to anyone.
    End { file: usize, at: u64 },
}

/// Walks over files in order of their sequences.
pub(crate) struct WalScan<'a> {
    files: &'a [WalFile],
    window: Window<'a>,
    file: usize,
    at: u64,
    /// The sequence that the next frame must have.
    expected: u64,
    ended: bool,
}

/// Where the first frame of a file begins.
const FIRST_FRAME_AT: u64 = WAL_HEADER_BYTES as u64;

impl<'a> WalScan<'a> {
    /// Scans for the frames from `expected` on, reading `window_bytes` at once.
    pub(crate) fn new(disk: &'a dyn Disk, files: &'a [WalFile], expected: u64, window_bytes: usize) -> Self {
        let window = Window { disk, files, bytes_max: window_bytes, file: 0, from: 0, bytes: Bytes::new() };
        Self { files, window, file: 0, at: FIRST_FRAME_AT, expected, ended: files.is_empty() }
    }

    /// The sequence after the last frame that was found.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.expected
    }

    fn frame_at(&mut self, file: usize, at: u64) -> Result<Option<Frame>> {
        let Some(of) = self.files.get(file) else { return Ok(None) };
        let Some(header) = of.header else { return Ok(None) };
        let size = Frame::size_in(self.window.look(file, at, FRAME_HEADER_BYTES)?);
        let left = of.size_bytes.saturating_sub(at);
        let Some(size) = size.filter(|size| *size as u64 <= left) else { return Ok(None) };
        Ok(Frame::read(&self.window.bytes(file, at, size)?, header.salt))
    }

    fn find_next(&mut self) -> Result<Found> {
        loop {
            if let Some(frame) = self.frame_at(self.file, self.at)? {
                if frame.sequence == self.expected {
                    self.at += frame.size_bytes as u64;
                    self.expected += 1;
                    return Ok(Found::Frame(frame));
                }
                if frame.sequence < self.expected {
                    self.at += frame.size_bytes as u64; // Included in the checkpoint.
                    continue;
                }
            }
            let next_begins_here =
                self.files.get(self.file + 1).is_some_and(|next| next.first_sequence <= self.expected);
            if next_begins_here && self.rest_is_unused()? {
                (self.file, self.at) = (self.file + 1, FIRST_FRAME_AT);
                continue;
            }
            return self.damage_or_end();
        }
    }

    fn rest_is_unused(&mut self) -> Result<bool> {
        let mut at = self.at;
        loop {
            let bytes = self.window.look(self.file, at, self.window.bytes_max)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
    }

    fn damage_or_end(&mut self) -> Result<Found> {
        let (file, from) = (self.file, self.at);
        let Some((good_file, good_at, sequence)) = self.good_frame_after_damage()? else {
            self.ended = true;
            return Ok(Found::End { file, at: from });
        };
        let to = if good_file == file { good_at } else { self.files.get(file).map_or(from, |file| file.size_bytes) };
        let frames = sequence - self.expected;
        // The files in between, if any, are wholly bad: they are reported one by one.
        if good_file > file + 1 {
            (self.file, self.at) = (file + 1, 0);
            return Ok(Found::Damage { file, from, to, frames: 0 });
        }
        (self.file, self.at, self.expected) = (good_file, good_at, sequence);
        Ok(Found::Damage { file, from, to, frames })
    }

    /// The first good frame after here, if that or a later one proves that the frame expected here had been synced.
    fn good_frame_after_damage(&mut self) -> Result<Option<(usize, u64, u64)>> {
        let files = self.files;
        let frames_max = files.iter().map(|file| file.size_bytes).sum::<u64>() / FRAME_ALIGNMENT as u64;
        let mut first = None;
        for (index, file) in files.iter().enumerate().skip(self.file) {
            let mut at = if index == self.file { self.at } else { FIRST_FRAME_AT };
            // A file is begun only when everything before it is synced: its header is proof as well.
            let begins = file.header.map_or(0, |header| header.first_sequence);
            if index > self.file && begins > self.expected {
                return Ok(first.or(Some((index, at, begins))));
            }
            while at < file.size_bytes {
                // What was made room for and not written yet is most of a file.
                let unused = self.window.zeros(index, at)?;
                if unused > 0 {
                    at += unused;
                    continue;
                }
                // Look before checking: on noise, computing a checksum at every step would take for ever.
                let sequences = self.expected..=self.expected.saturating_add(frames_max);
                let plausible = Frame::may_begin(self.window.look(index, at, FRAME_HEADER_BYTES)?, sequences);
                let frame = if plausible { self.frame_at(index, at)? } else { None };
                let Some(frame) = frame else {
                    at += FRAME_ALIGNMENT as u64;
                    continue;
                };
                let (found_file, found_at, sequence) = *first.get_or_insert((index, at, frame.sequence));
                if frame.durable_sequence >= self.expected {
                    return Ok(Some((found_file, found_at, sequence)));
                }
                at += frame.size_bytes as u64;
            }
        }
        Ok(None)
    }
}

impl Iterator for WalScan<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let found = self.find_next();
        self.ended |= found.is_err();
        Some(found)
    }
}

#[cfg(test)]
mod tests;
