"""kafka-python 3 as it comes from PyPI: pure Python, its own protocol code, its own way of finding versions."""

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from doors import KAFKA, equal, unique

admin = KafkaAdminClient(bootstrap_servers=KAFKA)
topic, group = unique("kafka_python"), unique("group")
admin.create_topics([NewTopic(name=topic, num_partitions=2, replication_factor=1)])
assert topic in admin.list_topics(), "the created topic is not listed"
print("ok a topic is created and listed")

producer = KafkaProducer(bootstrap_servers=KAFKA, acks="all", compression_type="gzip", linger_ms=10)
sent = [
    producer.send(topic, key=str(i).encode(), value=f"value {i}".encode(), headers=[("n", b"1")], partition=i % 2)
    for i in range(200)
]
producer.flush(timeout=30)
equal("each record got its offset", sorted((s.get(10).partition, s.get(10).offset) for s in sent),
      [(p, o) for p in (0, 1) for o in range(100)])
producer.close()


def consumer():
    return KafkaConsumer(
        topic, bootstrap_servers=KAFKA, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        consumer_timeout_ms=15000,
    )


first = consumer()
found = {}
for message in first:
    found.setdefault(message.partition, []).append((message.offset, message.value))
    if sum(map(len, found.values())) == 200:
        break
for partition in (0, 1):
    wanted = [(n, f"value {2 * n + partition}".encode()) for n in range(100)]
    equal(f"partition {partition} is read in order", found[partition], wanted)
ends = first.end_offsets([TopicPartition(topic, 0), TopicPartition(topic, 1)])
equal("end offsets", sorted(ends.values()), [100, 100])
first.commit()
first.close()

more = KafkaProducer(bootstrap_servers=KAFKA, acks="all")
more.send(topic, value=b"one more", partition=0).get(10)
more.close()
second = consumer()
message = next(second)
equal("a group resumes after its commit", (message.partition, message.offset, message.value), (0, 100, b"one more"))
second.close()
admin.delete_topics([topic])
assert topic not in admin.list_topics(), "the deleted topic is still listed"
print("ok a topic is deleted")
admin.close()
