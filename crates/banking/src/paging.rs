//! Positions in lists that run from the newest to the oldest, then by id.

use jiff::Timestamp;
use operation::{PageRequest, Refusal, RefusalKind};
use uuid::Uuid;

/// The bound of a page: everything in it lies behind this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) created_at: Timestamp,
    pub(crate) id: Uuid,
}

impl Position {
    /// The bound that a request asks for; the first page's lies beyond everything.
    pub(crate) fn of(request: &PageRequest) -> Result<Self, Refusal> {
        let Some(text) = &request.after else {
            return Ok(Self { created_at: Timestamp::MAX, id: Uuid::max() });
        };
        Self::parse(text).ok_or_else(invalid_cursor)
    }

    /// The text of a row's position.
    pub(crate) fn text(created_at: Timestamp, id: Uuid) -> String {
        format!("{}.{}", created_at.as_microsecond(), id.simple())
    }

    fn parse(text: &str) -> Option<Self> {
        let (microseconds, id) = text.split_once('.')?;
        let created_at = Timestamp::from_microsecond(microseconds.parse().ok()?).ok()?;
        Some(Self { created_at, id: id.parse().ok()? })
    }
}

/// A cursor that is none of this list's.
pub(crate) fn invalid_cursor() -> Refusal {
    Refusal::new(RefusalKind::Malformed, "invalid_cursor", "The cursor belongs to another list")
}

#[cfg(test)]
mod tests {
    use operation::PageRequest;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::Position;

    proptest! {
        #[test]
        fn a_position_is_read_back(microseconds in 0_i64..4_000_000_000_000_000, id: u128) {
            let created_at = jiff::Timestamp::from_microsecond(microseconds).unwrap();
            let id = Uuid::from_u128(id);
            let after = Some(Position::text(created_at, id));
            let position = Position::of(&PageRequest { limit: 1, after, ..PageRequest::default() }).unwrap();
            prop_assert_eq!(position, Position { created_at, id });
        }

        #[test]
        fn other_texts_are_refused(text in "[^.]{0,40}") {
            let request = PageRequest { limit: 1, after: Some(text), ..PageRequest::default() };
            prop_assert!(Position::of(&request).is_err());
        }
    }
}
