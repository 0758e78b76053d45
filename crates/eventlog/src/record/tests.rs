//! Every compression, hostile lengths, and round trips through a batch.

use bytes::Bytes;

use super::{check_records, compression::Compression, partitioner::murmur2, *};

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn sample() -> Vec<Record> {
    let large = Bytes::from(b"abcdefghij".repeat(20_000));
    let header =
        |name: &'static str, value: Option<&'static str>| Header { name: name.into(), value: value.map(Bytes::from) };
    vec![
        Record { timestamp_ms: 1_000, key: Some("k".into()), value: Some("v".into()), ..Record::default() },
        Record {
            offset: 1,
            timestamp_ms: 900,
            value: Some(large),
            headers: vec![header("h", None)],
            ..Record::default()
        },
        Record { offset: 2, timestamp_ms: 5_000, key: Some(Bytes::new()), ..Record::default() },
        Record {
            offset: 3,
            timestamp_ms: i64::MIN,
            headers: vec![header("a", Some("1")), header("", Some(""))],
            ..Record::default()
        },
    ]
}

fn build(compression: Compression, records: &[Record]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(compression);
    for record in records {
        builder.push(record.clone());
    }
    builder.build()
}

fn stored(bytes: Bytes) -> StoredBatch {
    StoredBatch { bytes, arrival_time_ms: 0 }
}

/// Replaces the body of a batch and mends length and checksum, as a hostile producer would.
fn with_body(batch: &Bytes, attributes: i16, body: &[u8]) -> Bytes {
    let mut bytes = batch[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(body);
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    header::seal(&mut bytes);
    bytes.into()
}

#[test]
fn records_come_back_from_every_compression() {
    for compression in ALL {
        let batch = build(compression, &sample());
        let header = BatchHeader::parse(&batch).unwrap();
        assert!(header.crc_is_valid(&batch), "{compression:?}");
        assert_eq!(header.compression(), Ok(compression));
        assert_eq!((header.record_count, header.last_offset_delta, header.max_timestamp_ms), (4, 3, 5_000));
        assert_eq!(header.size_bytes(), batch.len());
        assert_eq!(stored(batch).records().unwrap(), sample(), "{compression:?}");
    }
}

#[test]
fn offsets_are_absolute_once_a_batch_is_placed() {
    let mut bytes = build(Compression::Zstd, &sample()).to_vec();
    place(&mut bytes, 40, 7);
    let batch = stored(bytes.into());
    assert!(batch.header().unwrap().crc_is_valid(&batch.bytes), "placing a batch does not touch its checksum");
    assert_eq!((batch.base_offset(), batch.next_offset(), batch.record_count()), (40, 44, 4));
    assert_eq!(batch.header().unwrap().leader_epoch, 7);
    let offsets: Vec<_> = batch.records().unwrap().iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [40, 41, 42, 43]);
}

#[test]
fn raw_snappy_is_read_as_well_as_framed() {
    let plain = build(Compression::None, &sample());
    let raw = snap::raw::Encoder::new().compress_vec(&plain[HEADER_BYTES..]).unwrap();
    assert_eq!(stored(with_body(&plain, 2, &raw)).records().unwrap(), sample());
}

#[test]
fn log_append_time_is_every_records_time() {
    let plain = build(Compression::None, &sample());
    let records = stored(with_body(&plain, 1 << 3, &plain[HEADER_BYTES..])).records().unwrap();
    assert!(records.iter().all(|record| record.timestamp_ms == 5_000));
}

#[test]
fn a_batch_that_unfolds_too_far_is_an_error() {
    let plain = vec![0; 1 << 20];
    for compression in ALL.into_iter().skip(1) {
        let packed = Bytes::from(compression.compress(&plain).unwrap());
        assert_eq!(compression.decompress(&packed, 1 << 20).unwrap().len(), 1 << 20, "{compression:?}");
        let error = compression.decompress(&packed, (1 << 20) - 1).unwrap_err();
        assert!(error.contains("more than 1048575 bytes"), "{compression:?}: {error}");
    }
    // Four bytes that claim to be a gigabyte.
    let claim = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x04]);
    assert!(Compression::Snappy.decompress(&claim, usize::MAX).unwrap_err().contains("claim"));
}

