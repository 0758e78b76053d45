//! Frames that create topics, with and without settings that change nothing.

use super::*;

#[test]
fn a_topic_is_read_as_it_was_written() {
    for others in [vec![], vec![("segment.bytes", "1000"), ("flush.ms", "1")]] {
        let others: BTreeMap<_, _> = others.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let kind = if others.is_empty() { KIND_CREATE_TOPIC } else { KIND_CREATE_TOPIC_WITH_OTHERS };
        let settings = TopicSettings { retention_ms: Some(5), others, ..TopicSettings::default() };
        let name = TopicName::new("t").unwrap();
        let topic = Topic { name, id: Uuid::from_u128(3), partitions: 2, settings: settings.clone(), owner: None };
        let mut buffer = FrameBuffer::new(1, 1, 0);
        buffer.push(&Change::CreateTopic(topic));
        let (bytes, _) = buffer.finish();
        assert!(Frame::may_begin(&bytes, 1..=1));
        let frame = Frame::read(&bytes, 1).unwrap();
        assert_eq!(frame.kind, kind, "a topic without them is written as it always was");
        let Change::CreateTopic(read) = frame.change().unwrap() else { panic!("it creates a topic") };
        assert_eq!((read.settings, read.partitions), (settings, 2));
    }
}
