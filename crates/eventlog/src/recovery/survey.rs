//! What there is on disk: everything that recovery needs to know, read before anything is changed.
//!
//! What it is not: a decision. What becomes of what was found is for `plan`.
//!
//! What must hold: nothing here writes; what is kept in memory does not grow with the records, except for batches
//! whose frames are missing (and those only by their headers).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use model::{Offset, TopicPartition};
use uuid::Uuid;

use super::first_file::first_file;
use crate::{
    checkpoint::{Checkpoint, PartitionCheckpoint},
    disk::Disk,
    frame::{Change, Frame},
    log::{Error, Result, Topic, io_error},
    open_log::OpenLog,
    partition_directory::{directory_name, topic_id_of},
    record::{BatchHeader, split_batches},
    segment::{parse_file_name, path_of, sound_batches},
    wal,
    wal_scan::{Found, WINDOW_BYTES, WalFile, WalScan},
};

/// A partition, by its topic's id and its number.
pub(super) type PartitionId = (Uuid, i32);

/// All that was found.
pub(super) struct Survey {
    pub(super) checkpoint: Checkpoint,
    /// The files of the write-ahead log from the one on that has what the checkpoint has not.
    pub(super) files: Vec<WalFile>,
    pub(super) wal: WalSurvey,
    pub(super) partitions: HashMap<PartitionId, PartitionSurvey>,
    /// What is not the log's, in the order of the names.
    pub(super) strays: Vec<PathBuf>,
}

/// What the write-ahead log says.
#[derive(Debug, Default)]
pub(super) struct WalSurvey {
    pub(super) damages: Vec<DamagedBytes>,
    /// How many appends there are to topics whose creation was lost to damage.
    pub(super) orphans: u64,
    /// Where it ends: a file, and a position in it.
    pub(super) end: Option<(usize, u64)>,
    /// What follows its last frame.
    pub(super) next_sequence: u64,
    /// The topics that were created after the checkpoint.
    pub(super) created: Vec<Topic>,
    /// The topics that were deleted after the checkpoint.
    pub(super) deleted: HashSet<Uuid>,
    /// The topics that were deleted before it, as far as the files go back.
    pub(super) deleted_before: HashSet<Uuid>,
    pub(super) appended: HashMap<PartitionId, Appended>,
}

/// Bytes of the write-ahead log that had been synced and are bad.
#[derive(Clone, Debug)]
pub(super) struct DamagedBytes {
    pub(super) file: usize,
    pub(super) bytes: Range<u64>,
    /// How many frames are missing that the checkpoint has not.
    pub(super) frames: u64,
}

/// What the write-ahead log appends to a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Appended {
    /// In order; those that follow each other without a gap are one.
    pub(super) offsets: Vec<Range<Offset>>,
    pub(super) bytes: u64,
}

impl Appended {
    fn add(&mut self, header: &BatchHeader) {
        self.bytes += header.size_bytes() as u64;
        match self.offsets.last_mut() {
            Some(last) if last.end == header.base_offset => last.end = header.next_offset(),
            _ => self.offsets.push(header.base_offset..header.next_offset()),
        }
    }

    fn has(&self, offset: Offset) -> bool {
        let index = self.offsets.partition_point(|range| range.end <= offset);
        self.offsets.get(index).is_some_and(|range| range.contains(&offset))
    }

    /// Whether it is one stretch from `begin` on.
    fn is_whole_from(&self, begin: Offset) -> bool {
        match &self.offsets[..] {
            [] => true,
            [range] => range.start == begin,
            _ => false,
        }
    }
}

/// What there is of a partition.
#[derive(Debug)]
pub(super) struct PartitionSurvey {
    pub(super) name: TopicPartition,
    pub(super) directory: PathBuf,
    /// The files that are a segment's.
    pub(super) files: Vec<String>,
    /// How large each `.log` is, by its base offset; or why it cannot be read.
    pub(super) logs: BTreeMap<Offset, Result<u64, String>>,
    pub(super) younger: Younger,
}

