//! Topics and records.

use eventlog::{Acks, EventLog};
use model::{TopicName, TopicPartition};
use serde_json::{Value, json};

use super::{Door, NOW_MS};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_described_listed_and_deleted() {
    let door = Door::open().await;
    let created = json!({ "name": "flights", "retention_ms": 1000, "message_bytes_max": 1_048_588,
        "partitions": [{ "partition": 0, "log_start_offset": 0, "high_watermark": 0 }, { "partition": 1 }] });
    let body = r#"{"name": "flights", "partitions": 2, "retention_ms": 1000}"#;
    let answer = door.check("POST /v1/topics", Some(body), 201, created.clone()).await;
    assert_eq!(answer.header("location"), Some("/v1/topics/flights"));
    door.check("POST /v1/topics", Some(body), 409, json!({ "kind": "conflict" })).await;
    door.check("GET /v1/topics/flights", None, 200, created).await;
    let both = json!({ "topics": [{ "name": "events" }, { "name": "flights" }] });
    door.check("GET /v1/topics", None, 200, both).await;
    assert_eq!(door.ask("DELETE /v1/topics/flights", None).await.status, 204);
    door.check("GET /v1/topics/flights", None, 404, json!({ "kind": "not_found" })).await;
    door.check("DELETE /v1/topics/flights", None, 404, json!({ "kind": "not_found" })).await;
    for wrong in [
        r#"{"name": "a b"}"#,
        r#"{"name": "a", "partitions": 0}"#,
        r#"{"name": "a", "retention_ms": -1}"#,
        r#"{"name": "a", "message_bytes_max": 0}"#,
        r#"{"name": "a", "size": 1}"#,
        r#"{"name": "#,
        "[]",
    ] {
        door.check("POST /v1/topics", Some(wrong), 400, json!({ "kind": "invalid" })).await;
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_as_they_were_posted() {
    let door = Door::open().await;
    door.ask("POST /v1/topics", Some(r#"{"name": "flights"}"#)).await;
    let one = r#"{"key": "AA", "value": {"z": 1.10, "a": 12345678901234567890123}}"#;
    let appended =
        json!({ "topic": "flights", "offsets": [{ "partition": 0, "offset": 0 }], "positions": "flights/0:1" });
    door.check("POST /v1/topics/flights/records", Some(one), 200, appended).await;
    let more = r#"{"records": [
        {"key": "UA", "value": "text", "timestamp_ms": 7, "headers": [{"name": "h", "value": "v"}, {"name": "h"}]},
        {"key": null, "value": null},
        {"key_base64": "/w==", "value_base64": "gA=="},
        {"value": [1, "two"]}, {"value": 5}, {"value": "{broken"}]}"#;
    let answer =
        door.check("POST /v1/topics/flights/records", Some(more), 200, json!({ "positions": "flights/0:7" })).await;
    assert_eq!(answer.json()["offsets"].as_array().unwrap().len(), 6);
    let expected = json!({ "records": [
        { "offset": 0, "key": "AA", "timestamp_ms": NOW_MS },
        { "offset": 1, "key": "UA", "value": "text", "timestamp_ms": 7,
          "headers": [{ "name": "h", "value": "v" }, { "name": "h", "value": null }] },
        { "offset": 2, "key": null, "value": null },
        { "offset": 3, "key_base64": "/w==", "value_base64": "gA==" },
        { "offset": 4, "value": [1, "two"] },
        { "offset": 5, "value": "5" },
        { "offset": 6, "value": "{broken" },
    ], "next_offset": 7, "log_start_offset": 0, "high_watermark": 7, "positions": "flights/0:7" });
    let read = door.check("GET /v1/topics/flights/partitions/0/records", None, 200, expected).await;
    // Neither the order of keys nor a digit is lost.
    assert!(read.text().contains(r#""value":{"z": 1.10, "a": 12345678901234567890123}"#), "{}", read.text());
    let page = json!({ "records": [{ "offset": 5 }], "next_offset": 6, "positions": "flights/0:6" });
    door.check("GET /v1/topics/flights/partitions/0/records?offset=5&limit=1", None, 200, page).await;
    let end = json!({ "records": [], "next_offset": 7 });
    door.check("GET /v1/topics/flights/partitions/0/records?offset=latest", None, 200, end).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_appended_or_read_is_said() {
    let door = Door::open().await;
    door.ask("POST /v1/topics", Some(r#"{"name": "flights", "partitions": 2}"#)).await;
    let cases = [
        (r#"{"key": "AA"}"#, "a record has no value"),
        (r#"{"value": 1, "value_base64": "gA=="}"#, "a value is given both as JSON and in base64"),
        (r#"{"value_base64": "*"}"#, "a value is not base64: Invalid symbol 42, offset 0."),
        (r#"{"records": []}"#, "there is no record to append"),
        (r#"{"value": 1, "partition": 2}"#, "topic flights has partitions 0 to 1, not 2"),
    ];
    for (body, detail) in cases {
        let problem = json!({ "kind": "invalid", "detail": detail });
        door.check("POST /v1/topics/flights/records", Some(body), 400, problem).await;
    }
    for misspelt in [r#"{"valu": 1}"#, r#"{"records":   [{"valu": 1}]}"#] {
        let answer = door.ask("POST /v1/topics/flights/records", Some(misspelt)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("unknown field `valu`"), "{}", answer.text());
        // A place would be one in a text that nobody sent.
        assert!(!answer.text().contains(" column "), "{}", answer.text());
    }
    door.check("POST /v1/topics/none/records", Some(r#"{"value": 1}"#), 404, json!({})).await;
    door.check("GET /v1/topics/flights/partitions/2/records", None, 404, json!({})).await;
    door.check("GET /v1/topics/flights/partitions/x/records", None, 400, json!({})).await;
    door.check("GET /v1/topics/flights/partitions/0/records?offset=9", None, 400, json!({})).await;
    door.check("GET /v1/topics/flights/partitions/0/records?offset=-1", None, 400, json!({})).await;
    door.check("GET /v1/topics/flights/partitions/0/records?limit=0", None, 400, json!({})).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stores_topic_is_read_and_not_written() {
    let door = Door::open().await;
    let event = r#"{"events": [{"type": "departed", "data": {"gate": 1}}]}"#;
    door.check("POST /v1/streams/flight", Some(event), 200, json!({})).await;
    let forged =
        json!({ "key": "flight", "value": 2, "headers": [{ "name": "ff_version", "value": "1" }] }).to_string();
    let hint =
        "append events with POST /v1/streams/{stream}, or send a command with POST /v1/commands/{aggregate}/{id}";
    let denied = json!({ "kind": "denied", "status": 403, "hint": hint,
        "detail": "topic events is the event store's: nobody else writes it" });
    door.check("POST /v1/topics/events/records", Some(&forged), 403, denied).await;
    let kept = json!({ "kind": "denied", "detail": "topic events is the event store's: it cannot be deleted",
        "hint": "it goes with the server's data folder" });
    for path in ["DELETE /v1/topics/events", "DELETE /v1/topics/events?force=true"] {
        door.check(path, None, 403, kept.clone()).await;
    }
    door.check("POST /v1/topics", Some(r#"{"name": "events"}"#), 409, json!({ "kind": "conflict" })).await;
    let read = json!({ "records": [{ "key": "flight", "value": { "gate": 1 } }], "high_watermark": 1 });
    door.check("GET /v1/topics/events/partitions/0/records", None, 200, read).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_meet_in_the_partition_that_kafka_gives_them() {
    let door = Door::open().await;
    door.ask("POST /v1/topics", Some(r#"{"name": "flights", "partitions": 3}"#)).await;
    // What Kafka's own partitioner gives for three partitions: (murmur2(key) & 0x7fffffff) % 3.
    let body = r#"{"records": [{"key": "21", "value": 1}, {"key": "foobar", "value": 2}, {"key": "21", "value": 3},
        {"key": "abc", "value": 4, "partition": 1}]}"#;
    let partition = |hash: i64| (hash & 0x7fff_ffff) % 3;
    let (of_21, of_foobar) = (partition(-973_932_308), partition(-790_332_482));
    let answer = door.ask("POST /v1/topics/flights/records", Some(body)).await;
    let partitions: Vec<i64> =
        answer.json()["offsets"].as_array().unwrap().iter().map(|o| o["partition"].as_i64().unwrap()).collect();
    assert_eq!(partitions, [of_21, of_foobar, of_21, 1]);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_larger_than_a_batch_becomes_several() {
    let door = Door::open().await;
    door.ask("POST /v1/topics", Some(r#"{"name": "flights", "message_bytes_max": 1000}"#)).await;
    let records: Vec<Value> = (0..50).map(|n| json!({ "value": format!("{n:0>100}") })).collect();
    let body = json!({ "records": records }).to_string();
    door.check("POST /v1/topics/flights/records", Some(&body), 200, json!({ "positions": "flights/0:50" })).await;
    let read = door.ask("GET /v1/topics/flights/partitions/0/records", None).await.json();
    let values: Vec<&str> = read["records"].as_array().unwrap().iter().map(|r| r["value"].as_str().unwrap()).collect();
    assert_eq!(values, (0..50).map(|n| format!("{n:0>100}")).collect::<Vec<_>>());
    let large = json!({ "value": "x".repeat(2000) }).to_string();
    door.check("POST /v1/topics/flights/records", Some(&large), 400, json!({ "kind": "invalid" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_the_position_that_it_demands() {
    let door = Door::open().await;
    door.ask("POST /v1/topics", Some(r#"{"name": "flights"}"#)).await;
    let early = "GET /v1/topics/flights/partitions/0/records?min_position=flights/0:1&timeout_ms=50";
    let answer = door.check(early, None, 504, json!({ "kind": "unavailable", "positions": "" })).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let waiting = door.ask("GET /v1/topics/flights/partitions/0/records?min_position=flights/0:1", None);
    let writing = async {
        let partition = TopicPartition::new(TopicName::new("flights").unwrap(), 0);
        let mut builder = eventlog::RecordBatchBuilder::default();
        builder.push(eventlog::Record { value: Some("late".into()), ..eventlog::Record::default() });
        door.log.append(&partition, builder.build(), Acks::Durable).await.unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, writing);
    assert_eq!(answer.json()["records"][0]["value"], "late");
    door.check("GET /v1/topics?min_position=none/0:1", None, 404, json!({})).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_used_is_deleted_only_by_force() {
    let door = Door::open().await;
    for name in ["flights", "flights.dead-letter", "gates", "gates.dead-letter"] {
        door.check("POST /v1/topics", Some(&json!({ "name": name }).to_string()), 201, json!({})).await;
    }
    for source in ["departures", "arrivals"] {
        let sql = format!("CREATE SOURCE {source} (carrier TEXT) WITH (topic = 'flights', format = 'json')");
        door.check("POST /v1/sql", Some(&json!({ "sql": sql }).to_string()), 200, json!({})).await;
    }
    let hint = "drop first what needs it (DROP SOURCE departures; DROP SOURCE arrivals), or delete it all the same: \
        ?force=true, or fourfold topic delete --force";
    for (topic, detail) in [
        ("flights", "topic flights is read by sources departures, arrivals"),
        ("flights.dead-letter", "topic flights.dead-letter has the dead letters of sources departures, arrivals"),
    ] {
        let used = json!({ "kind": "conflict", "detail": detail, "hint": hint, "sources": ["departures", "arrivals"] });
        let path = format!("DELETE /v1/topics/{topic}");
        for refused in [path.clone(), format!("{path}?force=false")] {
            door.check(&refused, None, 409, used.clone()).await;
        }
        door.check(&format!("{path}?force=yes"), None, 400, json!({ "kind": "invalid" })).await;
        door.check(&path.replace("DELETE", "GET"), None, 200, json!({})).await;
        assert_eq!(door.ask(&format!("{path}?force=true"), None).await.status, 204);
    }
    for unused in ["gates", "gates.dead-letter"] {
        assert_eq!(door.ask(&format!("DELETE /v1/topics/{unused}"), None).await.status, 204);
    }
    door.close().await;
}
