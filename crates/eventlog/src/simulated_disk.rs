//! A disk in memory that can fail and lose power: for the crash tests.
//!
//! It keeps, beside what programs see, what is durable, and the writes and name changes in between. A power cut keeps
//! any part of the unsynced writes, sector by sector, in any order, and for each directory a beginning of its unsynced
//! name changes (file systems journal those in order).
//!
//! What it assumes: a sector of 512 bytes is written whole or not at all; a synced write stays; a sync of a file does
//! not make its name durable (many file systems are kinder).

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::ManualClock;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

mod dice;

pub(crate) use dice::Dice;

const SECTOR_BYTES: usize = 512;

/// What happens when the chosen operation is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Power fails: this and everything after it does not happen.
    PowerCut,
    /// If the operation is a sync it fails, once, and what it should have made durable is gone.
    SyncError,
    /// The first sync from this operation on fails, and all after it.
    EverySyncError,
    /// From this operation on there is no space: nothing is made, and of each write only the first half arrives.
    NoSpace,
    /// From this operation on nothing can be changed.
    ReadOnly,
    /// From this operation on no file can be opened or made.
    NoFiles,
}

/// How much of the unsynced writes a power cut keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survivors {
    Nothing,
    Everything,
    /// Chosen by a generator with this seed.
    Random(u64),
}

#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    nodes: HashMap<u64, Node>,
    next_node: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Name changes that are not durable, by directory: the name, and what it stands for afterwards.
    name_changes: BTreeMap<PathBuf, Vec<(PathBuf, Option<u64>)>>,
    operations: u64,
    /// How many operations a fault has refused that lasts.
    refusals: u64,
    syncs: u64,
    largest_read_bytes: usize,
    /// What was ever made or got its name, in order.
    made: Vec<PathBuf>,
    /// A clock that every sync sets forward, and by how many milliseconds.
    sync_takes: Option<(Arc<ManualClock>, u32)>,
    fault: Option<(u64, Fault)>,
    dead: bool,
}

#[derive(Clone, Default)]
struct Node {
    is_directory: bool,
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

impl SimulatedDisk {
    /// An empty disk on which `root` exists.
    pub(crate) fn new(root: &Path) -> Self {
        let mut contents = Contents::default();
        for path in root.ancestors() {
            let node = contents.add_node(true);
            contents.names.insert(path.to_owned(), node);
        }
        contents.durable_names = contents.names.clone();
        Self(Arc::new(Mutex::new(contents)))
    }

    /// Lets `fault` happen at the operation with this number, counted from 0.
    pub(crate) fn plan(&self, operation: u64, fault: Fault) {
        self.0.lock().fault = Some((operation, fault));
    }

    /// Ends what was planned.
    pub(crate) fn heal(&self) {
        self.0.lock().fault = None;
    }

    /// Lets every sync take so many milliseconds of a clock.
    pub(crate) fn let_syncs_take(&self, clock: &Arc<ManualClock>, time_ms: u32) {
        self.0.lock().sync_takes = Some((Arc::clone(clock), time_ms));
    }

    /// How many files whose names end so were ever made.
    pub(crate) fn made(&self, extension: &str) -> usize {
        self.0.lock().made.iter().filter(|path| path.extension().is_some_and(|found| found == extension)).count()
    }

