//! Reading a write-ahead log after a crash: which frames count, where it was torn, and what is damaged.
//!
//! A bad frame is *damage* when a good frame after it (or a later file) says that the bad one had been synced; then the good ones after
//! it count, and the bad bytes are set aside. Otherwise it is the *torn tail* of the last write, which nobody was
//! promised: it ends the log, even if whole frames of the same write follow.
//!
//! What it is not: I/O. It is given the files' bytes and says what to do (decide purely, act at the edge).

use bytes::Bytes;

use crate::{
    frame::{FRAME_ALIGNMENT, Frame},
    wal::{WAL_HEADER_BYTES, WalHeader},
};

/// A file of the write-ahead log.
#[derive(Clone, Debug)]
pub(crate) struct WalFile {
    /// The sequence in its name.
    pub(crate) first_sequence: u64,
    /// `None` when both copies of the header are damaged: then none of its frames can be told from noise.
    pub(crate) header: Option<WalHeader>,
    pub(crate) bytes: Bytes,
}

/// What was found next.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A frame that counts.
    Frame(Frame),
    /// Bytes of `file` that had been synced and are bad now; `frames` is how many are missing.
    Damage { file: usize, from: usize, to: usize, frames: u64 },
    /// The log ends in `file` at `at`; what follows was never promised to anyone.
    End { file: usize, at: usize },
}

/// Walks over files in order of their sequences.
pub(crate) struct WalScan<'a> {
    files: &'a [WalFile],
    file: usize,
    at: usize,
    /// The sequence that the next frame must have.
    expected: u64,
    ended: bool,
}

impl<'a> WalScan<'a> {
    /// Scans for the frames from `expected` on.
    pub(crate) fn new(files: &'a [WalFile], expected: u64) -> Self {
        Self { files, file: 0, at: WAL_HEADER_BYTES, expected, ended: files.is_empty() }
    }

    /// The sequence after the last frame that was found.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.expected
    }

    fn frame_at(&self, file: usize, at: usize) -> Option<Frame> {
        let file = self.files.get(file)?;
        let header = file.header?;
        if at >= file.bytes.len() {
            return None;
        }
        Frame::read(&file.bytes.slice(at..), header.salt)
    }

    fn find_next(&mut self) -> Option<Found> {
        loop {
            if let Some(frame) = self.frame_at(self.file, self.at) {
                if frame.sequence == self.expected {
                    self.at += frame.size_bytes;
                    self.expected += 1;
                    return Some(Found::Frame(frame));
                }
                if frame.sequence < self.expected {
                    self.at += frame.size_bytes; // Included in the checkpoint.
                    continue;
                }
            }
            let next_begins_here =
                self.files.get(self.file + 1).is_some_and(|next| next.first_sequence <= self.expected);
            if next_begins_here && self.rest_is_unused() {
                (self.file, self.at) = (self.file + 1, WAL_HEADER_BYTES);
                continue;
            }
            return Some(self.damage_or_end());
        }
    }

    fn rest_is_unused(&self) -> bool {
        let rest = self.files.get(self.file).and_then(|file| file.bytes.get(self.at..)).unwrap_or_default();
        rest.iter().all(|byte| *byte == 0)
    }

    fn damage_or_end(&mut self) -> Found {
        let (file, from) = (self.file, self.at);
        let Some((good_file, good_at, sequence)) = self.good_frame_after_damage() else {
            self.ended = true;
            return Found::End { file, at: from };
        };
        let to = if good_file == file { good_at } else { self.files.get(file).map_or(from, |file| file.bytes.len()) };
        let frames = sequence - self.expected;
        // The files in between, if any, are wholly bad: they are reported one by one.
        if good_file > file + 1 {
            (self.file, self.at) = (file + 1, 0);
            return Found::Damage { file, from, to, frames: 0 };
        }
        (self.file, self.at, self.expected) = (good_file, good_at, sequence);
        Found::Damage { file, from, to, frames }
    }

    /// The first good frame after here, if that or a later one proves that the frame expected here had been synced.
    fn good_frame_after_damage(&self) -> Option<(usize, usize, u64)> {
        let bytes: usize = self.files.iter().map(|file| file.bytes.len()).sum();
        let frames_max = (bytes / FRAME_ALIGNMENT) as u64;
        let mut first = None;
        for file in self.file..self.files.len() {
            let mut at = if file == self.file { self.at } else { WAL_HEADER_BYTES };
            // A file is begun only when everything before it is synced: its header is proof as well.
            let begins = self.files.get(file)?.header.map_or(0, |header| header.first_sequence);
            if file > self.file && begins > self.expected {
                return first.or(Some((file, at, begins)));
            }
            while at < self.files.get(file)?.bytes.len() {
                // Look before checking: on noise, computing a checksum at every step would take for ever.
                let bytes = self.files.get(file)?.bytes.get(at..)?;
                let plausible = Frame::may_begin(bytes, self.expected..=self.expected.saturating_add(frames_max));
                let Some(frame) = plausible.then(|| self.frame_at(file, at)).flatten() else {
                    at += FRAME_ALIGNMENT;
                    continue;
                };
                let (found_file, found_at, sequence) = *first.get_or_insert((file, at, frame.sequence));
                if frame.durable_sequence >= self.expected {
                    return Some((found_file, found_at, sequence));
                }
                at += frame.size_bytes;
            }
        }
        None
    }
}

impl Iterator for WalScan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.ended { None } else { self.find_next() }
    }
}

#[cfg(test)]
mod tests;
