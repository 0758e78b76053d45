//! The write-ahead log's files: one sequence of frames, shared by all partitions.
//!
//! A file begins with its header twice (so that one bad sector does not cost the salt), then frames without a gap;
//! it is reserved on disk at its full size, and what is not written yet reads as zeros. Files are named by the
//! sequence of their first frame.
//!
//! What it is not: the reader. What a crash left is looked at by `wal_scan`.
//!
//! What must hold: a file's header and its name are durable before its first frame is written; a group of frames
//! never spans two files; after a failed write or sync nothing more is written (the writer stops).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut, Bytes};
use uuid::Uuid;

use crate::{
    disk::{Disk, DiskFile},
    fields::Fields,
    frame::FrameBuffer,
    log::{Error, Result, io_error},
};

const MAGIC: [u8; 6] = *b"FF-WAL";
const VERSION: u16 = 1;
const HEADER_COPY_BYTES: usize = 32;
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
                return Err(Error::Corrupt { file: path.display().to_string(), position: 6, reason });
            }
            return Ok(Some(Self { first_sequence, salt }));
        }
        Ok(None)
    }
}

/// The end of the write-ahead log, where frames are added.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    salt: u32,
    /// Where the next frame goes.
    position: u64,
    capacity: u64,
    file_bytes: u64,
    next_sequence: u64,
}

impl Wal {
    /// Begins a new file at `next_sequence`. Everything before it must be durable.
    pub(crate) fn create(disk: Arc<dyn Disk>, directory: &Path, file_bytes: u64, next_sequence: u64) -> Result<Self> {
        let (file, path, salt) = create_file(&*disk, directory, file_bytes, next_sequence)?;
        let directory = directory.to_owned();
        let position = WAL_HEADER_BYTES as u64;
        Ok(Self { disk, directory, file, path, salt, position, capacity: file_bytes, file_bytes, next_sequence })
    }

    /// The sequence of the last frame.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// A group of frames that will hold at most about `bytes_max` bytes.
    pub(crate) fn begin(&self) -> FrameBuffer {
        FrameBuffer::new(self.salt, self.next_sequence, self.last_sequence())
    }

    /// Whether a group of `group_bytes` fits in the current file.
    pub(crate) fn has_room(&self, group_bytes: u64) -> bool {
        self.position.saturating_add(group_bytes) <= self.capacity
    }

    /// Writes a group and returns its bytes. Not durable before [`sync`](Self::sync).
    pub(crate) fn write(&mut self, group: FrameBuffer) -> Result<Bytes> {
        let (bytes, next_sequence) = group.finish();
        let write = self.file.write_all_at(&bytes, self.position);
        write.map_err(io_error("write", &self.path))?;
        self.position += bytes.len() as u64;
        self.next_sequence = next_sequence;
        Ok(bytes)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(io_error("sync", &self.path))
    }

    /// Begins a new file with room for `group_bytes`. Everything written must be durable.
    pub(crate) fn rotate(&mut self, group_bytes: u64) -> Result<()> {
        self.capacity = self.file_bytes.max(group_bytes + WAL_HEADER_BYTES as u64);
        let (file, path, salt) = create_file(&*self.disk, &self.directory, self.capacity, self.next_sequence)?;
        (self.file, self.path, self.salt) = (file, path, salt);
        self.position = WAL_HEADER_BYTES as u64;
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

type NewFile = (Arc<dyn DiskFile>, PathBuf, u32);

fn create_file(disk: &dyn Disk, directory: &Path, capacity: u64, first_sequence: u64) -> Result<NewFile> {
    let path = directory.join(file_name(first_sequence));
    let salt = Uuid::new_v4().as_fields().0;
    let file = disk.create(&path).map_err(io_error("create", &path))?;
    let header = WalHeader { first_sequence, salt }.to_bytes();
    file.preallocate(capacity).map_err(io_error("reserve space for", &path))?;
    file.write_all_at(&header, 0).map_err(io_error("write", &path))?;
    file.sync().map_err(io_error("sync", &path))?;
    disk.sync_directory(directory).map_err(io_error("sync", directory))?;
    Ok((file, path, salt))
}
