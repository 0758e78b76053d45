//! [`Threads`]: some threads for work that may keep them for longer than it should.
//!
//! Whatever is computed between two points at which it can be given up keeps its thread, and nobody can take it back.
//! So it is looked at what waits: work that does not begin in time gets threads of its own, up to a bound.
//!
//! Work that may be long also yields: beside a busy query, readers by key, producers and the folding of views get the
//! processor first, as far as the system can be told so.
//!
//! What must hold: work begins while any of the sets of threads has one that is free; dropping the handle of work gives
//! it up; nobody waits for a thread when the server stops.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use model::{Error, Result};
use sql::{SqlError, sqlstate};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};

/// The stack of a thread: DataFusion walks statements and plans by recursion.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Work that has not begun after this time shows that all threads are kept.
const BEGINNING_TIMEOUT: Duration = Duration::from_millis(250);

/// How much nicer threads are that yield: beside one of the others, such a thread gets a thirtieth of a processor.
#[cfg(target_os = "linux")]
const YIELDING_NICENESS: i32 = 15;
#[cfg(target_os = "linux")]
const NICENESS_MAX: i32 = 19;

/// How many sets of threads there may be, the first one and those that took its place.
const SETS_MAX: usize = 4;

/// Who goes first where processors are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// As all others.
    Ordinary,
    /// Everything else goes first.
    Yielding,
}

/// Threads with room for deep recursion.
pub(super) struct Threads {
    name: &'static str,
    threads: usize,
    urgency: Urgency,
    sets: Mutex<Sets>,
}

struct Sets {
    /// Where work begins.
    current: Arc<Set>,
    /// Sets whose threads were all kept, while there is work left on them.
    earlier: Vec<Arc<Set>>,
}

/// One set of threads; `None` only while it is dropped.
struct Set(Option<Runtime>);

type Work<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Threads {
    pub(super) fn start(name: &'static str, threads: usize, urgency: Urgency) -> Result<Self> {
        let threads = threads.max(1);
        let sets = Sets { current: Arc::new(Set::start(name, threads, urgency)?), earlier: Vec::new() };
        Ok(Self { name, threads, urgency, sets: Mutex::new(sets) })
    }

    /// Gives work to the threads. It begins at once where one is free; [`Task::begun`] says when.
    pub(super) fn spawn<T, E>(self: &Arc<Self>, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        let waiting = Arc::new(Mutex::new(Some(Box::pin(work) as Work<T, E>)));
        let poll = Arc::new(Mutex::new(None));
        let current = Arc::clone(&self.sets().current);
        let (handle, begun) = begin(&current, &waiting, &poll);
        Task { threads: Arc::clone(self), set: current, waiting, poll, handle, begun: Some(begun) }
    }

    /// The threads that take the place of `kept`; `None` when there are too many already.
    fn replacement(&self, kept: &Arc<Set>) -> Option<Arc<Set>> {
        let mut sets = self.sets();
        if Arc::ptr_eq(&sets.current, kept) {
            sets.earlier.retain(|set| !set.is_idle());
            if sets.earlier.len() + 1 >= SETS_MAX {
                return None;
            }
            let set = Set::start(self.name, self.threads, self.urgency).inspect_err(|error| {
                tracing::error!(%error, threads = self.name, "all threads are kept, and there can be no more");
            });
            tracing::warn!(threads = self.name, "all threads are kept by statements, so there are more of them now");
            let kept = std::mem::replace(&mut sets.current, Arc::new(set.ok()?));
            sets.earlier.push(kept);
        }
        Some(Arc::clone(&sets.current))
    }

    fn sets(&self) -> std::sync::MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Set {
    fn start(name: &str, threads: usize, urgency: Urgency) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(STACK_BYTES)
            .on_thread_start(move || {
                if urgency == Urgency::Yielding {
                    yield_to_others();
                }
            })
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Error::internal("cannot start the threads of queries").with_source(e))?;
        Ok(Self(Some(runtime)))
    }

    fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|runtime| runtime.metrics().num_alive_tasks() == 0)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not waited for: the last owner may itself be a task, and a thread may be kept.
            runtime.shutdown_background();
        }
    }
}