#[test]
fn an_impossible_header_is_refused() {
    let good = build(Compression::None, &sample());
    let check = |at: usize, bytes: &[u8], expected: &str| {
        let mut bad = good.to_vec();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        let error = BatchHeader::parse(&bad).unwrap_err();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    check(16, &[1], "v1 is not supported");
    check(8, &48_i32.to_be_bytes(), "a batch length of 48");
    check(8, &(-1_i32).to_be_bytes(), "a batch length of -1");
    assert!(BatchHeader::parse(&good[..60]).unwrap_err().contains("60 bytes"));
}

#[test]
fn damage_never_panics_and_never_passes_the_checksum() {
    for compression in ALL {
        let good = build(compression, &sample()[..1]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let bad = stored(bad.into());
            let _ = bad.records();
            let outside_checksum = bit / 8 < 8 || (12..16).contains(&(bit / 8));
            let passes = bad.header().is_ok_and(|header| header.crc_is_valid(&bad.bytes));
            assert_eq!(passes, outside_checksum, "bit {bit} of {compression:?}");
        }
        for length in 0..good.len() {
            assert!(stored(good.slice(..length)).records().is_err());
        }
    }
}

#[test]
fn damaged_records_say_what_is_wrong() {
    let plain = build(Compression::None, &sample()[..1]);
    let check = |body: &[u8], expected: &str| {
        let error = stored(with_body(&plain, 0, body)).records().unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    check(&[], "1 records do not fit in 0 bytes");
    check(&[0xff; 12], "a number does not end");
    check(&[14, 0, 0, 0, 0, 0, 0], "it needs 7 bytes, 6 are left");
    check(&[12, 0, 0, 0, 10, 0, 0], "it needs 5 bytes, 2 are left");
    check(&[12, 0, 0, 0, 0, 0, 0, 0], "bytes after the last record");
    check(&[12, 0, 0, 2, 0, 0, 0], "an offset delta of 1 is not one of the next, 0..=0");
    check(&[12, 0, 0, 0, 0, 0, 8], "4 headers do not fit");
    check(&[14, 0, 0, 0, 0, 0, 0, 9], "shorter than its length");
    let unknown = stored(with_body(&plain, 5, &[])).records().unwrap_err().to_string();
    assert!(unknown.contains("no compression codec 5"), "{unknown}");
}

/// Three records of eight bytes each; the offset delta of each is in its fourth byte.
fn three() -> Bytes {
    let record = |value: &'static str| Record { timestamp_ms: 5, value: Some(value.into()), ..Record::default() };
    build(Compression::None, &["a", "b", "c"].map(record))
}

#[test]
fn a_reader_takes_gaps_and_nothing_that_comes_twice_or_backwards() {
    let plain = three();
    let with = |deltas: [u8; 3]| {
        let mut body = plain[HEADER_BYTES..].to_vec();
        deltas.into_iter().enumerate().for_each(|(index, delta)| body[index * 8 + 3] = delta * 2);
        with_body(&plain, 0, &body)
    };
    let offsets = |deltas| {
        let records = stored(with(deltas)).records();
        records.map(|records| records.iter().map(|record| record.offset).collect::<Vec<_>>())
    };
    assert_eq!(offsets([0, 1, 2]).unwrap(), [0, 1, 2]);
    for bad in [[0, 0, 1], [0, 1, 1], [1, 0, 2], [0, 2, 1], [0, 1, 3]] {
        assert!(matches!(offsets(bad), Err(Error::UnreadableBatch { base_offset: 0, .. })), "{bad:?}");
    }
    let mut compacted = with([0, 2, 4]).to_vec();
    compacted[23..27].copy_from_slice(&4_i32.to_be_bytes());
    let records = stored(compacted.into()).records().unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn what_a_door_sees_is_the_same_compressed_or_not() {
    let plain = three();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: Option<&str>| {
        let mut body = plain[HEADER_BYTES..].to_vec();
        change(&mut body);
        let raw_snappy = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        let packed = ALL.map(|codec| (codec.code(), codec.compress(&body).unwrap()));
        for (codec, packed) in packed.into_iter().chain([(2, raw_snappy)]) {
            let batch = with_body(&plain, codec, &packed);
            let checked = check_records(&BatchHeader::parse(&batch).unwrap(), &batch, 1 << 20);
            match (&checked, expected) {
                (Ok(()), None) => {}
                (Err(reason), Some(expected)) => assert!(reason.contains(expected), "codec {codec}: {reason}"),
                _ => panic!("codec {codec}: {checked:?} is not {expected:?}"),
            }
        }
    };
    check(&|_| (), None);
    check(&|body| body[11] = 0, Some("record 1: its offset delta is 0, not 1"));
    check(&|body| (body[3], body[11]) = (2, 0), Some("record 0: its offset delta is 1, not 0"));
    check(&|body| body[8] = 0x7e, Some("record 1: it is shorter than its length"));
    check(&|body| body[21] = 9, Some("record 2: its value's length is -5"));
    check(&|body| body.truncate(22), Some("record 2: it needs 1 bytes"));
    check(&|body| body.push(0), Some("bytes after the last record"));
    // What is not what it claims to be.
    for codec in 1..5 {
        let batch = with_body(&plain, codec, &plain[HEADER_BYTES..]);
        assert!(check_records(&BatchHeader::parse(&batch).unwrap(), &batch, 1 << 20).is_err(), "codec {codec}");
    }
}

#[test]
fn what_unfolds_without_end_is_refused_when_it_has_unfolded_too_far() {
    // One record whose value is 32 MiB of zeros, where 16 MiB are allowed.
    let value = Bytes::from(vec![0; 32 << 20]);
    for codec in ALL.into_iter().skip(1) {
        let batch = build(codec, &[Record { value: Some(value.clone()), ..Record::default() }]);
        let header = BatchHeader::parse(&batch).unwrap();
        let error = check_records(&header, &batch, 16 << 20).unwrap_err();
        assert!(error.contains("unfold to more than") || error.contains("needs"), "{codec:?}: {error}");
        assert_eq!(check_records(&header, &batch, 64 << 20), Ok(()), "{codec:?}");
    }
}

#[test]
fn a_produce_request_is_cut_into_its_batches() {
    let (one, two) = (build(Compression::None, &sample()), build(Compression::Gzip, &sample()[..1]));
    let both = Bytes::from([&one[..], &two[..]].concat());
    let batches = split_batches(both.clone()).unwrap();
    assert_eq!(batches.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(), [one.clone(), two]);
    assert!(split_batches(Bytes::new()).is_err());
    let error = split_batches(both.slice(..both.len() - 1)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("at byte {}:", one.len())), "{error}");
    assert!(matches!(error, BatchDefect::Damaged(_)), "what is cut short may come whole the next time");
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    for (sequence, count, expected) in [(0, 4, 4), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1), (i32::MAX, 0, i32::MAX)] {
        assert_eq!(add_to_sequence(sequence, count), expected);
    }
}

/// The vectors of Kafka's own `UtilsTest.testMurmur2`.
#[test]
fn keys_hash_as_in_kafka() {
    let check = |key: &[u8], expected: i32| {
        assert_eq!(murmur2(key).cast_signed(), expected, "{key:?}");
        assert_eq!(partition_of_key(key, 7), (expected & 0x7fff_ffff) % 7, "{key:?}");
    };
    check(b"21", -973_932_308);
    check(b"foobar", -790_332_482);
    check(b"a-little-bit-long-string", -985_981_536);
    check(b"a-little-bit-longer-string", -1_486_304_829);
    check(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
    check(b"abc", 479_470_107);
}
