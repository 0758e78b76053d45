//! The write-ahead log's files: one sequence of frames, shared by all partitions.
//!
//! A file begins with its header twice (so that one bad sector does not cost the salt), then frames without a gap;
//! it is reserved on disk at its full size, and what is not written yet reads as zeros. Files are named by the
//! sequence of their first frame.
//!
//! What it is not: the reader. What a crash left is looked at by `wal_scan`.
//!
//! What must hold: a file's header and its name are durable before its first frame is written; a group of frames
//! never spans two files; after a failed sync nothing more is written (the writer stops). A group that could not be
//! written is cut off again, so that no frame of it can be taken for one that follows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut, Bytes};
use model::Entropy;

use crate::{
    disk::{Disk, DiskFile},
    fields::Fields,
    frame::FrameBuffer,
    log::{Error, Result, io_error, sync_error},
};

const MAGIC: [u8; 6] = *b"FF-WAL";
const VERSION: u16 = 1;
const HEADER_COPY_BYTES: usize = 32;
/// What a file is called until its header is durable.
const NEW_FILE_NAME: &str = "new";
/// Where the first frame begins.
pub(crate) const WAL_HEADER_BYTES: usize = 2 * HEADER_COPY_BYTES;

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalHeader {
    pub(crate) first_sequence: u64,
    pub(crate) salt: u32,
}

impl WalHeader {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(WAL_HEADER_BYTES);
        copy.put_slice(&MAGIC);
        copy.put_u16(VERSION);
        copy.put_u64(self.first_sequence);
        copy.put_u32(self.salt);
        copy.put_u64(0); // Reserved.
        copy.put_u32(crc32c::crc32c(&copy));
        copy.repeat(2)
    }

    /// The header, from whichever copy is good.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file was written by a newer version.
    pub(crate) fn read(path: &Path, file: &[u8]) -> Result<Option<Self>> {
        for copy in file.chunks_exact(HEADER_COPY_BYTES).take(2) {
            let Some((body, checksum)) = copy.split_last_chunk() else { continue };
            let mut fields = Fields::new(body);
            if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) || fields.array() != Ok(MAGIC) {
                continue;
            }
            let (Ok(version), Ok(first_sequence), Ok(salt)) = (fields.i16(), fields.u64(), fields.u32()) else {
                continue;
            };
            if i32::from(version) != i32::from(VERSION) {
                let reason = format!("format version {version} is newer than this program, which knows {VERSION}");
                return Err(Error::corrupt(path, 6, reason));
            }
            return Ok(Some(Self { first_sequence, salt }));
        }
        Ok(None)
    }
}

/// The end of the write-ahead log, where frames are added.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    directory: PathBuf,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    salt: u32,
    /// Where the next frame goes.
    position: u64,
    capacity: u64,
    file_bytes: u64,
    next_sequence: u64,
    /// Whether the file was cut off behind the last frame, so that the room it had is to be reserved again.
    is_cut: bool,
    /// Whether the file's name is still to be made durable.
    is_unnamed: bool,
}

