//! From what a crash left to a log that works: the checkpoint, then every frame after it.
//!
//! What must hold: every acknowledged change is there and none twice; nothing becomes visible that a second crash
//! could take back (what was replayed is synced first); opening never damages what it cannot read.

use std::{collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use model::TopicPartition;
use uuid::Uuid;

use crate::{
    checkpoint::Checkpoint,
    frame::{Change, Frame},
    log::{Error, Result, Topic, io_error},
    open_log::OpenLog,
    open_segments::OpenSegments,
    partition::Partition,
    record::split_batches,
    state::{PartitionState, State},
    tail::TailBatch,
    wal::{self, Wal},
    wal_scan::{Found, WINDOW_BYTES, WalFile, WalScan},
};

/// How much is replayed before it is written to segments.
const REPLAY_BYTES: usize = 8 << 20;

/// A log that is ready to take requests.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) wal: Wal,
    /// How much was replayed.
    pub(crate) wal_bytes: u64,
    /// The segments that it was written to.
    pub(crate) open: OpenSegments,
    /// The partitions whose topics were deleted; their files may go with the next checkpoint.
    pub(crate) deleted: Vec<Arc<Partition>>,
}

/// Brings `shared` to where the log stopped.
pub(crate) fn recover(shared: &OpenLog) -> Result<Recovered> {
    make_directories(shared)?;
    let checkpoint = Checkpoint::load(&*shared.disk, &shared.directory)?.unwrap_or_default();
    let sequence = checkpoint.sequence;
    let state = restore(shared, checkpoint)?;
    let files = read_wal(shared, sequence + 1)?;
    // The other half is for readers, connections, and everything else in the process.
    let open = OpenSegments::new(shared.settings.open_segments_max.min(shared.disk.open_files_max() / 2));
    let (batches, deleted) = (HashMap::new(), Vec::new());
    let mut replay = Replay { shared, state, open, batches, waiting_bytes: 0, wal_bytes: 0, deleted };
    let mut scan = WalScan::new(&*shared.disk, &files, sequence + 1, WINDOW_BYTES);
    let mut damaged = 0;
    let mut end = None;
    for found in scan.by_ref() {
        match found? {
            Found::Frame(frame) => damaged += replay.apply(&frame)?,
            Found::Damage { file, from, to, frames } => {
                let file = files.get(file);
                file.map_or(Ok(()), |file| set_aside(shared, file, from..to, frames))?;
                damaged += frames.max(1);
            }
            Found::End { file, at } => end = Some((file, at)),
        }
    }
    let next_sequence = scan.next_sequence();
    replay.flush()?;
    cut_off(shared, &files, end)?;
    shared.metrics.log_quarantined_frames.inc_by(damaged);
    let mut repaired = false;
    for partition in replay.state.topics().flat_map(|topic| &topic.partitions) {
        partition.shared.recovered_to(partition.next_offset);
        repaired |= partition.shared.was_repaired();
    }
    let wal_directory = shared.wal_directory();
    let wal = Wal::create(Arc::clone(&shared.disk), &wal_directory, shared.settings.wal_file_bytes, next_sequence)?;
    // After damage the next checkpoint comes at once, so that it is not reported again at every start.
    let wal_bytes = if damaged > 0 || repaired { shared.settings.checkpoint_wal_bytes } else { replay.wal_bytes };
    Ok(Recovered { state: replay.state, wal, wal_bytes, open: replay.open, deleted: replay.deleted })
}

fn make_directories(shared: &OpenLog) -> Result<()> {
    for directory in [shared.wal_directory(), shared.topics_directory()] {
        shared.disk.create_directory(&directory).map_err(io_error("create", &directory))?;
    }
    let parent = shared.directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    for directory in [Some(shared.directory.as_path()), parent].into_iter().flatten() {
        shared.disk.sync_directory(directory).map_err(io_error("sync", directory))?;
    }
    Ok(())
}

