//! What becomes of what was found on disk: a refusal, or what to do with each file.
//!
//! What must hold: this decides and does nothing; a log is opened only if what is there fits together; whatever of a
//! file is not covered by something else is kept.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    path::{Path, PathBuf},
};

use model::Offset;

use super::survey::{PartitionId, PartitionSurvey, Survey, WalSurvey};
use crate::{
    checkpoint::{Checkpoint, PartitionCheckpoint},
    damage::{Damage, DamagedPart},
    log::{Error, Result},
    record::BatchHeader,
    segment::{SegmentExtent, Unsound, parse_file_name, path_of},
    wal_scan::WalFile,
};

/// How to open the log.
pub(super) struct Plan {
    pub(super) checkpoint: Checkpoint,
    pub(super) files: Vec<WalFile>,
    pub(super) wal: WalSurvey,
    pub(super) partitions: HashMap<PartitionId, PartitionPlan>,
    pub(super) strays: Vec<PathBuf>,
    /// What is to be told.
    pub(super) damage: Vec<Damage>,
    /// How many frames are missing.
    pub(super) frames_lost: u64,
}

/// What to do with a partition.
#[derive(Debug, Default)]
pub(super) struct PartitionPlan {
    /// Those of the checkpoint, and those that were begun after it and are kept.
    pub(super) segments: Vec<SegmentPlan>,
    pub(super) adoption: Option<Adoption>,
    /// Files of segments that are not needed: retention has taken them away, or they are written again.
    pub(super) removed: Vec<PathBuf>,
    /// Bytes that are cut off and stand nowhere else.
    pub(super) set_aside: Option<(PathBuf, Range<u64>)>,
}

#[derive(Debug)]
pub(super) struct SegmentPlan {
    pub(super) extent: SegmentExtent,
    /// What lies behind is cut off.
    pub(super) kept_bytes: u64,
    pub(super) unsound: Option<Unsound>,
}

/// Batches in segments that are kept where they are, because the write-ahead log has not all of them.
#[derive(Debug)]
pub(super) struct Adoption {
    /// The base offset of the first segment that has some.
    pub(super) begin: Offset,
    /// Batches before this offset are not written again.
    pub(super) end: Offset,
    /// Those without a frame, in order.
    pub(super) missing: VecDeque<BatchHeader>,
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the log cannot be opened without harm.
    pub(super) fn of(survey: Survey, directory: &Path) -> Result<Self> {
        let Survey { checkpoint, files, wal, partitions: found, strays } = survey;
        check_reach(&checkpoint, &files, &wal, directory)?;
        let mut damage = Vec::new();
        let mut frames_lost = wal.orphans;
        for damaged in wal.damages.iter().filter(|damaged| damaged.frames > 0) {
            frames_lost += damaged.frames;
            let Range { start, end } = damaged.bytes;
            damage.push(Damage {
                part: DamagedPart::WriteAheadLog,
                partition: None,
                file: files.get(damaged.file).map(|file| file.path.display().to_string()).unwrap_or_default(),
                reason: format!("bytes {start} to {end} had been synced and are bad: {} changes", damaged.frames),
            });
        }
        let nothing = PartitionCheckpoint::default();
        let of_checkpoint: HashMap<PartitionId, &PartitionCheckpoint> = checkpoint
            .topics
            .iter()
            .flat_map(|entry| (0..).zip(&entry.partitions).map(|(index, from)| ((entry.topic.id, index), from)))
            .collect();
        let mut partitions = HashMap::new();
        for (id, survey) in found {
            let from = of_checkpoint.get(&id).copied().unwrap_or(&nothing);
            let batches = survey.younger.missing.len();
            if batches > 0 {
                damage.push(Damage {
                    part: DamagedPart::WriteAheadLog,
                    partition: Some(survey.name.clone()),
                    file: directory.join("wal").display().to_string(),
                    reason: format!("it lacks {batches} batches of the partition, which are kept from its segments"),
                });
                frames_lost += if wal.damages.is_empty() { batches as u64 } else { 0 };
            }
            partitions.insert(id, PartitionPlan::of(survey, from));
        }
        Ok(Self { checkpoint, files, wal, partitions, strays, damage, frames_lost })
    }
}

/// Whether the write-ahead log reaches up to the checkpoint.
fn check_reach(checkpoint: &Checkpoint, files: &[WalFile], wal: &WalSurvey, directory: &Path) -> Result<()> {
    let (covered, last) = (checkpoint.sequence, wal.next_sequence.saturating_sub(1));
    if last >= covered || files.is_empty() || !wal.damages.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "the write-ahead log ends with frame {last}, but the checkpoint includes frame {covered}: it is older than the \
         checkpoint, or damaged; put back both from one copy; nothing was changed"
    );
    Err(Error::corrupt(&directory.join("wal"), 0, reason))
}

impl PartitionPlan {
    fn of(survey: PartitionSurvey, from: &PartitionCheckpoint) -> Self {
        let PartitionSurvey { directory, files, logs, younger, .. } = survey;
        let kept = |base_offset, log_bytes: u64| {
            let piece = younger.pieces.iter().find(|(base, _)| *base == base_offset);
            piece.map_or(log_bytes, |(_, bytes)| *bytes)
        };
        let of_extent = |extent: &SegmentExtent| {
            let reason = match logs.get(&extent.base_offset) {
                None => Some((0, "the file is missing".to_owned())),
                Some(Err(reason)) => Some((0, reason.clone())),
                Some(Ok(found)) if *found < extent.log_bytes => {
                    let says = format!("the file has {found} bytes, the checkpoint says {}", extent.log_bytes);
                    Some((*found, says))
                }
                Some(Ok(_)) => None,
            };
            let unsound = reason.map(|(log_bytes, reason)| Unsound { log_bytes, reason });
            SegmentPlan { extent: *extent, kept_bytes: kept(extent.base_offset, extent.log_bytes), unsound }
        };
        let mut segments: Vec<SegmentPlan> = from.segments.iter().map(of_extent).collect();
        let is_known = |base: &Offset| from.segments.iter().any(|extent| extent.base_offset == *base);
        let begun = younger.pieces.iter().filter(|(base, _)| !is_known(base));
        segments.extend(begun.map(|(base, bytes)| SegmentPlan {
            extent: SegmentExtent::empty(*base),
            kept_bytes: *bytes,
            unsound: None,
        }));
        let is_sound = segments.iter().all(|segment| segment.unsound.is_none());
        let first = from.segments.first().map_or(from.next_offset, |extent| extent.base_offset);
        let is_superfluous = |name: &&String| {
            let Some((base, kind)) = parse_file_name(name) else { return false };
            let is_kept = segments.iter().any(|segment| segment.extent.base_offset == base);
            let is_younger = base >= from.next_offset && !is_kept;
            is_younger || (is_sound && ((base < first && !is_kept) || kind.ends_with(".new")))
        };
        let removed = files.iter().filter(is_superfluous).map(|name| directory.join(name)).collect();
        let set_aside = younger.unsound.and_then(|(path, end)| {
            let size = logs.iter().find(|(base, _)| path_of(&directory, **base, "log") == path)?.1.as_ref().ok()?;
            Some((path, end..*size)).filter(|(_, bytes)| !bytes.is_empty())
        });
        let end = younger.missing.last().map(BatchHeader::next_offset);
        let adoption = end.zip(younger.pieces.first()).map(|(end, (begin, _))| Adoption {
            begin: *begin,
            end,
            missing: younger.missing.into(),
        });
        Self { segments, adoption, removed, set_aside }
    }
}