/// What stands in segments behind the checkpoint and has no frame in the write-ahead log.
#[derive(Debug, Default)]
pub(super) struct Younger {
    /// The batches, in order.
    pub(super) missing: Vec<BatchHeader>,
    /// The files up to the last of them, each with its base offset and up to where it belongs to them.
    pub(super) pieces: Vec<(Offset, u64)>,
    /// Where sound batches end before the file does.
    pub(super) unsound: Option<(PathBuf, u64)>,
}

impl Survey {
    /// Reads everything.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is there does not fit together or cannot be understood, [`Error::Io`].
    pub(super) fn of(shared: &OpenLog) -> Result<Self> {
        let disk = &*shared.disk;
        let stored = Checkpoint::load(disk, &shared.directory)?;
        let (wal_directory, topics) = (shared.wal_directory(), shared.topics_directory());
        let names = disk.list(&wal_directory).map_err(io_error("list", &wal_directory))?;
        let sequences: Vec<u64> = names.iter().filter_map(|name| wal::sequence_of(name)).collect();
        let entries = disk.list(&topics).map_err(io_error("list", &topics))?;
        let has_partitions = entries.iter().any(|name| topic_id_of(name).is_some());
        let covered = stored.as_ref().map(|checkpoint| checkpoint.sequence);
        let begin = first_file(&shared.directory, covered, &sequences, has_partitions)?;
        let mut files = Vec::new();
        for first_sequence in sequences.into_iter().skip(begin) {
            let path = wal_directory.join(wal::file_name(first_sequence));
            let file = WalFile::open(disk, &path, first_sequence)?;
            if let Some(header) = file.header.filter(|header| header.first_sequence != first_sequence) {
                let reason = format!("it begins with frame {}, its name says otherwise", header.first_sequence);
                return Err(Error::corrupt(&path, 8, format!("{reason}; nothing was changed")));
            }
            files.push(file);
        }
        let checkpoint = stored.unwrap_or_default();
        let wal = WalReader::new(&wal_directory, &checkpoint).read(disk, &files)?;
        let mut survey = Self { checkpoint, files, wal, partitions: HashMap::new(), strays: Vec::new() };
        survey.look_at_partitions(disk, &topics)?;
        survey.look_for_strays(shared, &entries)?;
        Ok(survey)
    }

    fn look_at_partitions(&mut self, disk: &dyn Disk, topics: &Path) -> Result<()> {
        let nothing = PartitionCheckpoint::default();
        let of_checkpoint = self.checkpoint.topics.iter().flat_map(|entry| {
            let partitions = entry.topic.topic_partitions().zip(&entry.partitions);
            partitions.map(|(name, from)| (name, entry.topic.id, from))
        });
        let created = self.wal.created.iter().filter(|topic| !self.wal.deleted.contains(&topic.id));
        let of_wal = created.flat_map(|topic| topic.topic_partitions().map(|name| (name, topic.id, &nothing)));
        let none = Appended::default();
        for (name, topic_id, from) in of_checkpoint.chain(of_wal) {
            let id = (topic_id, name.partition);
            let appended = self.wal.appended.get(&id).unwrap_or(&none);
            let (survey, strays) = PartitionSurvey::of(disk, topics, (name, topic_id), from, appended)?;
            self.partitions.insert(id, survey);
            self.strays.extend(strays);
        }
        Ok(())
    }

    fn look_for_strays(&mut self, shared: &OpenLog, entries: &[String]) -> Result<()> {
        const OURS: [&str; 6] = ["lock", "checkpoint", "checkpoint.new", "wal", "topics", "quarantine"];
        let names = shared.disk.list(&shared.directory).map_err(io_error("list", &shared.directory))?;
        let in_log = names.iter().filter(|name| !OURS.contains(&name.as_str())).map(|name| shared.directory.join(name));
        let known: HashSet<&Path> = self.partitions.values().map(|partition| partition.directory.as_path()).collect();
        let is_deleted = |name: &str| {
            topic_id_of(name).is_some_and(|id| self.wal.deleted.contains(&id) || self.wal.deleted_before.contains(&id))
        };
        let topics = shared.topics_directory();
        let unknown = entries.iter().filter(|name| !is_deleted(name)).map(|name| topics.join(name));
        let strays: Vec<_> = in_log.chain(unknown.filter(|path| !known.contains(path.as_path()))).collect();
        self.strays.extend(strays);
        Ok(())
    }
}

