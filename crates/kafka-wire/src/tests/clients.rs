//! Bytes that real clients send, where they differ from what the protocol's tables would have them send.

use bytes::Bytes;

use crate::metadata;

#[test]
fn librdkafka_asks_for_all_topics_with_bytes_to_spare() {
    // librdkafka 2.16.0, Metadata 12: a null array, no creation, no operations, no tags, and three bytes more.
    let body = Bytes::from_static(&[0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00]);
    let request = metadata::Request::decode(12, body).unwrap();
    assert_eq!(request.topics, None);
    assert!(!request.allow_auto_topic_creation);
}
