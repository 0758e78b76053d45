//! Bytes from someone who means harm: refused, without a panic and without much memory. The bytes are the same in every
//! run; such as once did harm are in `tests/corpus`.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::samples;
use crate::{Api, Reader, RequestHeader, api_versions, fetch, metadata, produce};

fn any_api() -> impl Strategy<Value = (Api, i16)> {
    proptest::sample::select(samples::all().collect::<Vec<_>>())
}

/// What once did harm, each named by the key of its API, its version, and what it is.
fn corpus() -> Vec<(Api, i16, Bytes)> {
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut parts = name.split('-');
        let mut number = || parts.next().unwrap().parse::<i16>().unwrap();
        let (key, version) = (number(), number());
        let api = Api::ALL.iter().find(|api| api.key() == key).unwrap();
        (*api, version, Bytes::from(std::fs::read(path).unwrap()))
    };
    std::fs::read_dir("tests/corpus").unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

#[test]
fn what_once_did_harm_is_refused() {
    let corpus = corpus();
    assert!(!corpus.is_empty());
    for (api, version, bytes) in corpus {
        assert!(samples::decode(api, version, bytes).is_err(), "{api:?} {version}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn any_bytes_are_read_or_refused((api, version) in any_api(), bytes: Vec<u8>) {
        let _ = samples::decode(api, version, bytes.clone().into());
        let _ = RequestHeader::decode(bytes.into());
    }

    #[test]
    fn a_changed_request_is_read_or_refused(
        (api, version) in any_api(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = samples::request(api, version).to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = samples::decode(api, version, bytes.into());
    }

    #[test]
    fn any_answer_is_read_or_refused(version in 0_i16..14, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = produce::decode_response(version, bytes.clone());
        let _ = fetch::Response::decode(version, bytes.clone());
        let _ = metadata::Response::decode(version, bytes.clone());
        let _ = api_versions::decode_response(version, bytes);
    }
}

/// In every place of every request where a length can stand, the largest: it must be refused by the bytes that are
/// there, not by the allocator.
#[test]
fn a_length_beyond_the_message_is_refused_before_anything_is_allocated() {
    for (api, version) in samples::all() {
        let body = samples::request(api, version);
        for at in 0..body.len() {
            for length in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x7f, 0xff]] {
                let mut bytes = body.to_vec();
                let end = (at + length.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&length[..end - at]);
                let _ = samples::decode(api, version, bytes.into());
            }
        }
    }
}

#[test]
fn a_request_of_countless_small_items_is_refused() {
    let check = |name: &str, api: Api, version: i16, head: &[u8], item: &[u8]| {
        let count = 2_000_000_u32;
        let mut body = [head, &count.to_be_bytes()].concat();
        body.extend(item.repeat(count as usize));
        let error = samples::decode(api, version, body.into()).unwrap_err();
        assert!(error.to_string().contains("more than"), "{name}: {error}");
    };
    check("groups without names", Api::DescribeGroups, 0, &[], &[0, 0]);
    check("topics without names", Api::Metadata, 1, &[], &[0, 0]);
    // No transactional id, acks, timeout, one topic without a name.
    let head = [0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    check("partitions without records", Api::Produce, 3, &head, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    // Replica, wait, least and most bytes, isolation, one topic without a name.
    let head = [[0; 17].as_slice(), &[0, 0, 0, 1, 0, 0]].concat();
    check("partitions to read", Api::Fetch, 4, &head, &[0; 16]);
}

#[test]
fn primitive_values_are_checked() {
    let check = |bytes: &'static [u8], flexible: bool, expected: &str| {
        let error = Reader::new(Bytes::from_static(bytes), flexible).string("name").unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    check(&[0, 5, b'a'], false, "4 bytes before the end of name");
    check(&[0xff, 0xff], false, "must not be null");
    check(&[0xff, 0xfe], false, "its length is -2");
    check(&[0, 1, 0xff], false, "not UTF-8");
    check(&[0], true, "must not be null");
    check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], true, "longer than five bytes");
    check(&[0xff, 0xff, 0xff, 0xff, 0x7f], true, "over 32 bits");
}
