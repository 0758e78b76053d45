//! The name of a partition's directory, and what in there is the log's.
//!
//! What must hold: nothing is removed whose name the log does not give.

use std::path::Path;

use model::TopicPartition;
use uuid::Uuid;

use crate::{
    disk::Disk,
    log::{Result, io_error},
    segment::parse_file_name,
};

/// The part of a topic's name that goes into a directory's: the rest would not fit beside number and id.
const NAME_CHARS_MAX: usize = 200;

/// `topic-partition.id`: readable, and never the same for two topics of one name.
pub(crate) fn directory_name(name: &TopicPartition, topic_id: Uuid) -> String {
    let topic: String = name.topic.as_str().chars().take(NAME_CHARS_MAX).collect();
    format!("{topic}-{}.{}", name.partition, topic_id.simple())
}

/// The topic's id in a directory's name; `None` when it is not a partition's directory.
pub(crate) fn topic_id_of(directory_name: &str) -> Option<Uuid> {
    let (partition, id) = directory_name.rsplit_once('.')?;
    let (_, number) = partition.rsplit_once('-')?;
    number.parse::<i32>().ok()?;
    (id.len() == 32).then(|| Uuid::try_parse(id).ok())?
}

/// Removes the segments in a partition's directory, and the directory, unless something else is in there.
pub(crate) fn remove_partition(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let names = disk.list(directory).map_err(io_error("list", directory))?;
    for name in names.iter().filter(|name| parse_file_name(name).is_some()) {
        let path = directory.join(name);
        disk.remove_file(&path).map_err(io_error("remove", &path))?;
    }
    disk.remove_directory(directory).map_err(io_error("remove", directory))
}