impl Wal {
    /// Begins a new file at `next_sequence`. Everything before it must be durable.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
        directory: &Path,
        file_bytes: u64,
        next_sequence: u64,
    ) -> Result<Self> {
        let header = WalHeader { first_sequence: next_sequence, salt: entropy.bits() };
        let (file, path) = create_file(&*disk, directory, file_bytes, header)?;
        let directory = directory.to_owned();
        let (position, is_cut, is_unnamed) = (WAL_HEADER_BYTES as u64, false, false);
        disk.sync_directory(&directory).map_err(sync_error(&directory))?;
        Ok(Self {
            disk,
            entropy,
            directory,
            file,
            path,
            salt: header.salt,
            position,
            capacity: file_bytes,
            file_bytes,
            next_sequence,
            is_cut,
            is_unnamed,
        })
    }

    /// The sequence of the last frame.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// A group of frames that will hold at most about `bytes_max` bytes.
    pub(crate) fn begin(&self) -> FrameBuffer {
        FrameBuffer::new(self.salt, self.next_sequence, self.last_sequence())
    }

    /// Makes sure that a group of `group_bytes` can be written. Everything written must be durable. When there is no
    /// room for it, everything stays as it is.
    pub(crate) fn make_room(&mut self, group_bytes: u64) -> Result<()> {
        self.sync_name()?;
        if self.is_cut {
            self.reserve(self.capacity)?;
        }
        if self.position.saturating_add(group_bytes) > self.capacity {
            self.rotate(group_bytes)?;
        }
        self.sync_name()
    }

    /// Writes a group and returns its bytes. Not durable before [`sync`](Self::sync); when it fails,
    /// [`take_back`](Self::take_back) must follow before anything else.
    pub(crate) fn write(&mut self, group: FrameBuffer) -> Result<Bytes> {
        let (bytes, next_sequence) = group.finish();
        let write = self.file.write_all_at(&bytes, self.position);
        write.map_err(io_error("write", &self.path))?;
        self.position += bytes.len() as u64;
        self.next_sequence = next_sequence;
        Ok(bytes)
    }

    /// Cuts off what was written of a group before the disk was full.
    pub(crate) fn take_back(&mut self) -> Result<()> {
        self.is_cut = true;
        self.file.truncate(self.position).map_err(io_error("truncate", &self.path))
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(sync_error(&self.path))
    }

    /// Begins a new file if most of this one is used, so that this one can go when a checkpoint has what is in it.
    /// Everything written must be durable.
    pub(crate) fn turn_over(&mut self) -> Result<()> {
        if self.position > self.capacity / 2 { self.rotate(0) } else { Ok(()) }
    }

    /// Makes the name of a new file durable. No frame is written before, neither to this file nor to the one before.
    fn sync_name(&mut self) -> Result<()> {
        if self.is_unnamed {
            self.disk.sync_directory(&self.directory).map_err(sync_error(&self.directory))?;
            self.is_unnamed = false;
        }
        Ok(())
    }

    /// Begins a new file with room for `group_bytes`.
    fn rotate(&mut self, group_bytes: u64) -> Result<()> {
        let capacity = self.file_bytes.max(group_bytes + WAL_HEADER_BYTES as u64);
        if self.position == WAL_HEADER_BYTES as u64 {
            return self.reserve(capacity); // Nothing is in it: it serves as the new one.
        }
        let header = WalHeader { first_sequence: self.next_sequence, salt: self.entropy.bits() };
        let (file, path) = create_file(&*self.disk, &self.directory, capacity, header)?;
        (self.file, self.path, self.salt) = (file, path, header.salt);
        (self.position, self.capacity, self.is_cut) = (WAL_HEADER_BYTES as u64, capacity, false);
        self.is_unnamed = true;
        Ok(())
    }

    fn reserve(&mut self, capacity: u64) -> Result<()> {
        self.file.preallocate(capacity).map_err(io_error("reserve space for", &self.path))?;
        (self.capacity, self.is_cut) = (capacity, false);
        Ok(())
    }
}

/// The first sequence that a file's name speaks of; `None` when it is not a file of the write-ahead log.
pub(crate) fn sequence_of(file_name: &str) -> Option<u64> {
    file_name.strip_suffix(".wal").filter(|digits| digits.len() == 20)?.parse().ok()
}

/// The name of the file whose first frame is `first_sequence`.
pub(crate) fn file_name(first_sequence: u64) -> String {
    format!("{first_sequence:020}.wal")
}

type NewFile = (Arc<dyn DiskFile>, PathBuf);

/// Makes a file; its name is not durable yet. When there is no room for it, no file of its name is left.
fn create_file(disk: &dyn Disk, directory: &Path, capacity: u64, header: WalHeader) -> Result<NewFile> {
    let new = directory.join(NEW_FILE_NAME);
    let file = disk.create(&new).map_err(io_error("create", &new))?;
    let reserved = file.preallocate(capacity).map_err(io_error("reserve space for", &new));
    if let Err(error) =
        reserved.and_then(|()| file.write_all_at(&header.to_bytes(), 0).map_err(io_error("write", &new)))
    {
        // What could be reserved is of more use to others. If it cannot be removed, the next attempt takes it over.
        let _ = disk.remove_file(&new);
        return Err(error);
    }
    file.sync().map_err(sync_error(&new))?;
    let path = directory.join(file_name(header.first_sequence));
    disk.rename(&new, &path).map_err(io_error("rename", &new))?;
    Ok((file, path))
}
