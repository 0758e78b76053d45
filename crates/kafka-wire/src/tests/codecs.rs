//! Our codecs against those of `kafka-protocol`, in every version.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, Encodable};
use uuid::Uuid;

use super::samples::{self, text};
use crate::{Api, RequestHeader, Writer, api_versions, cold, fetch, metadata, produce};

fn written(api: Api, version: i16, write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new(api.is_flexible(version));
    write(&mut writer);
    let mut all = BytesMut::new();
    writer.into_pieces().iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

fn theirs<T: Decodable>(mut bytes: Bytes, version: i16) -> T {
    let message = T::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "version {version} has {} bytes too many", bytes.len());
    message
}

#[test]
fn every_request_of_every_version_is_read() {
    for (api, version) in samples::all() {
        let body = samples::request(api, version);
        samples::decode(api, version, body.clone()).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        for end in 0..body.len() {
            let cut = samples::decode(api, version, body.slice(..end));
            assert!(cut.is_err(), "{api:?} {version} cut at {end} of {} was taken", body.len());
        }
        let longer: Bytes = [&body[..], &[0]].concat().into();
        // Metadata is the exception: librdkafka sends too many (tests/clients.rs).
        let taken = samples::decode(api, version, longer).is_ok();
        assert_eq!(taken, api == Api::Metadata, "{api:?} {version} with a byte more");
    }
}

#[test]
fn produce_agrees_in_every_version() {
    for version in 3..=Api::Produce.versions().max {
        let request = produce::Request::decode(version, samples::request(Api::Produce, version)).unwrap();
        assert_eq!(request.topics[0].partitions[0].records.as_deref(), Some(&b"batches"[..]));
        let bytes = written(Api::Produce, version, |writer| request.encode(writer));
        assert_eq!(bytes, samples::request(Api::Produce, version), "version {version}");

        let ok = produce::PartitionResult {
            index: 3,
            error: 0,
            base_offset: 42,
            log_start_offset: if version >= 5 { 7 } else { -1 },
            error_message: None,
        };
        let message = (version >= 8).then(|| "no".to_owned());
        let refused = produce::PartitionResult::refused(4, 87, message);
        let topics = vec![produce::TopicResult { name: text("t"), partitions: vec![ok, refused] }];
        let bytes = written(Api::Produce, version, |writer| produce::encode_response(writer, version, &topics));
        assert_eq!(produce::decode_response(version, bytes.clone()).unwrap(), topics);
        let read: m::ProduceResponse = theirs(bytes, version);
        assert_eq!(read.responses[0].partition_responses[0].base_offset, 42);
        assert_eq!(read.responses[0].partition_responses[1].error_code, 87);
    }
}

#[test]
fn fetch_agrees_in_every_version() {
    for version in 4..=Api::Fetch.versions().max {
        let request = fetch::Request::decode(version, samples::request(Api::Fetch, version)).unwrap();
        let query = fetch::PartitionQuery { index: 3, offset: 11, bytes_max: 13 };
        assert_eq!(request.topics[0].partitions, vec![query]);
        let bytes = written(Api::Fetch, version, |writer| request.encode(writer, version));
        let read: m::FetchRequest = theirs(bytes, version);
        assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (5, 6, 7));

        // One small batch and one large: the second is not copied.
        let large = Bytes::from(vec![9; 100_000]);
        let partition = fetch::PartitionResult {
            index: 3,
            error: 0,
            high_watermark: 100,
            log_start_offset: if version >= 5 { 1 } else { -1 },
            batches: vec![Bytes::from_static(b"small"), large.clone()],
        };
        let topics = vec![fetch::TopicResult {
            name: text("t"),
            partitions: vec![partition, fetch::PartitionResult::refused(4, 1)],
        }];
        let response = fetch::Response { error: 0, topics };
        let mut writer = Writer::new(Api::Fetch.is_flexible(version));
        response.encode(&mut writer, version);
        assert!(writer.into_pieces().iter().any(|piece| piece.as_ptr() == large.as_ptr()), "it was copied");
        let bytes = written(Api::Fetch, version, |writer| response.encode(writer, version));
        let ours = fetch::Response::decode(version, bytes.clone()).unwrap();
        assert_eq!(ours.topics[0].partitions[0].batches.concat(), [&b"small"[..], &large].concat());
        let read: m::FetchResponse = theirs(bytes, version);
        assert_eq!(read.responses[0].partitions[0].records.as_ref().unwrap().len(), 100_005);
        assert_eq!(read.responses[0].partitions[1].error_code, 1);
    }
}

