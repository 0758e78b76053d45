//! Records that were events once: read or refused, and what is read is what would be written.

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

use super::*;

/// A change to a record: to a header (or the key, behind the last), at a place.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, Index, u8),
    Cut(Index, Index),
    Replace(Index, String),
    Clear(Index),
    Remove(Index),
    Repeat(Index),
}

fn change() -> impl Strategy<Value = Change> {
    // What numbers, times and ids are mistaken for.
    let texts = [
        "",
        "-1",
        "+1",
        "18446744073709551616",
        "9223372036854775808",
        "1e3",
        "0000-01-01T00:00:00+23:59",
        "9999-12-31T23:59:60Z",
        "2024-02-30T00:00:00Z",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000003}",
        "$all",
        "\u{0}",
        "é",
    ];
    prop_oneof![
        4 => any::<(Index, Index, u8)>().prop_map(|(header, at, byte)| Change::Set(header, at, byte)),
        1 => any::<(Index, Index)>().prop_map(|(header, at)| Change::Cut(header, at)),
        4 => (any::<Index>(), prop::sample::select(texts.to_vec())).prop_map(|(header, text)| Change::Replace(header, text.to_owned())),
        1 => any::<Index>().prop_map(Change::Clear),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Repeat),
    ]
}

/// What a change is about: a header's value, or the key.
fn place(record: &mut Record, index: Index) -> &mut Option<Bytes> {
    let at = index.index(record.headers.len() + 1);
    match record.headers.get_mut(at) {
        Some(header) => &mut header.value,
        None => &mut record.key,
    }
}

fn apply(record: &mut Record, change: &Change) {
    let headers = record.headers.len();
    match change {
        Change::Set(header, at, byte) => {
            let place = place(record, *header);
            let mut bytes = place.clone().unwrap_or_default().to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            *place = Some(bytes.into());
        }
        Change::Cut(header, at) => {
            let place = place(record, *header);
            let bytes = place.clone().unwrap_or_default();
            *place = Some(bytes.slice(..at.index(bytes.len() + 1)));
        }
        Change::Replace(header, text) => *place(record, *header) = Some(text.clone().into()),
        Change::Clear(header) => *place(record, *header) = None,
        Change::Remove(header) if headers > 0 => drop(record.headers.remove(header.index(headers))),
        Change::Repeat(header) if headers > 0 => {
            let repeated = record.headers[header.index(headers)].clone();
            record.headers.push(repeated);
        }
        Change::Remove(_) | Change::Repeat(_) => {}
    }
}

fn written(event: &NewEvent, version: u64, command: Option<&Command>) -> Record {
    let stream = StreamName::new("flight-DL 7").unwrap();
    let source = Bytes::from_static(b"/fourfold");
    encode(event, &Placement { stream: &stream, version, recorded_time_ms: 17, command, source: &source })
}

fn samples() -> Vec<Record> {
    let plain = NewEvent::new(Uuid::from_u128(3), "departed", "{}");
    let full = NewEvent {
        metadata: Some("[1]".into()),
        effective_time_ms: Some(-5),
        correlation_id: Some("conversation".to_owned()),
        causation_id: Some("cause".to_owned()),
        ..plain.clone()
    };
    let command = Command {
        id: CommandId::new("command").unwrap(),
        digest: ContentDigest::parse(&"0123456789abcdef".repeat(4)).unwrap(),
    };
    vec![written(&plain, 0, None), written(&full, u64::MAX, Some(&command))]
}

/// What is read, written and read again.
fn again(event: &RecordedEvent) -> RecordedEvent {
    let command = event.command_id.clone().zip(event.command_digest);
    let command = command.map(|(id, digest)| Command { id, digest });
    let new = NewEvent {
        event_id: event.event_id,
        event_type: event.event_type.clone(),
        data: event.data.clone(),
        metadata: event.metadata.clone(),
        effective_time_ms: Some(event.effective_time_ms),
        correlation_id: event.correlation_id.clone(),
        causation_id: event.causation_id.clone(),
    };
    let source = Bytes::from_static(b"/fourfold");
    let placement = Placement {
        stream: &event.stream,
        version: event.version,
        recorded_time_ms: event.recorded_time_ms,
        command: command.as_ref(),
        source: &source,
    };
    decode(&Record { offset: event.offset, ..encode(&new, &placement) }).unwrap()
}

#[test]
fn samples_are_read_as_they_were_written() {
    for record in samples() {
        let event = decode(&record).unwrap();
        assert_eq!(again(&event), event);
        assert_eq!(stream_told_twice(&record), Some(event.stream));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 6000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn a_changed_record_is_refused_or_read_as_it_would_be_written(
        record in prop::sample::select(samples()),
        changes in prop::collection::vec(change(), 0..5),
    ) {
        let mut record = record;
        changes.iter().for_each(|change| apply(&mut record, change));
        let _ = stream_told_twice(&record);
        // A command's id without what it said is not written, and neither are times of which there is no text.
        if let Ok(event) = decode(&record)
            && event.command_id.is_some() == event.command_digest.is_some()
            && check_time(Some(event.effective_time_ms)).is_ok()
        {
            prop_assert_eq!(again(&event), event);
        }
    }
}
