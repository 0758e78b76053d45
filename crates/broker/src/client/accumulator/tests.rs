//! Which batches are sent, and what an answer means for those behind.

use std::sync::Arc;
use std::time::Duration;

use eventlog::Record;
use kafka_wire::ErrorCode;
use model::TopicPartition;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Accumulator, ClientError, ProducerIdentity, ProducerSettings, Sent};

/// An accumulator of one partition in which each record is a batch that is due.
struct Scene {
    accumulator: Accumulator,
    partition: TopicPartition,
    room: Arc<Semaphore>,
}

impl Scene {
    fn new() -> Self {
        let settings = ProducerSettings { batch_bytes_max: 1, linger: Duration::ZERO, ..ProducerSettings::shipped() };
        let identity = Some(ProducerIdentity { id: 7, epoch: 0 });
        let (partition, room) = ("t/0".parse().unwrap(), Arc::new(Semaphore::new(1_000)));
        Self { accumulator: Accumulator::new(&settings, identity), partition, room }
    }

    fn push(&mut self) {
        let permit = Arc::clone(&self.room).try_acquire_many_owned(1).unwrap();
        let record = Record { value: Some("v".into()), ..Record::default() };
        self.accumulator.push(&self.partition, record, permit, Instant::now());
    }

    fn take(&mut self) -> Option<Sent> {
        let mut due = self.accumulator.take_due(Instant::now());
        assert!(due.len() <= 1);
        due.pop().map(|(sent, _)| sent)
    }

    /// How many batches are done with the answer.
    fn answer(&mut self, sent: Sent, result: Result<i64, ClientError>) -> usize {
        self.accumulator.answered(sent, result, Instant::now())
    }
}

fn sequence(sent: &Sent) -> Option<i32> {
    sent.batch.sequence
}

fn lost() -> Result<i64, ClientError> {
    Err(ClientError::Disconnected("it broke".to_owned()))
}

#[test]
fn the_first_batch_is_alone_until_it_is_confirmed() {
    let mut scene = Scene::new();
    (0..3).for_each(|_| scene.push());
    let first = scene.take().unwrap();
    assert!(scene.take().is_none(), "a broker that does not know the producer would take the second without the first");
    // Lost on the way: it goes again, and still alone.
    assert_eq!(scene.answer(first, lost()), 0);
    let again = scene.take().unwrap();
    assert_eq!(sequence(&again), Some(0));
    assert!(scene.take().is_none());
    assert_eq!(scene.answer(again, Ok(0)), 1);
    let (second, third) = (scene.take().unwrap(), scene.take().unwrap());
    assert_eq!((sequence(&second), sequence(&third)), (Some(1), Some(2)), "several are under way now");
}

#[test]
fn what_came_too_early_goes_again_behind_what_was_lost() {
    let mut scene = Scene::new();
    (0..3).for_each(|_| scene.push());
    let first = scene.take().unwrap();
    scene.answer(first, Ok(0));
    let (second, third) = (scene.take().unwrap(), scene.take().unwrap());
    let early = ClientError::Refused { what: String::new(), code: ErrorCode::OutOfOrderSequenceNumber, message: None };
    assert_eq!(scene.answer(second, lost()), 0);
    assert!(scene.take().is_none(), "the third comes back first");
    assert_eq!(scene.answer(third, Err(early)), 0);
    let again = [scene.take().unwrap(), scene.take().unwrap()];
    assert_eq!(again.each_ref().map(sequence), [Some(1), Some(2)]);
    for (sent, offset) in again.into_iter().zip(1..) {
        assert_eq!(scene.answer(sent, Ok(offset)), 1);
    }
    assert_eq!(scene.accumulator.failed_batches(), 0);
}
