"""confluent-kafka (librdkafka) as it comes from PyPI: topics, idempotent writes, groups."""

import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from doors import KAFKA, equal, unique, wait_until

BASE = {"bootstrap.servers": KAFKA}
admin = AdminClient(BASE)


def create(name, partitions):
    topic = unique(name)
    admin.create_topics([NewTopic(topic, num_partitions=partitions)])[topic].result(30)
    return topic


def consumer(group, **more):
    settings = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": 6000}
    return Consumer({**BASE, **settings, **more})


def read(client, count, timeout_s=30):
    messages, deadline = [], time.monotonic() + timeout_s
    while len(messages) < count:
        assert time.monotonic() < deadline, f"only {len(messages)} of {count} records came"
        message = client.poll(0.2)
        if message is None:
            continue
        assert message.error() is None, message.error()
        messages.append(message)
    return messages


def topics():
    topic = create("admin", 3)
    listed = admin.list_topics(timeout=10).topics
    equal("a created topic is listed with its partitions", len(listed[topic].partitions), 3)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=3)])[topic].result(10)
        raise AssertionError("creating a topic twice was not refused")
    except KafkaException as error:
        equal("creating it twice is refused", error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    admin.delete_topics([topic])[topic].result(10)
    wait_until("the deleted topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
    print("ok a deleted topic is gone")


def refusal(future):
    try:
        future.result(10)
    except KafkaException as error:
        return error.args[0]
    raise AssertionError("it was not refused")


def topic_settings():
    topic, asked = unique("settings"), {"segment.bytes": "52428800", "min.insync.replicas": "1", "retention.ms": "3600000"}
    admin.create_topics([NewTopic(topic, num_partitions=1, config=asked)])[topic].result(30)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    shown = admin.describe_configs([resource])[resource].result(10)
    equal("a topic's settings are shown as they were asked for", {name: shown[name].value for name in asked}, asked)

    compacted = NewTopic(topic, num_partitions=1, config={"cleanup.policy": "compact"})
    error = refusal(admin.create_topics([compacted])[topic])
    equal("that a topic exists is said first", error.code(), KafkaError.TOPIC_ALREADY_EXISTS)
    other = unique("compacted")
    compacted = NewTopic(other, num_partitions=1, config={"cleanup.policy": "compact"})
    error = refusal(admin.create_topics([compacted])[other])
    equal("what is not served is refused", error.code(), KafkaError.INVALID_CONFIG)
    assert "cleanup.policy=compact is not served" in error.str(), error.str()
    print("ok and named")


def reasons():
    producer = Producer({**BASE, "transactional.id": unique("transaction")})
    try:
        producer.init_transactions(10)
        raise AssertionError("transactions are served")
    except KafkaException as error:
        assert "transactions are not served" in error.args[0].str(), error.args[0].str()
    print("ok a transactional producer says that there are no transactions")

    host, port = KAFKA.rsplit(":", 1)
    broker = admin.list_topics(timeout=10).brokers[1]
    equal("the advertised address is the one that was reached", (broker.host, broker.port), (host, int(port)))


def compression(codec):
    topic = create(f"codec_{codec}", 1)
    producer = Producer({**BASE, "enable.idempotence": True, "compression.type": codec, "linger.ms": 20})
    wanted, failures = [], []
    for i in range(500):
        key, value = f"k{i % 7}".encode(), (f"value {i} " * 20).encode()
        wanted.append((key, value, [("n", str(i).encode())], 1_700_000_000_000 + i))
        producer.produce(
            topic, key=key, value=value, headers=[("n", str(i))], timestamp=1_700_000_000_000 + i,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    equal(f"{codec}: nothing is left unsent", producer.flush(30), 0)
    equal(f"{codec}: nothing failed", failures, [])
    client = consumer(unique("codec"))
    client.assign([TopicPartition(topic, 0, 0)])
    found = [(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in read(client, 500)]
    equal(f"{codec}: what was written is read, in order", found, wanted)
    equal(f"{codec}: watermarks", client.get_watermark_offsets(TopicPartition(topic, 0)), (0, 500))
    at_time = client.offsets_for_times([TopicPartition(topic, 0, 1_700_000_000_123)], timeout=10)[0].offset
    equal(f"{codec}: an offset is found by time", at_time, 123)
    client.close()


def fill(topic, count):
    producer = Producer({**BASE, "enable.idempotence": True})
    for i in range(count):
        producer.produce(topic, key=str(i), value=str(i))
        producer.poll(0)
    equal("filled", producer.flush(30), 0)


def resume():
    topic, group = create("resume", 1), unique("group")
    fill(topic, 100)
    first = consumer(group)
    first.subscribe([topic])
    equal("a group reads from the beginning", [m.value() for m in read(first, 40)], [str(i).encode() for i in range(40)])
    first.commit(offsets=[TopicPartition(topic, 0, 40)], asynchronous=False)
    first.close()
    second = consumer(group)
    second.subscribe([topic])
    rest = [int(m.value()) for m in read(second, 60)]
    equal("the next member resumes where it was committed", rest, list(range(40, 100)))
    second.close()
    committed = admin.list_consumer_groups().result(10)
    assert group in [g.group_id for g in committed.valid], "the group is not listed"
    print("ok the group is listed")


def rebalance():
    topic, group = create("rebalance", 4), unique("group")
    seen, stop, lock = {"a": set(), "b": set()}, threading.Event(), threading.Lock()
    records, failures = [], []

    def member(name):
        try:
            client = consumer(group)
            client.subscribe([topic])
            while not stop.is_set():
                message = client.poll(0.1)
                with lock:
                    seen[name] = {p.partition for p in client.assignment()}
                    if message is not None and message.error() is None:
                        records.append(int(message.value()))
            client.close()
        except Exception as error:  # shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=member, args=(name,)) for name in "ab"]
    threads[0].start()
    try:
        wait_until("the first member has all partitions", lambda: seen["a"] == {0, 1, 2, 3})
        threads[1].start()
        shared = lambda: len(seen["a"]) == 2 and len(seen["b"]) == 2 and not seen["a"] & seen["b"]
        wait_until("two members share the partitions", shared)
        fill(topic, 400)
        wait_until("all records came", lambda: len(records) >= 400)
    finally:
        stop.set()
        for thread in threads:
            if thread.ident:
                thread.join(30)
    equal("no member failed", failures, [])
    equal("two members read each record once", sorted(records), list(range(400)))


def offsets():
    topic = create("offsets", 1)
    fill(topic, 10)
    partition = TopicPartition(topic, 0)
    latest = admin.list_offsets({partition: OffsetSpec.latest()})[partition].result(10).offset
    equal("the admin client lists the latest offset", latest, 10)


topics()
topic_settings()
reasons()
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    compression(codec)
offsets()
resume()
rebalance()
