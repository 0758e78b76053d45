//! Work that keeps its threads, and what else goes on.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use sql::SqlError;

use super::{SETS_MAX, Threads, Urgency};

/// Keeps a thread until the sender is dropped, as a long computation does.
fn keep(threads: &Arc<Threads>) -> (mpsc::SyncSender<()>, super::Task<(), SqlError>) {
    let (release, kept) = mpsc::sync_channel::<()>(1);
    let task = threads.spawn(async move {
        let _ = kept.recv();
        Ok(())
    });
    (release, task)
}

async fn answers(threads: &Arc<Threads>) -> bool {
    let mut task = threads.spawn(async { Ok::<_, SqlError>(7) });
    let answer = async {
        task.begun().await;
        task.ended().await
    };
    tokio::time::timeout(Duration::from_secs(5), answer).await.is_ok_and(|answer| answer == Ok(7))
}

#[tokio::test]
async fn work_begins_although_all_threads_are_kept() {
    let threads = Arc::new(Threads::start("kept", 2, Urgency::Ordinary).unwrap());
    let mut kept = Vec::new();
    for _ in 0..2 * (SETS_MAX - 1) {
        let (release, mut task) = keep(&threads);
        task.begun().await;
        kept.push((release, task));
    }
    assert!(answers(&threads).await);
    // A task that keeps its thread says since when; dropping its handle does not wait for it.
    assert!(kept.iter().all(|(_, task)| task.keeps_thread_since().is_some()));
    let (release, task): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    drop(task);
    assert!(answers(&threads).await);
    drop(release);
}

#[tokio::test]
async fn there_is_a_last_set_of_threads() {
    let threads = Arc::new(Threads::start("bounded", 1, Urgency::Ordinary).unwrap());
    let mut kept = Vec::new();
    for _ in 0..SETS_MAX {
        let (release, mut task) = keep(&threads);
        task.begun().await;
        kept.push((release, task));
    }
    let mut waiting = threads.spawn(async { Ok::<_, SqlError>(7) });
    let begun = tokio::time::timeout(Duration::from_millis(600), waiting.begun()).await;
    assert!(begun.is_err(), "there are more threads than there may be");
    // It begins as soon as a thread of the last set is given back.
    drop(kept.pop());
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), waiting.ended()).await.unwrap(), Ok(7));
}

#[tokio::test]
async fn a_panic_is_an_error() {
    let threads = Arc::new(Threads::start("panics", 1, Urgency::Ordinary).unwrap());
    for (reason, code) in [("a reason", "XX000"), ("byte array offset overflow", "54000")] {
        let mut task = threads.spawn::<(), SqlError>(async move { panic!("{reason}") });
        assert_eq!(task.ended().await.unwrap_err().sqlstate, code, "{reason}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_may_be_long_yields_and_nothing_else_does() {
    for (urgency, more) in [(Urgency::Ordinary, 0), (Urgency::Yielding, super::YIELDING_NICENESS)] {
        let threads = Arc::new(Threads::start("nice", 1, urgency).unwrap());
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let mut task = threads.spawn(async move { Ok::<_, SqlError>(niceness()) });
        assert_eq!(task.ended().await.unwrap(), (niceness() + more).min(super::NICENESS_MAX), "{urgency:?}");
    }
}
