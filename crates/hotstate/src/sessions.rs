//! What was read a moment ago and may be used for a moment more: live sessions,
//! tenant policy, verified tokens.
//!
//! Owns freshness: an entry counts from the instant *before* its read began, and
//! forgetting leaves a mark, so that a read that was already under way when
//! something was revoked cannot bring the old state back. Refuses to know what a
//! session is: callers bring the value.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{RwLock, RwLockWriteGuard},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// A cache whose entries live for one fixed time.
#[derive(Debug)]
pub struct Fresh<K, V> {
    state: RwLock<State<K, V>>,
    lifetime: Duration,
    capacity: usize,
}

#[derive(Debug)]
struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// When something was forgotten; a read begun earlier is not believed.
    forgotten: HashMap<K, Instant>,
    swept_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry<V> {
    read_at: Instant,
    value: V,
}

impl<K: Eq + Hash, V: Clone> Fresh<K, V> {
    /// A cache that keeps an entry `fresh_for` and at most `capacity` of them:
    /// beyond that nothing new is kept until the old ones run out.
    pub fn new(fresh_for: Duration, capacity: usize) -> Self {
        let state = State { entries: HashMap::new(), forgotten: HashMap::new(), swept_at: None };
        Self { state: RwLock::new(state), lifetime: fresh_for, capacity }
    }

    /// The value, while it is fresh.
    pub fn get(&self, key: &K) -> Option<V> {
        let state = self.state.read().ok()?;
        let entry = state.entries.get(key)?;
        (entry.read_at.elapsed() < self.lifetime).then(|| entry.value.clone())
    }

    /// Keeps what a read that began at `read_at` found, unless it was forgotten since.
    pub fn put(&self, key: K, read_at: Instant, value: V) {
        let Some(mut state) = self.write() else { return };
        self.sweep(&mut state);
        let outdated = state.forgotten.get(&key).is_some_and(|at| *at >= read_at);
        let full = state.entries.len() >= self.capacity && !state.entries.contains_key(&key);
        if !outdated && !full {
            state.entries.insert(key, Entry { read_at, value });
        }
    }

    /// Drops an entry, and what a read already under way will bring.
    pub fn forget(&self, key: K) {
        let Some(mut state) = self.write() else { return };
        state.entries.remove(&key);
        state.forgotten.insert(key, Instant::now());
    }

    /// Keeps `value` if nothing fresh stands there, and says whether it did: of
    /// many callers within the time exactly one hears yes.
    pub fn first(&self, key: K, value: V) -> bool {
        let Some(mut state) = self.write() else { return false };
        self.sweep(&mut state);
        let present =
            state.entries.get(&key).is_some_and(|entry| entry.read_at.elapsed() < self.lifetime);
        if present || state.entries.len() >= self.capacity {
            return false;
        }
        state.entries.insert(key, Entry { read_at: Instant::now(), value });
        true
    }

    fn write(&self) -> Option<RwLockWriteGuard<'_, State<K, V>>> {
        self.state.write().ok()
    }

    /// Once per lifetime of an entry, drops what is stale: marks older than an
    /// entry can be fresh have nothing left to prevent.
    fn sweep(&self, state: &mut State<K, V>) {
        if state.swept_at.is_some_and(|at| at.elapsed() < self.lifetime) {
            return;
        }
        state.entries.retain(|_, entry| entry.read_at.elapsed() < self.lifetime);
        state.forgotten.retain(|_, at| at.elapsed() < self.lifetime);
        state.swept_at = Some(Instant::now());
    }
}

/// How stale a session may be on a node that was not told of its end.
const SESSION_FRESH_FOR: Duration = Duration::from_secs(1);
const SESSIONS_MAX: usize = 500_000;

/// Stands for everybody of a tenant; nobody has this id.
const ANYBODY: Uuid = Uuid::nil();

/// The sessions that were used within the last second.
#[derive(Debug)]
pub struct LiveSessions<V> {
    sessions: Fresh<(Uuid, Uuid), (Uuid, V)>,
    /// Marks only: when everything of a user was forgotten.
    users: RwLock<HashMap<(Uuid, Uuid), Instant>>,
}

impl<V: Clone> Default for LiveSessions<V> {
    fn default() -> Self {
        Self { sessions: Fresh::new(SESSION_FRESH_FOR, SESSIONS_MAX), users: RwLock::default() }
    }
}

