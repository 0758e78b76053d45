//! The partitioner against the vectors of Kafka's own tests.

use super::{murmur2, partition_of_key};

/// The vectors of Kafka's own `UtilsTest.testMurmur2`.
#[test]
fn keys_hash_as_in_kafka() {
    let check = |key: &[u8], expected: i32| assert_eq!(murmur2(key) as i32, expected, "{key:?}");
    check(b"21", -973_932_308);
    check(b"foobar", -790_332_482);
    check(b"a-little-bit-long-string", -985_981_536);
    check(b"a-little-bit-longer-string", -1_486_304_829);
    check(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
    check(b"abc", 479_470_107);
}

#[test]
fn a_key_has_one_partition_within_the_topic() {
    for key in 0..1_000 {
        let key = key.to_string();
        let partition = partition_of_key(key.as_bytes(), 7);
        assert!((0..7).contains(&partition));
        assert_eq!(partition, partition_of_key(key.as_bytes(), 7));
    }
}