/// The state that a checkpoint speaks of. What is on disk and not in it is removed: it is younger, and replayed.
fn restore(shared: &OpenLog, checkpoint: Checkpoint) -> Result<State> {
    let mut state = State::new(checkpoint.next_producer_id, shared.settings.producers_max);
    let topics = shared.topics_directory();
    let mut named = Vec::new();
    for entry in checkpoint.topics {
        let topic = Arc::new(entry.topic);
        let mut partitions = Vec::with_capacity(entry.partitions.len());
        for (name, from) in topic.topic_partitions().zip(entry.partitions) {
            let bounds = (from.log_start_offset, from.next_offset);
            let disk = Arc::clone(&shared.disk);
            let partition = Arc::new(Partition::recover(disk, &topics, name, topic.id, bounds, &from.segments)?);
            named.push(partition.directory().to_owned());
            partitions.push(PartitionState {
                shared: partition,
                next_offset: from.next_offset,
                last_arrival_ms: from.last_arrival_ms,
                producers: from.producers,
            });
        }
        add_topic(shared, &mut state, topic, partitions);
    }
    shared.catalogue.set_groups(checkpoint.groups);
    let named: std::collections::HashSet<_> = named.into_iter().collect();
    for name in shared.disk.list(&topics).map_err(io_error("list", &topics))? {
        let path = topics.join(name);
        if !named.contains(&path) {
            shared.disk.remove_directory(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(state)
}

fn add_topic(shared: &OpenLog, state: &mut State, topic: Arc<Topic>, partitions: Vec<PartitionState>) {
    let of_catalogue = partitions.iter().map(|partition| Arc::clone(&partition.shared)).collect();
    shared.catalogue.add_topic(Arc::clone(&topic), of_catalogue);
    state.add_topic(topic, partitions);
}

/// The files that hold the frames from `sequence` on.
fn read_wal(shared: &OpenLog, sequence: u64) -> Result<Vec<WalFile>> {
    let directory = shared.wal_directory();
    let names = shared.disk.list(&directory).map_err(io_error("list", &directory))?;
    let sequences: Vec<u64> = names.iter().filter_map(|name| wal::sequence_of(name)).collect();
    let begin = sequences.iter().rposition(|first| *first <= sequence);
    if begin.is_none() && (sequence > 1 || !sequences.is_empty()) {
        let reason = format!("the write-ahead log from frame {sequence} on is missing");
        return Err(Error::Corrupt { file: directory.display().to_string(), position: 0, reason });
    }
    let mut files = Vec::new();
    for first_sequence in sequences.into_iter().skip(begin.unwrap_or(0)) {
        let path = directory.join(wal::file_name(first_sequence));
        files.push(WalFile::open(&*shared.disk, &path, first_sequence)?);
    }
    Ok(files)
}

/// Keeps bad bytes for whoever wants to look at them.
fn set_aside(shared: &OpenLog, file: &WalFile, damaged: Range<u64>, frames: u64) -> Result<()> {
    let directory = shared.directory.join("quarantine");
    let file_name = wal::file_name(file.first_sequence);
    let (from, bytes) = (damaged.start, damaged.end - damaged.start);
    let path = directory.join(format!("{file_name}-{from}"));
    tracing::error!(
        file = file_name, from, bytes, frames, kept_in = %path.display(),
        "the write-ahead log is damaged: records that were acknowledged are lost"
    );
    let source = shared.disk.open(&file.path).map_err(io_error("open", &file.path))?;
    shared.disk.create_directory(&directory).map_err(io_error("create", &directory))?;
    let copy = shared.disk.create(&path).map_err(io_error("create", &path))?;
    for at in damaged.clone().step_by(WINDOW_BYTES) {
        let mut bytes = vec![0; usize::try_from(damaged.end - at).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES))];
        source.read_exact_at(&mut bytes, at).map_err(io_error("read", &file.path))?;
        copy.write_all_at(&bytes, at - from).map_err(io_error("write", &path))?;
    }
    copy.sync().map_err(io_error("write", &path))?;
    shared.disk.sync_directory(&directory).map_err(io_error("sync", &directory))
}

/// Makes what was replayed durable, and takes away what lies behind its end, so that it is not looked at again.
fn cut_off(shared: &OpenLog, files: &[WalFile], end: Option<(usize, u64)>) -> Result<()> {
    let directory = shared.wal_directory();
    let (last, at) = end.unwrap_or((files.len(), 0));
    for (index, file) in files.iter().enumerate() {
        let path = &file.path;
        if index > last {
            shared.disk.remove_file(path).map_err(io_error("remove", path))?;
            continue;
        }
        let open = shared.disk.open(path).map_err(io_error("open", path))?;
        if index == last && at < file.size_bytes {
            open.truncate(at).map_err(io_error("truncate", path))?;
        }
        open.sync().map_err(io_error("sync", path))?;
    }
    shared.disk.sync_directory(&directory).map_err(io_error("sync", &directory))
}

struct Replay<'a> {
    shared: &'a OpenLog,
    state: State,
    open: OpenSegments,
    /// Batches that wait to be written to segments.
    batches: HashMap<(Uuid, i32), Vec<TailBatch>>,
    /// How much of the write-ahead log they may keep in memory: all that was read since the last were written.
    waiting_bytes: usize,
    wal_bytes: u64,
    deleted: Vec<Arc<Partition>>,
}