#[test]
fn metadata_agrees_in_every_version() {
    for version in 0..=Api::Metadata.versions().max {
        let request = metadata::Request::decode(version, samples::request(Api::Metadata, version)).unwrap();
        assert_eq!(request.topics.as_ref().unwrap()[0].name, Some(text("t")));
        assert_eq!(request.allow_auto_topic_creation, version < 4);
        let bytes = written(Api::Metadata, version, |writer| request.encode(writer, version));
        assert_eq!(bytes, samples::request(Api::Metadata, version), "version {version}");

        let all = metadata::Request { topics: None, allow_auto_topic_creation: true };
        let bytes = written(Api::Metadata, version, |writer| all.encode(writer, version));
        assert_eq!(metadata::Request::decode(version, bytes).unwrap(), all);

        let topic = metadata::Topic {
            error: 0,
            name: Some(text("t")),
            id: if version >= 10 { Uuid::from_u128(5) } else { Uuid::nil() },
            partitions: 3,
            leader: 1,
        };
        let response = metadata::Response {
            brokers: vec![metadata::Broker { node_id: 1, host: text("127.0.0.1"), port: 9092 }],
            cluster_id: if version >= 2 { text("c") } else { text("") },
            controller_id: if version >= 1 { 1 } else { -1 },
            topics: vec![topic],
        };
        let bytes = written(Api::Metadata, version, |writer| response.encode(writer, version));
        assert_eq!(metadata::Response::decode(version, bytes.clone()).unwrap(), response);
        let read: m::MetadataResponse = theirs(bytes, version);
        assert_eq!(read.topics[0].partitions.len(), 3);
        assert_eq!(read.topics[0].partitions[2].leader_id, m::BrokerId(1));
    }
}

#[test]
fn api_versions_agrees_in_every_version() {
    for version in 0..=Api::ApiVersions.versions().max {
        let bytes = written(Api::ApiVersions, version, |writer| api_versions::encode_response(writer, version, None));
        let read: m::ApiVersionsResponse = theirs(bytes.clone(), version);
        assert_eq!(read.api_keys.len(), Api::ALL.len());
        let (error, ranges) = api_versions::decode_response(version, bytes).unwrap();
        assert_eq!((error, ranges[0]), (0, (0, Api::Produce.versions())));
        let bytes = written(Api::ApiVersions, version, |writer| api_versions::encode_request(writer, version));
        api_versions::decode_request(version, bytes).unwrap();
    }
}

/// The responses that our client reads, written by the other implementation.
#[test]
fn responses_off_the_hot_path_are_read_in_every_version() {
    fn check<T: Encodable + Decodable>(api: Api, version: i16, response: &T) {
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes, version).unwrap();
        let read = cold::decode_response::<T>(api, version, bytes.freeze());
        read.map(drop).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
    }
    for version in 1..=Api::ListOffsets.versions().max {
        let partition = m::list_offsets_response::ListOffsetsPartitionResponse::default();
        let topic = m::list_offsets_response::ListOffsetsTopicResponse::default().with_partitions(vec![partition]);
        check(Api::ListOffsets, version, &m::ListOffsetsResponse::default().with_topics(vec![topic]));
    }
    for version in 2..=Api::CreateTopics.versions().max {
        let mut topic = m::create_topics_response::CreatableTopicResult::default();
        if version >= 5 {
            topic = topic.with_configs(Some(vec![Default::default()]));
        }
        check(Api::CreateTopics, version, &m::CreateTopicsResponse::default().with_topics(vec![topic]));
    }
    for version in 1..=Api::DeleteTopics.versions().max {
        let name = Some(m::TopicName(text("t")));
        let topic = m::delete_topics_response::DeletableTopicResult::default().with_name(name);
        check(Api::DeleteTopics, version, &m::DeleteTopicsResponse::default().with_responses(vec![topic]));
    }
    for version in 0..=Api::InitProducerId.versions().max {
        check(Api::InitProducerId, version, &m::InitProducerIdResponse::default());
    }
}

#[test]
fn headers_agree_in_every_version() {
    for (api, version) in samples::all() {
        let header = RequestHeader { api, version, correlation_id: 77, client_id: Some(text("me")) };
        let frame = header.encode(|writer| {
            writer.tags();
            Ok(())
        });
        let bytes = frame.unwrap().to_bytes();
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let mut rest = bytes.slice(4..);
        let theirs = m::RequestHeader::decode(&mut rest, if api.is_flexible(version) { 2 } else { 1 }).unwrap();
        assert_eq!((theirs.request_api_key, theirs.correlation_id), (api.key(), 77));
        let (ours, _) = RequestHeader::decode(bytes.slice(4..)).unwrap();
        assert_eq!((ours.api, ours.version, ours.client_id), (api, version, Some(text("me"))));

        let response = header.response(|_| Ok(())).unwrap().to_bytes().slice(4..);
        // The response header of ApiVersions never has tagged fields.
        let flexible = api != Api::ApiVersions && api.is_flexible(version);
        assert_eq!(response.len(), if flexible { 5 } else { 4 }, "{api:?} {version}");
        assert_eq!(RequestHeader::response_body(api, version, response).unwrap().0, 77);
    }
}
