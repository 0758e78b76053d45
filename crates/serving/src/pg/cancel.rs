//! Cancel requests: they come on a connection of their own and name the one they mean by its key.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;
use pgwire::api::{ClientInfo, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};

use crate::sql::Session;

/// What names a connection: its number, and a secret that only its client was told. As bytes, because a cancel request
/// comes before a version of the protocol is agreed, and may be read in another form than the secret was given.
type Key = (i32, Bytes);

/// The sessions that can be cancelled.
#[derive(Default)]
pub(super) struct Cancels {
    sessions: Mutex<HashMap<Key, Weak<Session>>>,
    keys: RandomPidSecretKeyGenerator,
}

impl Cancels {
    /// Gives a connection its key.
    pub(super) fn register(self: &Arc<Self>, client: &mut impl ClientInfo, session: &Arc<Session>) -> Registration {
        let (pid, secret) = self.keys.generate(client);
        let key = (pid, secret.to_bytes());
        session.set_backend_pid(pid);
        client.set_pid_and_secret_key(pid, secret);
        self.sessions.lock().insert(key.clone(), Arc::downgrade(session));
        Registration { key, cancels: Arc::clone(self) }
    }

    pub(super) fn cancel(&self, key: &Key) {
        let session = self.sessions.lock().get(key).and_then(Weak::upgrade);
        if let Some(session) = session {
            session.cancel();
        }
    }
}

/// Keeps a session among those that can be cancelled.
pub(super) struct Registration {
    key: Key,
    cancels: Arc<Cancels>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels.sessions.lock().remove(&self.key);
    }
}
