//! Random appends against a model that a reader can check by eye, and concurrent ones against its rules.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{Scene, event, memory_log::Fault, stream};
use crate::{
    Direction::{Backward, Forward},
    Error, EventStoreSettings,
    ExpectedVersion::{self, Any, Exact, NoStream, StreamExists},
};

const STREAMS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens to a store.
#[derive(Clone, Debug)]
enum Step {
    Append {
        stream: usize,
        expected: ExpectedVersion,
        count: u128,
    },
    /// The n-th append so far is sent again as it was.
    Repeat(prop::sample::Index),
    Fail {
        stream: usize,
        after_write: bool,
    },
    Foreign,
    Reopen,
}

fn expected() -> impl Strategy<Value = ExpectedVersion> {
    prop_oneof![Just(Any), Just(NoStream), Just(StreamExists), (0_u64..6).prop_map(Exact)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..STREAMS.len(), expected(), 1_u128..4)
            .prop_map(|(stream, expected, count)| Step::Append { stream, expected, count }),
        2 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        1 => (0..STREAMS.len(), any::<bool>()).prop_map(|(stream, after_write)| Step::Fail { stream, after_write }),
        1 => Just(Step::Foreign),
        1 => Just(Step::Reopen),
    ]
}

type Sent = (usize, ExpectedVersion, Vec<u128>);

/// The store as a list of event numbers a stream, and what was answered.
#[derive(Default)]
struct Model {
    streams: BTreeMap<usize, Vec<u128>>,
    all: Vec<u128>,
    /// Each append sent, with the first version it was given.
    sent: Vec<(Sent, Option<u64>)>,
    next_number: u128,
}

impl Model {
    fn numbers(&mut self, count: u128) -> Vec<u128> {
        self.next_number += count;
        (self.next_number - count..self.next_number).collect()
    }

    /// What a new append must be answered.
    fn append(&mut self, (name, expected, numbers): Sent) -> Result<u64, Option<u64>> {
        let events = self.streams.entry(name).or_default();
        let actual = (events.len() as u64).checked_sub(1);
        let allowed = match expected {
            Any => true,
            NoStream => actual.is_none(),
            StreamExists => actual.is_some(),
            Exact(version) => actual == Some(version),
        };
        if !allowed {
            return Err(actual);
        }
        let first = events.len() as u64;
        events.extend(&numbers);
        self.all.extend(&numbers);
        Ok(first)
    }
}

async fn send(scene: &Scene, (name, expected, numbers): &Sent) -> Result<(u64, bool), Error> {
    let events = numbers.iter().copied().map(event).collect();
    let done = scene.store.append(&stream(STREAMS[*name]), *expected, events).await?;
    assert_eq!(done.last_version - done.first_version + 1, numbers.len() as u64);
    Ok((done.first_version, done.duplicate))
}

async fn run(mut scene: Scene, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { stream, expected, count } => {
                let sent = (stream, expected, model.numbers(count));
                let first = append(&scene, &mut model, sent.clone()).await;
                model.sent.push((sent, first));
            }
            Step::Repeat(index) if !model.sent.is_empty() => {
                let at = index.index(model.sent.len());
                let (sent, first) = model.sent[at].clone();
                match first {
                    Some(first) => assert_eq!(send(&scene, &sent).await.unwrap(), (first, true)),
                    // Refused the first time: the stream may have become what it expects.
                    None => model.sent[at].1 = append(&scene, &mut model, sent).await,
                }
            }
            Step::Repeat(_) => {}
            Step::Fail { stream, after_write } => {
                scene.log.fail_next(if after_write { Fault::AfterWrite } else { Fault::BeforeWrite });
                let sent = (stream, Any, model.numbers(2));
                assert!(matches!(send(&scene, &sent).await, Err(Error::Log(_))));
                if after_write {
                    let first = model.append(sent.clone()).unwrap();
                    assert_eq!(send(&scene, &sent).await.unwrap(), (first, true));
                    model.sent.push((sent, Some(first)));
                }
            }
            Step::Foreign => scene.log.append_foreign(vec![eventlog::Record::default()]),
            Step::Reopen => scene.store = scene.reopened().await,
        }
    }
    compare(&scene, &model).await;
}

