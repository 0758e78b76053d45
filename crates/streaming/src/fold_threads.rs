//! [`FoldThreads`]: the threads on which views fold and lakes capture.
//!
//! What must hold: whoever folds for long keeps no connection waiting: the doors have threads of their own, and the system
//! shares its processors between both.

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of their own for what computes for long; they end with it, and what runs on them then is left where it is.
#[derive(Debug)]
pub struct FoldThreads(Option<Runtime>);

impl FoldThreads {
    /// Starts as many as the machine has processors.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) when the system gives no threads.
    pub fn start() -> model::Result<Self> {
        let started = Builder::new_multi_thread().thread_name("fold").enable_all().build();
        started
            .map(|runtime| Self(Some(runtime)))
            .map_err(|e| model::Error::unavailable("cannot start threads that fold").with_source(e))
    }

    /// Where to spawn tasks.
    ///
    /// # Panics
    /// Never: they are there until it is dropped.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.as_ref().expect("they end when it is dropped").handle().clone()
    }
}

impl Drop for FoldThreads {
    // To wait for them is not allowed where a task may drop it.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
