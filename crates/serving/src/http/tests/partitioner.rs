//! Keys and partitions.

use super::super::partitioner::{murmur2, partition_of_key};

#[test]
fn hashes_are_kafkas() {
    // The values that Kafka's own tests check.
    let known: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];
    for (key, hash) in known {
        assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        assert_eq!(partition_of_key(key, 7), (hash & 0x7fff_ffff) % 7, "{key:?}");
    }
}