impl<V: Clone> LiveSessions<V> {
    /// A tenant's session, where it was read within the last second.
    pub fn get(&self, tenant: Uuid, session: Uuid) -> Option<V> {
        self.sessions.get(&(tenant, session)).map(|(_, value)| value)
    }

    /// Keeps what a read that began at `read_at` found.
    pub fn put(&self, (tenant, session): (Uuid, Uuid), user: Uuid, read_at: Instant, value: V) {
        self.sessions.put((tenant, session), read_at, (user, value));
        // Asked afterwards: whoever forgets the user leaves the mark first and
        // clears second, so one of the two of us takes an outdated entry out.
        let outdated = self.users.read().is_ok_and(|users| {
            let marked = |whom| users.get(&(tenant, whom)).is_some_and(|at| *at >= read_at);
            marked(user) || marked(ANYBODY)
        });
        if outdated {
            self.sessions.forget((tenant, session));
        }
    }

    /// To be called after a session's end was committed.
    pub fn forget(&self, tenant: Uuid, session: Uuid) {
        self.sessions.forget((tenant, session));
    }

    /// To be called after a change that may concern any session of a tenant was committed.
    pub fn forget_tenant(&self, tenant: Uuid) {
        self.mark(tenant, ANYBODY);
        if let Some(mut state) = self.sessions.write() {
            state.entries.retain(|(of, _), _| *of != tenant);
        }
    }

    /// To be called after a change of a person was committed: role, disablement,
    /// password, sign-out everywhere.
    pub fn forget_user(&self, tenant: Uuid, user: Uuid) {
        self.mark(tenant, user);
        if let Some(mut state) = self.sessions.write() {
            state.entries.retain(|(of, _), entry| *of != tenant || entry.value.0 != user);
        }
    }

    fn mark(&self, tenant: Uuid, user: Uuid) {
        if let Ok(mut users) = self.users.write() {
            users.retain(|_, at| at.elapsed() < SESSION_FRESH_FOR);
            users.insert((tenant, user), Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::{Fresh, LiveSessions};

    #[test]
    fn a_tenant_is_forgotten_whole_and_no_other() {
        let sessions = LiveSessions::default();
        let id = Uuid::from_u128;
        let began = Instant::now();
        for (tenant, session, user) in [(1, 2, 3), (1, 4, 5), (6, 7, 3)] {
            sessions.put((id(tenant), id(session)), id(user), began, "alive");
        }
        sessions.forget_tenant(id(1));
        // What was read before brings nothing back.
        sessions.put((id(1), id(2)), id(3), began, "alive");
        assert_eq!([sessions.get(id(1), id(2)), sessions.get(id(1), id(4))], [None, None]);
        assert_eq!(sessions.get(id(6), id(7)), Some("alive"));
        sessions.put((id(1), id(2)), id(3), Instant::now(), "anew");
        assert_eq!(sessions.get(id(1), id(2)), Some("anew"));
    }

    #[test]
    fn a_read_under_way_cannot_bring_back_what_was_forgotten() {
        let sessions = LiveSessions::default();
        let (tenant, session, user) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let began = Instant::now();
        sessions.put((tenant, session), user, began, "alive");
        assert_eq!(sessions.get(tenant, session), Some("alive"));
        sessions.forget(tenant, session);
        sessions.put((tenant, session), user, began, "alive");
        assert_eq!(sessions.get(tenant, session), None);
        sessions.put((tenant, session), user, Instant::now(), "again");
        assert_eq!(sessions.get(tenant, session), Some("again"));
        sessions.forget_user(tenant, user);
        sessions.put((tenant, session), user, began, "alive");
        assert_eq!(sessions.get(tenant, session), None);
    }

    #[test]
    fn entries_run_out_and_capacity_holds() {
        let fresh = Fresh::new(Duration::from_millis(20), 1);
        fresh.put(1, Instant::now(), 'a');
        fresh.put(2, Instant::now(), 'b');
        assert_eq!((fresh.get(&1), fresh.get(&2)), (Some('a'), None));
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(fresh.get(&1), None);
        assert!(fresh.first(3, 'c'));
        assert!(!fresh.first(3, 'd'));
    }
}