impl Replay<'_> {
    /// Applies a frame; returns how many frames could not be applied because an earlier one was lost: 0 or 1.
    fn apply(&mut self, frame: &Frame) -> Result<u64> {
        self.wal_bytes += frame.size_bytes as u64;
        if self.waiting_bytes >= REPLAY_BYTES {
            self.flush()?;
        }
        self.waiting_bytes += frame.size_bytes;
        let corrupt = |reason| Error::Corrupt {
            file: self.shared.wal_directory().display().to_string(),
            position: 0,
            reason: format!("frame {}: {reason}", frame.sequence),
        };
        let catalogue = &self.shared.catalogue;
        match frame.change().map_err(corrupt)? {
            Change::Append { topic, partition, arrival_time_ms, batches } => {
                return self.append(topic, partition, arrival_time_ms, batches).map_err(corrupt_frame(frame));
            }
            Change::CreateTopic(topic) => self.create_topic(topic),
            Change::DeleteTopic(id) => {
                self.batches.retain(|(topic, _), _| *topic != id);
                if let Some(removed) = self.state.remove_topic(id) {
                    catalogue.remove_topic(&removed.topic.name);
                    self.deleted.extend(removed.partitions.into_iter().map(|partition| partition.shared));
                }
            }
            Change::CommitOffsets { group, offsets } => {
                let name = |topic: Uuid| self.state.topic(topic).map(|state| state.topic.name.clone());
                let named = offsets.into_iter().filter_map(|(topic, partition, committed)| {
                    Some((TopicPartition::new(name(topic)?, partition), committed))
                });
                catalogue.commit_offsets(&group, named);
            }
            Change::DeleteGroup(group) => catalogue.delete_group(&group),
            Change::ProducerIds(next) => {
                self.state.next_producer_id = self.state.next_producer_id.max(next);
                self.state.reserved_producer_ids = self.state.next_producer_id;
            }
        }
        Ok(0)
    }

    fn create_topic(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        let directory = self.shared.topics_directory();
        let partition = |name| {
            let disk = Arc::clone(&self.shared.disk);
            PartitionState::empty(Arc::new(Partition::new(disk, &directory, name, topic.id)))
        };
        let partitions = topic.topic_partitions().map(partition).collect();
        add_topic(self.shared, &mut self.state, topic, partitions);
    }

    fn append(&mut self, topic: Uuid, partition: i32, arrival_time_ms: i64, batches: Bytes) -> Result<u64, String> {
        let Some(found) = self.state.partition_by_id(topic, partition) else {
            tracing::error!(%topic, partition, "records of a topic whose creation was lost to damage are lost too");
            return Ok(1);
        };
        let name = found.shared.name.clone();
        for (header, bytes) in split_batches(batches)? {
            let next_offset = self.state.partition_by_id(topic, partition).map_or(0, |found| found.next_offset);
            if header.base_offset < next_offset {
                return Err(format!("offset {} of {name} is there already", header.base_offset));
            }
            if header.base_offset > next_offset {
                let to = header.base_offset;
                tracing::error!(partition = %name, from = next_offset, to, "records were lost to damage");
            }
            self.state.replay(topic, partition, &header, arrival_time_ms);
            let batch = TailBatch { header, arrival_time_ms, bytes };
            self.batches.entry((topic, partition)).or_default().push(batch);
        }
        Ok(0)
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        for ((topic, partition), batches) in self.batches.drain() {
            if let Some(partition) = self.state.partition_by_id(topic, partition) {
                partition.shared.move_to_segments(&batches, &self.shared.settings, &mut self.open)?;
            }
        }
        Ok(())
    }
}

fn corrupt_frame(frame: &Frame) -> impl FnOnce(String) -> Error {
    let sequence = frame.sequence;
    move |reason| Error::Corrupt {
        file: "the write-ahead log".to_owned(),
        position: 0,
        reason: format!("frame {sequence}: {reason}"),
    }
}