/// The thread that calls yields from now on. On Linux niceness is a thread's own (`sched(7)`), and none named is the one that
/// calls; elsewhere it is that of the whole process, so nothing is done there.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    {
        let nicer = |niceness: i32| (niceness + YIELDING_NICENESS).min(NICENESS_MAX);
        let yields = rustix::process::getpriority_process(None)
            .and_then(|niceness| rustix::process::setpriority_process(None, nicer(niceness)));
        if let Err(error) = yields {
            tracing::warn!(%error, "the threads of queries do not yield to others");
        }
    }
}

/// Work that was given to threads. It is given up with its handle.
pub(super) struct Task<T, E> {
    threads: Arc<Threads>,
    set: Arc<Set>,
    /// The work, until it begins.
    waiting: Arc<Mutex<Option<Work<T, E>>>>,
    /// Since when a thread is kept, while one is.
    poll: Arc<Mutex<Option<Instant>>>,
    handle: Option<JoinHandle<Result<T, E>>>,
    begun: Option<oneshot::Receiver<()>>,
}

impl<T, E> Task<T, E>
where
    T: Send + 'static,
    E: From<SqlError> + Send + 'static,
{
    /// Waits until the work has begun; where its threads are all kept, others take their place.
    pub(super) async fn begun(&mut self) {
        while let Some(mut begun) = self.begun.take() {
            // Whether it has begun or was dropped, there is nothing to wait for any more.
            if tokio::time::timeout(BEGINNING_TIMEOUT, &mut begun).await.is_ok() {
                return;
            }
            let Some(set) = self.threads.replacement(&self.set) else {
                let _ = begun.await;
                return;
            };
            // Whoever takes the work first has it: either it has begun after all, or it is moved.
            let Some(work) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            self.waiting = Arc::new(Mutex::new(Some(work)));
            let (handle, again) = begin(&set, &self.waiting, &self.poll);
            (self.set, self.handle, self.begun) = (set, handle, Some(again));
        }
    }

    /// Since when the work keeps a thread without a point at which it could be given up.
    pub(super) fn keeps_thread_since(&self) -> Option<Instant> {
        *self.poll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the work.
    pub(super) async fn ended(&mut self) -> Result<T, E> {
        let Some(handle) = &mut self.handle else {
            return Err(SqlError::new(sqlstate::ADMIN_SHUTDOWN, "the server is stopping").into());
        };
        handle.await.unwrap_or_else(|ended| Err(failed(ended).into()))
    }
}

impl<T, E> Drop for Task<T, E> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

/// Spawns what takes the work and does it, whoever of several is first.
fn begin<T, E>(
    set: &Set,
    waiting: &Arc<Mutex<Option<Work<T, E>>>>,
    poll: &Arc<Mutex<Option<Instant>>>,
) -> (Option<JoinHandle<Result<T, E>>>, oneshot::Receiver<()>)
where
    T: Send + 'static,
    E: From<SqlError> + Send + 'static,
{
    let (begins, begun) = oneshot::channel();
    let (waiting, poll) = (Arc::clone(waiting), Arc::clone(poll));
    let work = async move {
        let work = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody may be interested any more.
        let _ = begins.send(());
        match work {
            Some(work) => Timed { work, poll }.await,
            None => Err(SqlError::new(sqlstate::INTERNAL_ERROR, "the work was done elsewhere").into()),
        }
    };
    (set.0.as_ref().map(|runtime| runtime.spawn(work)), begun)
}

/// Work that says since when it keeps its thread.
struct Timed<T, E> {
    work: Work<T, E>,
    poll: Arc<Mutex<Option<Instant>>>,
}

impl<T, E> Future for Timed<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        *self.poll.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let polled = self.work.as_mut().poll(cx);
        *self.poll.lock().unwrap_or_else(PoisonError::into_inner) = None;
        polled
    }
}

/// A panic of the query engine ends the statement and not the connection: what it was reading is dropped with it.
fn failed(ended: tokio::task::JoinError) -> SqlError {
    let reason = match ended.try_into_panic() {
        Ok(panic) => reason(&*panic),
        Err(_) => "it was given up".to_owned(),
    };
    // Arrow cannot count further in one column of a batch, and has no error for it.
    if reason.contains("offset overflow") || reason.contains("byte array offset overflow") {
        let message = "a column of the result would have more than 2147483647 bytes in one batch of rows";
        return SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint("let it make shorter values");
    }
    SqlError::new(sqlstate::INTERNAL_ERROR, format!("the query engine failed: {reason}"))
        .with_hint("this is a defect; a query that needs less memory, or a simpler one, may pass")
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason was given".to_owned())
}

#[cfg(test)]
mod tests;
