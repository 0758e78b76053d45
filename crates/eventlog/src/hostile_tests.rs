//! Every decoder against bytes that were valid once: read or refused, never a panic, and what is read is what would be
//! written. The inputs are the same in every run; those that once did harm are in `tests/corpus`.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use model::{ManualClock, Metrics, SystemEntropy, TopicName, TopicPartition};

use crate::{
    Acks, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder, StoredBatch, TopicSettings, TopicSpec,
    admission::Admission,
    checkpoint::Checkpoint,
    disk::Disk,
    frame::{Change, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Frame},
    groups::GroupChange,
    record::{BatchHeader, HEADER_BYTES, place, split_batches},
    simulated_disk::SimulatedDisk,
    wal::{WAL_HEADER_BYTES, WalHeader},
    wal_scan::{Found, WalFile, WalScan},
};

mod mutation;
mod samples;

use mutation::{find, hold};
use samples::SALT;

fn root() -> PathBuf {
    PathBuf::from("/log")
}

/// Writes the checksums of batches that follow each other, as far as they can be told apart.
fn seal_batches(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Ok(header) = BatchHeader::parse(rest) {
        let size = header.size_bytes().min(rest.len());
        let (batch, behind) = rest.split_at_mut(size);
        let checksum = crc32c::crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&checksum);
        rest = behind;
    }
}

/// The door's promise: what passes it can be read, and its records have the offsets that they were given.
fn check_batches(bytes: &[u8]) {
    if let Ok(batches) = split_batches(Bytes::copy_from_slice(bytes)) {
        for (_, batch) in batches {
            let _ = StoredBatch { bytes: batch, arrival_time_ms: 0 }.records();
        }
    }
    let mut sealed = bytes.to_vec();
    seal_batches(&mut sealed);
    let settings = EventLogSettings { unfolded_bytes_max: 1 << 20, ..EventLogSettings::shipped() };
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    let admitted = Admission::new(&partition, sealed.into(), &TopicSettings::default(), &settings);
    let Ok(batches) = admitted.and_then(Admission::check_records) else { return };
    for (header, batch) in batches {
        let mut stored = batch.to_vec();
        place(&mut stored, 1000, 0);
        let records = StoredBatch { bytes: stored.into(), arrival_time_ms: 0 }.records().unwrap();
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (1000..1000 + i64::from(header.record_count)).collect::<Vec<_>>());
    }
}

#[test]
fn batches_are_refused_at_the_door_or_can_be_read() {
    hold("batch", samples::batches(), 4000, check_batches);
}

/// A frame of these bytes, with a length and a checksum that are right.
fn seal_frame(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    if sealed.len() >= FRAME_HEADER_BYTES {
        let length = u32::try_from(sealed.len() - 8).unwrap().to_be_bytes();
        sealed[..4].copy_from_slice(&length);
        let checksum = crc32c::crc32c_append(SALT, &sealed[8..]).to_be_bytes();
        sealed[4..8].copy_from_slice(&checksum);
        sealed.resize(sealed.len().next_multiple_of(FRAME_ALIGNMENT), 0);
    }
    sealed
}

fn check_frame(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), seal_frame(bytes)] {
        let Some(frame) = Frame::read(&bytes.into(), SALT) else { continue };
        let Ok(change) = frame.change() else { continue };
        let again = Frame::read(&samples::frame(&change).into(), SALT).unwrap().change().unwrap();
        assert_eq!(format!("{again:?}"), format!("{change:?}"));
        if let Change::Append { batches, .. } = change {
            let _ = split_batches(batches);
        }
    }
}

#[test]
fn frames_are_refused_or_read_as_they_would_be_written() {
    hold("frame", samples::changes().iter().map(samples::frame).collect(), 6000, check_frame);
}

fn check_checkpoint(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    if let Some(body) = sealed.len().checked_sub(4) {
        let checksum = crc32c::crc32c(&sealed[..body]).to_be_bytes();
        sealed[body..].copy_from_slice(&checksum);
    }
    for bytes in [bytes, &sealed[..]] {
        let Ok(read) = Checkpoint::from_bytes(bytes) else { continue };
        let again = Checkpoint::from_bytes(&read.to_bytes()).unwrap();
        assert_eq!((again.sequence, again.next_producer_id), (read.sequence, read.next_producer_id));
        assert_eq!(again.groups, read.groups);
        assert_eq!(again.topics.len(), read.topics.len());
        for (again, read) in again.topics.iter().zip(&read.topics) {
            assert_eq!(format!("{:?}", again.topic), format!("{:?}", read.topic));
            assert_eq!(again.partitions.len(), read.partitions.len());
            for (again, read) in again.partitions.iter().zip(&read.partitions) {
                assert_eq!((&again.producers, &again.segments), (&read.producers, &read.segments));
                assert_eq!((again.log_start_offset, again.next_offset), (read.log_start_offset, read.next_offset));
                assert_eq!(again.last_arrival_ms, read.last_arrival_ms);
            }
        }
    }
}

#[test]
fn checkpoints_with_their_groups_are_refused_or_read_as_they_would_be_written() {
    hold("checkpoint", samples::checkpoints(), 6000, check_checkpoint);
}

fn check_wal_header(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    for copy in sealed.chunks_exact_mut(WAL_HEADER_BYTES / 2) {
        let checksum = crc32c::crc32c(&copy[..28]).to_be_bytes();
        copy[28..].copy_from_slice(&checksum);
    }
    for bytes in [bytes, &sealed[..]] {
        if let Ok(Some(header)) = WalHeader::read(&root(), bytes) {
            assert_eq!(WalHeader::read(&root(), &header.to_bytes()).unwrap(), Some(header));
        }
    }
}