impl PartitionSurvey {
    /// Also tells what is not the log's.
    fn of(
        disk: &dyn Disk,
        topics: &Path,
        (name, topic_id): (TopicPartition, Uuid),
        from: &PartitionCheckpoint,
        appended: &Appended,
    ) -> Result<(Self, Vec<PathBuf>)> {
        let directory = topics.join(directory_name(&name, topic_id));
        let names = match disk.list(&directory) {
            // A file in the place of the directory: then nothing is there.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Vec::new(),
            names => names.map_err(io_error("list", &directory))?,
        };
        let (files, strays): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| parse_file_name(name).is_some());
        let mut logs = BTreeMap::new();
        for (base_offset, kind) in files.iter().filter_map(|name| parse_file_name(name)) {
            if kind == "log" {
                logs.insert(base_offset, size_of(disk, &path_of(&directory, base_offset, "log"))?);
            }
        }
        let younger = Younger::of(disk, &directory, &logs, from, appended)?;
        let strays = strays.into_iter().map(|name| directory.join(name)).collect();
        Ok((Self { name, directory, files, logs, younger }, strays))
    }
}

/// The size of a file, or why it cannot be read and will not be the next time either.
fn size_of(disk: &dyn Disk, path: &Path) -> Result<Result<u64, String>> {
    use io::ErrorKind as Kind;
    match disk.open(path).and_then(|file| file.size()) {
        Ok(size) => Ok(Ok(size)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::IsADirectory | Kind::PermissionDenied) => {
            Ok(Err(format!("the file cannot be opened: {error}")))
        }
        Err(error) => Err(io_error("open", path)(error)),
    }
}

impl Younger {
    fn of(
        disk: &dyn Disk,
        directory: &Path,
        logs: &BTreeMap<Offset, Result<u64, String>>,
        from: &PartitionCheckpoint,
        appended: &Appended,
    ) -> Result<Self> {
        let size = |base_offset| logs.get(&base_offset).and_then(|size| size.as_ref().ok()).copied();
        let last = from.segments.last().map(|extent| (extent.base_offset, extent.log_bytes));
        let behind_last = last.and_then(|(base, log_bytes)| size(base)?.checked_sub(log_bytes));
        let files = logs.range(from.next_offset..).filter_map(|(_, size)| size.as_ref().ok());
        let bytes = behind_last.unwrap_or(0) + files.sum::<u64>();
        // What was moved has frames, unless they were lost: as many bytes as they have, or fewer.
        if appended.is_whole_from(from.next_offset) && bytes <= appended.bytes {
            return Ok(Self::default());
        }
        let mut found = Self::default();
        let (mut walked, mut expected) = (Vec::new(), from.next_offset);
        let mut next = last.filter(|_| behind_last.is_some_and(|bytes| bytes > 0));
        if next.is_none() {
            next = size(expected).map(|_| (expected, 0));
        }
        while let Some((base_offset, begin)) = next {
            let path = path_of(directory, base_offset, "log");
            let mut position = begin;
            walked.push((base_offset, position));
            let (end, error) = sound_batches(disk, &path, (begin, expected), |header| {
                expected = header.next_offset();
                position += header.size_bytes() as u64;
                if let Some(last) = walked.last_mut() {
                    last.1 = position;
                }
                if !appended.has(header.base_offset) {
                    found.missing.push(header);
                    found.pieces = walked.clone();
                }
            })?;
            if error.is_some() {
                found.unsound = Some((path, end));
                break;
            }
            next = size(expected).filter(|_| expected != base_offset).map(|_| (expected, 0));
        }
        Ok(found)
    }
}

