//! From what a crash left to a log that works: the checkpoint, then every frame after it.
//!
//! In three steps: `survey` reads everything, `plan` decides, and only then something is changed on disk: what a
//! checkpoint names is taken over (`restore`), the frames after it are applied (`replay`), and a new file of the
//! write-ahead log is begun.
//!
//! What must hold: every acknowledged change is there and none twice; nothing becomes visible that a second crash
//! could take back (what was replayed is synced first); opening never damages what it cannot read, and a log that is
//! not opened is left as it was, byte for byte.

use std::{ops::Range, path::Path, sync::Arc};

use crate::{
    damage::Damage,
    log::{Result, io_error},
    open_log::OpenLog,
    open_segments::OpenSegments,
    partition::Partition,
    partition_directory::{remove_partition, topic_id_of},
    state::State,
    wal::Wal,
    wal_scan::{Found, WINDOW_BYTES, WalFile, WalScan},
};

mod first_file;
mod plan;
mod replay;
mod restore;
mod survey;

use plan::Plan;
use replay::Replay;
use restore::restore;
use survey::Survey;

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
    /// What was found damaged.
    pub(crate) damage: Vec<Damage>,
}

/// Brings `shared` to where the log stopped.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt) when what is there does not fit together: then nothing was changed;
/// [`Error::Io`](crate::Error::Io).
pub(crate) fn recover(shared: &OpenLog) -> Result<Recovered> {
    let mut plan = Plan::of(Survey::of(shared)?, &shared.directory)?;
    report(&plan);
    make_directories(shared)?;
    keep_damaged(shared, &plan)?;
    let (covered, files) = (plan.checkpoint.sequence, std::mem::take(&mut plan.files));
    let adoptions = plan.partitions.iter_mut().filter_map(|(id, plan)| Some((*id, plan.adoption.take()?))).collect();
    let state = restore(shared, std::mem::take(&mut plan.checkpoint), &mut plan.partitions)?;
    // The other half is for readers, connections, and everything else in the process.
    let open = OpenSegments::new(shared.settings.open_segments_max.min(shared.disk.open_files_max() / 2));
    let mut replay = Replay::new(shared, state, open, plan.partitions, adoptions);
    let begin = files.first().map_or(covered + 1, |file| file.first_sequence);
    for found in WalScan::new(&*shared.disk, &files, begin, WINDOW_BYTES) {
        match found? {
            Found::Frame(frame) if frame.sequence > covered => replay.apply(&frame)?,
            // What else there is was surveyed.
            Found::Frame(_) | Found::Damage { .. } | Found::End { .. } => {}
        }
    }
    replay.end()?;
    cut_off(shared, &files, plan.wal.end)?;
    remove_deleted(shared, &plan.wal)?;
    shared.metrics.log_quarantined_frames.inc_by(plan.frames_lost);
    let mut repaired = false;
    for partition in replay.state.topics().flat_map(|topic| &topic.partitions) {
        partition.shared.recovered_to(partition.next_offset);
        repaired |= partition.shared.was_repaired();
    }
    let (directory, next_sequence) = (shared.wal_directory(), plan.wal.next_sequence.max(covered + 1));
    let (disk, entropy) = (Arc::clone(&shared.disk), Arc::clone(&shared.entropy));
    let wal = Wal::create(disk, entropy, &directory, shared.settings.wal_file_bytes, next_sequence)?;
    // After damage the next checkpoint comes at once, so that it is not reported again at every start.
    let urgent = plan.frames_lost > 0 || repaired;
    let wal_bytes = if urgent { shared.settings.checkpoint_wal_bytes } else { replay.wal_bytes };
    let Replay { state, open, deleted, .. } = replay;
    Ok(Recovered { state, wal, wal_bytes, open, deleted, damage: plan.damage })
}

/// Says what was found that is not as it should be.
fn report(plan: &Plan) {
    const NAMED_MAX: usize = 10;
    if let Some(first) = plan.strays.first() {
        let named: Vec<_> = plan.strays.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
        tracing::warn!(
            count = plan.strays.len(), first = %first.display(), named = named.join(", "),
            "there are files that are not the log's: they are left alone, and may be taken away"
        );
    }
    for damage in &plan.damage {
        let partition = damage.partition.as_ref().map(ToString::to_string);
        tracing::error!(file = damage.file, partition, reason = damage.reason, "the log is damaged");
    }
}

/// Copies what is bad, or is cut off and stands nowhere else.
fn keep_damaged(shared: &OpenLog, plan: &Plan) -> Result<()> {
    for damaged in plan.wal.damages.iter().filter(|damaged| !damaged.bytes.is_empty()) {
        if let Some(file) = plan.files.get(damaged.file) {
            set_aside(shared, &file.path, &damaged.bytes)?;
        }
    }
    for (path, bytes) in plan.partitions.values().filter_map(|partition| partition.set_aside.as_ref()) {
        set_aside(shared, path, bytes)?;
    }
    Ok(())
}

/// Removes what a crash left of topics whose deletion the checkpoint includes.
fn remove_deleted(shared: &OpenLog, wal: &survey::WalSurvey) -> Result<()> {
    let topics = shared.topics_directory();
    for name in shared.disk.list(&topics).map_err(io_error("list", &topics))? {
        if topic_id_of(&name).is_some_and(|id| wal.deleted_before.contains(&id)) {
            remove_partition(&*shared.disk, &topics.join(&name))?;
        }
    }
    Ok(())
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

/// Keeps bytes for whoever wants to look at them.
fn set_aside(shared: &OpenLog, file: &Path, bytes: &Range<u64>) -> Result<()> {
    let directory = shared.directory.join("quarantine");
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = directory.join(format!("{name}-{}", bytes.start));
    tracing::error!(file = %file.display(), from = bytes.start, to = bytes.end, kept_in = %path.display(), "bytes are damaged");
    let source = shared.disk.open(file).map_err(io_error("open", file))?;
    shared.disk.create_directory(&directory).map_err(io_error("create", &directory))?;
    let copy = shared.disk.create(&path).map_err(io_error("create", &path))?;
    for at in bytes.clone().step_by(WINDOW_BYTES) {
        let mut window = vec![0; usize::try_from(bytes.end - at).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES))];
        source.read_exact_at(&mut window, at).map_err(io_error("read", file))?;
        copy.write_all_at(&window, at - bytes.start).map_err(io_error("write", &path))?;
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