/// Sends an append for the first time, as far as the store is concerned, and gives the first version if it was taken.
async fn append(scene: &Scene, model: &mut Model, sent: Sent) -> Option<u64> {
    match model.append(sent.clone()) {
        Ok(first) => {
            assert_eq!(send(scene, &sent).await.unwrap(), (first, false));
            Some(first)
        }
        Err(version) => {
            let refused = send(scene, &sent).await.unwrap_err();
            assert!(matches!(refused, Error::WrongVersion { actual, .. } if actual == version), "{refused}");
            None
        }
    }
}

async fn compare(scene: &Scene, model: &Model) {
    // Takes in what others wrote last, as an append would.
    let scene_again = scene.reopened().await;
    for store in [&scene.store, &scene_again] {
        for (name, expected) in &model.streams {
            let name = stream(STREAMS[*name]);
            if expected.is_empty() {
                assert_eq!(store.version(&name), None);
                continue;
            }
            let forward = store.read_stream(&name, 0, Forward, 1000).await.unwrap();
            let numbers: Vec<_> = forward.iter().map(|event| event.event_id.as_u128()).collect();
            assert_eq!(&numbers, expected);
            assert!(forward.iter().zip(0..).all(|(event, version)| event.version == version));
            let mut backward = store.read_stream(&name, u64::MAX, Backward, 1000).await.unwrap();
            backward.reverse();
            assert_eq!(backward, forward);
        }
        let all = store.read_all(0, 4000).await.unwrap();
        assert_eq!(all.next_offset, all.end_offset);
        assert_eq!(all.events.iter().map(|event| event.event_id.as_u128()).collect::<Vec<_>>(), model.all);
    }
}

fn small() -> EventStoreSettings {
    // Small reads and a small cache, so that their borders are met.
    EventStoreSettings { read_bytes: 2000, cache_bytes: 6000, ..EventStoreSettings::shipped() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_the_models(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { run(Scene::with(small()).await, steps).await });
    }

    #[test]
    fn concurrent_appends_keep_the_rules(plans in prop::collection::vec(prop::collection::vec((0..STREAMS.len(), expected(), 1_u128..4), 1..25), 2..6)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(concurrently(plans));
    }
}

/// Several tasks append at once; each outcome must be one that the rules allow, and together they must be the store.
async fn concurrently(plans: Vec<Vec<(usize, ExpectedVersion, u128)>>) {
    let scene = Arc::new(Scene::with(small()).await);
    let mut tasks = Vec::new();
    for (task, plan) in plans.into_iter().enumerate() {
        let scene = Arc::clone(&scene);
        tasks.push(tokio::spawn(async move {
            let mut stored = Vec::new();
            for (at, (name, expected, count)) in plan.into_iter().enumerate() {
                let base = (task as u128) << 64 | (at as u128) << 32;
                let sent = (name, expected, (base..base + count).collect::<Vec<_>>());
                match send(&scene, &sent).await {
                    Ok((first, duplicate)) => {
                        assert!(!duplicate);
                        assert!(expected.allows(first.checked_sub(1)), "{expected} was given version {first}");
                        stored.push((name, first, sent.2));
                    }
                    Err(Error::WrongVersion { actual, .. }) => {
                        assert!(!expected.allows(actual), "{expected} at {actual:?}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            stored
        }));
    }
    let mut streams: BTreeMap<usize, BTreeMap<u64, u128>> = BTreeMap::new();
    for task in tasks {
        for (name, first, numbers) in task.await.unwrap() {
            for (number, version) in numbers.into_iter().zip(first..) {
                assert_eq!(streams.entry(name).or_default().insert(version, number), None, "a version given twice");
            }
        }
    }
    for (name, expected) in streams {
        let events = scene.store.read_stream(&stream(STREAMS[name]), 0, Forward, 1000).await.unwrap();
        let found: BTreeMap<_, _> = events.iter().map(|event| (event.version, event.event_id.as_u128())).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(*scene.reopened().await.opened.index.read(), *scene.store.opened.index.read());
}