fn is_unused(disk: &dyn Disk, file: &WalFile) -> Result<bool> {
    let open = disk.open(&file.path).map_err(io_error("open", &file.path))?;
    for at in (0..file.size_bytes).step_by(WINDOW_BYTES) {
        let left = usize::try_from(file.size_bytes - at).unwrap_or(WINDOW_BYTES);
        let mut window = vec![0; left.min(WINDOW_BYTES)];
        open.read_exact_at(&mut window, at).map_err(io_error("read", &file.path))?;
        if window.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the write-ahead log to know what is in it.
struct WalReader<'a> {
    directory: &'a Path,
    covered: u64,
    /// Where each partition ends.
    next_offsets: HashMap<PartitionId, Offset>,
    topics: HashSet<Uuid>,
    found: WalSurvey,
}

impl<'a> WalReader<'a> {
    fn new(directory: &'a Path, checkpoint: &Checkpoint) -> Self {
        let of_topic = |entry: &crate::checkpoint::TopicCheckpoint| {
            let id = entry.topic.id;
            let next = |(partition, from): (i32, &PartitionCheckpoint)| ((id, partition), from.next_offset);
            (0..).zip(&entry.partitions).map(next).collect::<Vec<_>>()
        };
        Self {
            directory,
            covered: checkpoint.sequence,
            next_offsets: checkpoint.topics.iter().flat_map(of_topic).collect(),
            topics: checkpoint.topics.iter().map(|entry| entry.topic.id).collect(),
            found: WalSurvey::default(),
        }
    }

    fn read(mut self, disk: &dyn Disk, files: &[WalFile]) -> Result<WalSurvey> {
        // From the file's beginning: what the checkpoint has shows whether they belong together.
        let begin = files.first().map_or(self.covered + 1, |file| file.first_sequence);
        let mut scan = WalScan::new(disk, files, begin, WINDOW_BYTES);
        while let Some(found) = scan.next() {
            match found? {
                Found::Frame(frame) => self.add(&frame)?,
                Found::Damage { file, from, to, frames } => {
                    let behind = scan.next_sequence().saturating_sub(self.covered + 1);
                    let frames = if frames == 0 { 1 } else { frames.min(behind) };
                    self.found.damages.push(DamagedBytes { file, bytes: from..to, frames });
                }
                Found::End { file, at } => self.found.end = Some((file, at)),
            }
        }
        self.found.next_sequence = scan.next_sequence();
        self.look_behind_end(disk, files)?;
        Ok(self.found)
    }

    /// Files without a header end the log: nobody can read them. If there is something in them, it had been synced.
    fn look_behind_end(&mut self, disk: &dyn Disk, files: &[WalFile]) -> Result<()> {
        let Some((last, _)) = self.found.end else { return Ok(()) };
        for (index, file) in files.iter().enumerate().skip(last).filter(|(_, file)| file.header.is_none()) {
            if !is_unused(disk, file)? {
                self.found.damages.push(DamagedBytes { file: index, bytes: 0..file.size_bytes, frames: 1 });
            }
        }
        Ok(())
    }

    fn add(&mut self, frame: &Frame) -> Result<()> {
        let corrupt = |reason| Error::corrupt(self.directory, 0, format!("frame {}: {reason}", frame.sequence));
        let change = frame.change().map_err(corrupt)?;
        if frame.sequence <= self.covered {
            if let Change::DeleteTopic(id) = change {
                self.found.deleted_before.insert(id);
            }
            return Ok(());
        }
        match change {
            Change::Append { topic, partition, batches, .. } => {
                self.append((topic, partition), batches).map_err(|reason| {
                    Error::corrupt(self.directory, 0, format!("frame {}: {reason}", frame.sequence))
                })?;
            }
            Change::CreateTopic(topic) => {
                self.topics.insert(topic.id);
                self.found.created.push(topic);
            }
            Change::DeleteTopic(id) => drop(self.found.deleted.insert(id)),
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, id: PartitionId, batches: Bytes) -> Result<(), String> {
        if !self.topics.contains(&id.0) {
            if self.found.damages.is_empty() {
                return Err(format!(
                    "it appends to topic {}, which the checkpoint does not know: they are not of one log, put back the \
                     checkpoint and the folder wal from the same copy",
                    id.0
                ));
            }
            self.found.orphans += 1;
            return Ok(());
        }
        let next_offset = self.next_offsets.entry(id).or_default();
        let appended = self.found.appended.entry(id).or_default();
        for (header, _) in split_batches(batches)? {
            if header.base_offset < *next_offset {
                return Err(format!(
                    "offset {} of partition {} of topic {} is there already: the checkpoint and the write-ahead log \
                     are not of one log, put them back from the same copy",
                    header.base_offset, id.1, id.0
                ));
            }
            *next_offset = header.next_offset();
            appended.add(&header);
        }
        Ok(())
    }
}