    /// How many operations were refused since the disk is full or read-only, or no file can be opened.
    pub(crate) fn refusals(&self) -> u64 {
        self.0.lock().refusals
    }

    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The most that was read at once.
    pub(crate) fn largest_read_bytes(&self) -> usize {
        self.0.lock().largest_read_bytes
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// The disk as a power cut leaves it.
    pub(crate) fn after_power_cut(&self, survivors: Survivors) -> Self {
        let contents = self.0.lock();
        let mut dice = Dice::new(survivors);
        let mut names = contents.durable_names.clone();
        for changes in contents.name_changes.values() {
            for (path, node) in &changes[..dice.prefix(changes.len())] {
                match node {
                    Some(node) => names.insert(path.clone(), *node),
                    None => names.remove(path),
                };
            }
        }
        // A name whose directory is gone cannot be reached.
        let reachable: BTreeMap<_, _> = names
            .iter()
            .filter(|(path, _)| path.ancestors().all(|directory| names.contains_key(directory)))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let nodes = contents.nodes.iter().map(|(id, node)| (*id, node.after_power_cut(&mut dice))).collect();
        Self(Arc::new(Mutex::new(Contents {
            nodes,
            next_node: contents.next_node,
            names: reachable.clone(),
            durable_names: reachable,
            ..Contents::default()
        })))
    }

    /// The disk as the death of the process leaves it: everything written is there, and still not durable.
    pub(crate) fn after_kill(&self) -> Self {
        let contents = self.0.lock();
        Self(Arc::new(Mutex::new(Contents {
            nodes: contents.nodes.clone(),
            next_node: contents.next_node,
            names: contents.names.clone(),
            durable_names: contents.durable_names.clone(),
            name_changes: contents.name_changes.clone(),
            ..Contents::default()
        })))
    }

    /// Turns one bit of a file around, on the medium.
    pub(crate) fn flip(&self, path: &Path, bit: usize) {
        let mut contents = self.0.lock();
        let id = contents.names[path];
        let node = contents.nodes.get_mut(&id).unwrap();
        for bytes in [&mut node.bytes, &mut node.durable] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

impl Node {
    fn apply(&mut self, change: Change) {
        match &change {
            Change::Write(position, bytes) => put(&mut self.bytes, usize::try_from(*position).unwrap(), bytes),
            Change::Resize(size) => self.bytes.resize(usize::try_from(*size).unwrap(), 0),
        }
        self.unsynced.push(change);
    }

    fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Resize(size) if dice.keep() => bytes.resize(usize::try_from(*size).unwrap(), 0),
                Change::Resize(_) => {}
                Change::Write(position, written) => {
                    let position = usize::try_from(*position).unwrap();
                    let mut from = 0;
                    while from < written.len() {
                        let sector_end = (position + from + 1).next_multiple_of(SECTOR_BYTES) - position;
                        let to = sector_end.min(written.len());
                        if dice.keep() {
                            put(&mut bytes, position + from, &written[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        Self { is_directory: self.is_directory, durable: bytes.clone(), bytes, unsynced: Vec::new() }
    }
}

impl Contents {
    fn add_node(&mut self, is_directory: bool) -> u64 {
        self.next_node += 1;
        self.nodes.insert(self.next_node, Node { is_directory, ..Node::default() });
        self.next_node
    }

    /// Counts an operation that changes the disk; fails when the power is gone.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(io::Error::other("the power is gone"));
        }
        let is_due = |(operation, fault): &(u64, Fault)| match fault {
            Fault::EverySyncError | Fault::NoSpace | Fault::ReadOnly | Fault::NoFiles => *operation <= self.operations,
            Fault::PowerCut | Fault::SyncError => *operation == self.operations,
        };
        let fault = self.fault.filter(is_due).map(|(_, fault)| fault);
        self.operations += 1;
        if fault == Some(Fault::PowerCut) {
            self.dead = true;
            return Err(io::Error::other("the power fails"));
        }
        if fault == Some(Fault::ReadOnly) {
            self.refusals += 1;
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(fault)
    }

    /// Counts an operation that takes space.
    fn begin_growth(&mut self) -> io::Result<()> {
        match self.begin()? {
            Some(Fault::NoSpace) => Err(self.full()),
            _ => Ok(()),
        }
    }

    fn full(&mut self) -> io::Error {
        self.refusals += 1;
        io::ErrorKind::StorageFull.into()
    }

    /// Fails when no file can be opened.
    fn begin_open(&mut self) -> io::Result<()> {
        match self.fault {
            Some((operation, Fault::NoFiles)) if operation <= self.operations => {
                self.refusals += 1;
                Err(too_many_files())
            }
            _ => Ok(()),
        }
    }

    fn begin_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if let Some((clock, time_ms)) = &self.sync_takes {
            clock.advance(*time_ms);
        }
        match self.begin()? {
            Some(Fault::SyncError | Fault::EverySyncError) => Err(io::Error::other("the sync fails")),
            _ => Ok(()),
        }
    }

    fn rename_to(&mut self, path: &Path, node: Option<u64>) {
        self.made.extend(node.map(|_| path.to_owned()));
        match node {
            Some(node) => self.names.insert(path.to_owned(), node),
            None => self.names.remove(path),
        };
        let directory = path.parent().unwrap().to_owned();
        self.name_changes.entry(directory).or_default().push((path.to_owned(), node));
    }

    fn node(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.begin_growth()?;
        let missing: Vec<_> = path.ancestors().filter(|path| !contents.names.contains_key(*path)).collect();
        for path in missing.into_iter().rev() {
            let node = contents.add_node(true);
            contents.rename_to(path, Some(node));
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut contents = self.0.lock();
        contents.begin_open()?;
        let inside = contents.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.map(|name| name.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut contents = self.0.lock();
        contents.begin_growth()?;
        contents.begin_open()?;
        contents.node(path.parent().unwrap())?;
        let node = match contents.node(path) {
            Ok(node) => {
                let existing = contents.nodes.get_mut(&node).unwrap();
                existing.bytes.clear();
                existing.unsynced.push(Change::Resize(0));
                node
            }
            Err(_) => {
                let node = contents.add_node(false);
                contents.rename_to(path, Some(node));
                node
            }
        };
        Ok(Arc::new(SimulatedFile { disk: self.clone(), node }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut contents = self.0.lock();
        contents.begin_open()?;
        let node = contents.node(path)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.begin()?;
        assert_eq!(from.parent(), to.parent(), "the log renames within a directory only");
        let node = contents.node(from)?;
        contents.rename_to(to, Some(node));
        contents.rename_to(from, None);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.begin()?;
        if contents.node(path).is_ok() {
            contents.rename_to(path, None);
        }
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.begin()?;
        let is_empty = contents.names.keys().all(|name| name.parent() != Some(path));
        if is_empty && contents.node(path).is_ok() {
            contents.rename_to(path, None);
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut contents = self.0.lock();
        contents.begin_open()?;
        contents.begin_sync()?;
        for (name, node) in contents.name_changes.remove(path).unwrap_or_default() {
            match node {
                Some(node) => contents.durable_names.insert(name, node),
                None => contents.durable_names.remove(&name),
            };
        }
        Ok(())
    }

    fn open_files_max(&self) -> usize {
        usize::MAX
    }
}

fn too_many_files() -> io::Error {
    rustix::io::Errno::MFILE.into()
}

struct SimulatedFile {
    disk: SimulatedDisk,
    node: u64,
}

impl SimulatedFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut contents = self.disk.0.lock();
        let was_dead = contents.dead;
        let begun = contents.begin();
        let dies_now = contents.dead && !was_dead;
        let node = contents.nodes.get_mut(&self.node).unwrap();
        match (begun, change) {
            (Ok(Some(Fault::NoSpace)), Change::Write(position, mut bytes)) => {
                bytes.truncate(bytes.len() / 2);
                node.apply(Change::Write(position, bytes));
                Err(contents.full())
            }
            (Ok(Some(Fault::NoSpace)), Change::Resize(size)) if size > node.bytes.len() as u64 => Err(contents.full()),
            (Ok(_), change) => {
                node.apply(change);
                Ok(())
            }
            (Err(error), change) => {
                // If the power failed in the middle of this write, parts of it may be on the disk.
                node.unsynced.extend(dies_now.then_some(change));
                Err(error)
            }
        }
    }
}

impl DiskFile for SimulatedFile {
    fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        let mut contents = self.disk.0.lock();
        contents.largest_read_bytes = contents.largest_read_bytes.max(bytes.len());
        let from = usize::try_from(position).unwrap();
        let found = contents.nodes[&self.node].bytes.get(from..from + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.change(Change::Write(position, bytes.to_vec()))
    }

    fn preallocate(&self, size: u64) -> io::Result<()> {
        self.change(Change::Resize(size))
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.change(Change::Resize(size))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().nodes[&self.node].bytes.len() as u64)
    }

    #[expect(clippy::disallowed_methods, reason = "a disk takes its time")]
    fn sync(&self) -> io::Result<()> {
        // A sync takes a while, so that requests gather and commits of several frames are made.
        std::thread::sleep(std::time::Duration::from_micros(20));
        let mut contents = self.disk.0.lock();
        let synced = contents.begin_sync();
        if contents.dead {
            return synced; // What was not synced may survive, or not.
        }
        let node = contents.nodes.get_mut(&self.node).unwrap();
        if synced.is_ok() {
            node.durable = node.bytes.clone();
        }
        // After a failed sync the pages count as clean, as on Linux: another sync would succeed and change nothing.
        node.unsynced.clear();
        synced
    }
}

fn put(bytes: &mut Vec<u8>, position: usize, written: &[u8]) {
    let end = position + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[position..end].copy_from_slice(written);
}
