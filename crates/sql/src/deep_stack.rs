//! A stack that is deep enough to walk any statement that was let in.
//!
//! sqlparser and DataFusion walk statements, plans and expressions by recursion. Whoever asks may stand on a small stack,
//! such as that of a task or of the program's first thread.

use std::thread;

use crate::{SqlError, sqlstate};

const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Does `work` on a stack of its own, and waits for it. A panic becomes an error.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, SqlError> + Send) -> Result<T, SqlError> {
    thread::scope(|scope| {
        let started = thread::Builder::new().name("plan".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        match started {
            Ok(thread) => thread.join().unwrap_or_else(|_| {
                Err(SqlError::new(sqlstate::INTERNAL_ERROR, "the query engine failed while planning"))
            }),
            Err(error) => {
                Err(SqlError::new(sqlstate::INTERNAL_ERROR, format!("cannot start a thread to plan on: {error}")))
            }
        }
    })
}
