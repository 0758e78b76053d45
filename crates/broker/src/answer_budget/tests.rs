//! What answers may take.

use std::time::Duration;

use bytes::Bytes;

use super::*;

const KIB: usize = 1024;

fn budget(bytes_max: usize) -> AnswerBudget {
    AnswerBudget::new(bytes_max, Duration::from_millis(20))
}

fn frame(bytes: usize) -> Frame {
    Frame { pieces: vec![Bytes::from(vec![0; bytes])] }
}

#[tokio::test]
async fn an_answer_waits_for_room_and_not_for_ever() {
    let budget = budget(1024 * KIB);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(budget.reserve(256 * KIB).await.unwrap());
    }
    let small = budget.reserve(UNCOUNTED_BYTES_MAX).await;
    assert!(small.is_ok(), "a small answer waits for nobody");
    let error = budget.reserve(100 * KIB).await.unwrap_err();
    assert!(matches!(error, ConnectionError::AnswersWait(_)), "{error}");
    held.pop();
    budget.reserve(100 * KIB).await.unwrap();
    let error = budget.reserve(257 * KIB).await.unwrap_err();
    assert!(matches!(error, ConnectionError::AnswerSize(..)), "larger than any answer: {error}");
}

#[tokio::test]
async fn who_takes_what_is_there_leaves_something() {
    let budget = budget(4096 * KIB);
    let mut held: Vec<Share> = (0..100).map(|_| budget.take_some(usize::MAX)).collect();
    assert!(held.iter().all(|share| share.bytes() >= UNCOUNTED_BYTES_MAX));
    assert_eq!(held[0].bytes(), 1024 * KIB);
    assert!(budget.free.available_permits() > 128 * KIB, "{}", budget.free.available_permits());
    held.clear();
    assert_eq!(budget.free.available_permits(), 4096 * KIB);
}

#[tokio::test]
async fn an_answer_keeps_of_its_share_what_it_needs() {
    let budget = budget(4096 * KIB);
    let share = budget.reserve(1000 * KIB).await.unwrap();
    let answer = budget.answer(frame(300 * KIB), share).await.unwrap();
    assert_eq!(budget.free.available_permits(), (4096 - 300) * KIB);
    // And one that turned out larger gets more.
    let larger = budget.answer(frame(200 * KIB), Share::uncounted()).await.unwrap();
    assert_eq!(budget.free.available_permits(), (4096 - 500) * KIB);
    drop((answer, larger));
    assert_eq!(budget.free.available_permits(), 4096 * KIB);
}
