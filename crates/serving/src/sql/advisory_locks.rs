//! PostgreSQL's advisory locks: numbers that sessions agree to hold one at a time.
//!
//! What it is not: a queue. A lock that another session holds is refused at once; nobody waits for it here.
//!
//! What must hold: a lock is held by one session, or shared by some; a session that ends holds none.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use sql::{SqlError, sqlstate};

/// Locks that a session may hold.
const LOCKS_MAX: usize = 1_000;

/// One number of 64 bits, or two of 32: these are different locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    One(i64),
    Two(i32, i32),
}

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Exclusive,
    Shared,
}

/// How often a session took a lock in each mode.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    exclusive: u32,
    shared: u32,
}

impl Holding {
    fn count(&mut self, mode: Mode) -> &mut u32 {
        match mode {
            Mode::Exclusive => &mut self.exclusive,
            Mode::Shared => &mut self.shared,
        }
    }
}

type Held = HashMap<Key, HashMap<u64, Holding>>;

/// The locks of a server.
#[derive(Debug, Default)]
pub(super) struct AdvisoryLocks(Arc<Mutex<Locks>>);

#[derive(Debug, Default)]
struct Locks {
    held: Held,
    sessions: u64,
}

impl AdvisoryLocks {
    /// A session's part in the locks.
    pub(super) fn session(&self) -> Arc<SessionLocks> {
        let mut locks = self.0.lock();
        locks.sessions += 1;
        Arc::new(SessionLocks { session: locks.sessions, locks: Arc::downgrade(&self.0) })
    }
}

/// The locks that one session holds.
#[derive(Debug, Default)]
pub(super) struct SessionLocks {
    session: u64,
    locks: Weak<Mutex<Locks>>,
}

impl SessionLocks {
    /// The session's number, which no other session of this server has.
    pub(super) fn number(&self) -> u64 {
        self.session
    }
}

impl SessionLocks {
    /// Takes a lock once more; `false` where another session holds it.
    pub(super) fn try_lock(&self, key: Key, mode: Mode) -> Result<bool, SqlError> {
        let Some(locks) = self.locks.upgrade() else { return Ok(true) };
        let held = &mut locks.lock().held;
        let own = held.values().filter(|holders| holders.contains_key(&self.session)).count();
        let holders = held.get(&key);
        let in_the_way = holders.is_some_and(|holders| {
            let others = holders.iter().filter(|(session, _)| **session != self.session);
            others.into_iter().any(|(_, other)| mode == Mode::Exclusive || other.exclusive > 0)
        });
        if in_the_way {
            return Ok(false);
        }
        if own >= LOCKS_MAX && holders.is_none_or(|holders| !holders.contains_key(&self.session)) {
            let message = format!("the session holds {own} advisory locks, the most that it may");
            return Err(SqlError::new(sqlstate::OUT_OF_MEMORY, message).with_hint("unlock those that are not needed"));
        }
        let count = held.entry(key).or_default().entry(self.session).or_default().count(mode);
        *count = count.saturating_add(1);
        Ok(true)
    }

    /// Takes a lock, or says that another session holds it.
    pub(super) fn lock(&self, key: Key, mode: Mode) -> Result<(), SqlError> {
        if self.try_lock(key, mode)? {
            return Ok(());
        }
        let error = SqlError::new(sqlstate::NOT_AVAILABLE, "another session holds the advisory lock");
        Err(error.with_hint("locks are not waited for: try again, or ask with pg_try_advisory_lock"))
    }

    /// Gives a lock back once; `false` where the session does not hold it.
    pub(super) fn unlock(&self, key: Key, mode: Mode) -> bool {
        let Some(locks) = self.locks.upgrade() else { return false };
        let held = &mut locks.lock().held;
        let Some(holders) = held.get_mut(&key) else { return false };
        let Some(holding) = holders.get_mut(&self.session) else { return false };
        let count = holding.count(mode);
        if *count == 0 {
            return false;
        }
        *count -= 1;
        if holding.exclusive == 0 && holding.shared == 0 {
            holders.remove(&self.session);
        }
        if holders.is_empty() {
            held.remove(&key);
        }
        true
    }

    /// Gives all back.
    pub(super) fn unlock_all(&self) {
        let Some(locks) = self.locks.upgrade() else { return };
        locks.lock().held.retain(|_, holders| {
            holders.remove(&self.session);
            !holders.is_empty()
        });
    }
}

impl Drop for SessionLocks {
    fn drop(&mut self) {
        self.unlock_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_or_some_who_share_it() {
        let locks = AdvisoryLocks::default();
        let (one, two) = (locks.session(), locks.session());
        let key = Key::One(7);
        let try_lock = |session: &SessionLocks, key, mode| session.try_lock(key, mode).unwrap();
        assert!(try_lock(&one, key, Mode::Exclusive) && try_lock(&one, key, Mode::Exclusive));
        assert!(!try_lock(&two, key, Mode::Exclusive) && !try_lock(&two, key, Mode::Shared));
        assert_eq!(two.lock(key, Mode::Exclusive).unwrap_err().sqlstate, "55P03");
        assert!(try_lock(&two, Key::Two(0, 7), Mode::Exclusive), "another lock");
        assert!(!two.unlock(key, Mode::Exclusive), "it is not theirs");
        assert!(one.unlock(key, Mode::Exclusive));
        assert!(!try_lock(&two, key, Mode::Exclusive), "it was taken twice");
        assert!(one.unlock(key, Mode::Exclusive) && !one.unlock(key, Mode::Exclusive));
        assert!(try_lock(&two, key, Mode::Shared) && try_lock(&one, key, Mode::Shared));
        assert!(!try_lock(&one, key, Mode::Exclusive));
        drop(two);
        assert!(try_lock(&one, key, Mode::Exclusive) && try_lock(&one, Key::Two(0, 7), Mode::Exclusive));
        one.unlock_all();
        assert!(locks.0.lock().held.is_empty());
    }

    #[test]
    fn a_session_holds_no_more_than_it_may() {
        let locks = AdvisoryLocks::default();
        let session = locks.session();
        for number in 0..i64::try_from(LOCKS_MAX).unwrap() {
            assert!(session.try_lock(Key::One(number), Mode::Shared).unwrap());
        }
        assert_eq!(session.try_lock(Key::One(-1), Mode::Shared).unwrap_err().sqlstate, "53200");
        assert!(session.try_lock(Key::One(0), Mode::Shared).unwrap(), "one that it holds already");
    }
}