#[test]
fn headers_of_the_write_ahead_log_are_refused_or_read_as_they_would_be_written() {
    let sample = WalHeader { first_sequence: 7, salt: SALT }.to_bytes();
    hold("wal-header", vec![sample], 2000, check_wal_header);
}

/// However a file looks: its frames follow each other, and the scan comes to an end.
fn check_wal_file(bytes: &[u8]) {
    let disk = SimulatedDisk::new(&root());
    let path = root().join("00000000000000000001.wal");
    disk.create(&path).unwrap().write_all_at(bytes, 0).unwrap();
    let Ok(file) = WalFile::open(&disk, &path, 1) else { return };
    for window_bytes in [64, 1 << 16] {
        let (mut last, mut ended) = (0, 0);
        for found in WalScan::new(&disk, std::slice::from_ref(&file), 1, window_bytes) {
            assert_eq!(ended, 0, "something follows the end");
            match found.unwrap() {
                Found::Frame(frame) => {
                    assert!(frame.sequence > last, "{} follows {last}", frame.sequence);
                    last = frame.sequence;
                    let _ = frame.change();
                }
                Found::Damage { from, to, .. } => assert!(from <= to && to <= bytes.len() as u64),
                Found::End { at, .. } => {
                    let length = bytes.len().next_multiple_of(FRAME_ALIGNMENT).max(WAL_HEADER_BYTES);
                    assert!(at <= length as u64);
                    ended += 1;
                }
            }
        }
    }
}

#[test]
fn files_of_the_write_ahead_log_are_scanned_to_an_end() {
    hold("wal-file", vec![samples::wal_file()], 1500, check_wal_file);
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn open(disk: &SimulatedDisk) -> Arc<EmbeddedLog> {
    let settings = EventLogSettings {
        wal_file_bytes: 4096,
        index_interval_bytes: 200,
        segment_bytes: 4000,
        ..EventLogSettings::shipped()
    };
    let (disk, clock, entropy) = (Arc::new(disk.clone()), Arc::new(ManualClock::at(1_000)), Arc::new(SystemEntropy));
    EmbeddedLog::open_on(disk, &root(), settings, clock, entropy, Metrics::default(), None).unwrap()
}

const RECORDS: i64 = 60;

/// Whatever stands in the files beside a segment: every record is found, by offset and by time.
async fn check_reads(log: &EmbeddedLog) {
    let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
    for from in [0, 1, RECORDS / 2, RECORDS - 1] {
        let (mut offset, mut arrived_ms) = (from, i64::MIN);
        while offset < RECORDS {
            let read = log.read(&partition, offset, 300).await.unwrap();
            assert!(!read.batches.is_empty(), "nothing at {offset}");
            for batch in read.batches {
                assert_eq!((batch.base_offset(), batch.record_count()), (offset, 1));
                assert!(batch.arrival_time_ms >= arrived_ms, "arrival times do not decrease");
                (offset, arrived_ms) = (batch.next_offset(), batch.arrival_time_ms);
            }
        }
        let found = log.offset_at_time(&partition, 10 * from).await.unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp_ms), (from, 10 * from));
    }
}

#[test]
fn files_beside_a_segment_cost_nothing_however_they_look() {
    let disk = SimulatedDisk::new(&root());
    let log = open(&disk);
    run(async {
        let name = TopicName::new("t").unwrap();
        log.create_topic(TopicSpec::new(name.clone(), 1)).await.unwrap();
        for number in 0..RECORDS {
            let record = Record { timestamp_ms: 10 * number, value: Some(vec![0; 100].into()), ..Record::default() };
            let batch = RecordBatchBuilder::default().push(record).build();
            log.append(&TopicPartition::new(name.clone(), 0), batch, Acks::Durable).await.unwrap();
        }
        check_reads(&log).await;
        log.close().await.unwrap();
    });
    drop(log);
    let topics = root().join("topics");
    let folder = topics.join(&disk.list(&topics).unwrap()[0]);
    for kind in ["index", "timeindex", "arrivals"] {
        let path = folder.join(format!("{:020}.{kind}", 0));
        let sample = disk.read(&path).unwrap();
        assert!(!sample.is_empty(), "{kind}");
        hold(kind, vec![sample], 150, |bytes| {
            let disk = disk.after_kill();
            let file = disk.open(&path).unwrap();
            file.truncate(0).and_then(|()| file.write_all_at(bytes, 0)).unwrap();
            let log = open(&disk);
            run(check_reads(&log));
        });
    }
}

/// A decoder with the mistakes that these tests are for is found out.
#[test]
fn what_is_planted_is_found() {
    let seeds = samples::batches();
    // Believes a length.
    let believes = |bytes: &[u8]| {
        if let Ok(header) = BatchHeader::parse(bytes) {
            let body = &bytes[HEADER_BYTES..header.size_bytes()];
            assert!(body.len() < bytes.len());
        }
    };
    assert!(find(&seeds, 4000, believes).is_err());
    // Takes for granted what nobody has checked: that a time is not negative.
    let trusts = |bytes: &[u8]| {
        let Some(frame) = Frame::read(&seal_frame(bytes).into(), SALT) else { return };
        if let Ok(Change::Group(GroupChange::Expire { until_ms, .. })) = frame.change() {
            u64::try_from(until_ms).unwrap();
        }
    };
    let frames: Vec<_> = samples::changes().iter().map(samples::frame).collect();
    assert!(find(&frames, 6000, trusts).is_err());
}
