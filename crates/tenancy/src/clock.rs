//! The one source of time and of time-ordered identifiers.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Where "now" comes from: the machine, or a test's hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Microseconds since 1970, moved only by [`Clock::advance`].
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `start` until it is advanced.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.as_microsecond())))
    }

    /// The current instant, in whole microseconds: what PostgreSQL can store.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Timestamp {
        let microseconds = match self {
            Self::System => Timestamp::now().as_microsecond(),
            Self::Manual(value) => value.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Seconds since 1970, as tokens carry them.
    pub fn now_s(&self) -> i64 {
        self.now().as_second()
    }

    /// Moves a manual clock forward; a system clock cannot be moved.
    pub fn advance(&self, by: SignedDuration) {
        if let Self::Manual(value) = self {
            let microseconds = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            value.fetch_add(microseconds, Ordering::SeqCst);
        }
    }

    /// A new time-ordered identifier (RFC 9562, version 7).
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
    }

    /// The value of the transaction setting `app.now`: empty where PostgreSQL's
    /// own transaction time is to be used.
    pub fn sql_setting(&self) -> String {
        match self {
            Self::System => String::new(),
            Self::Manual(_) => self.now().to_string(),
        }
    }
}
