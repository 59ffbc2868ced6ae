//! Keyset pages. A view works with plain positions; signing them into cursors
//! that are bound to tenant, principal, route and filters is the API's work.

/// The most objects a page may hold.
pub const LIMIT_MAX: u32 = 200;
/// What a page holds where nothing is asked.
pub const LIMIT_DEFAULT: u32 = 50;

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 to [`LIMIT_MAX`].
    pub limit: u32,
    /// The position after which the page begins, as an earlier page gave it.
    pub after: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: LIMIT_DEFAULT, after: None }
    }
}

impl PageRequest {
    /// One row more than asked, so that a full page knows whether another follows.
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The objects, in the list's order.
    pub data: Vec<T>,
    /// The position of the last one, where more follow.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page out of up to `limit + 1` rows.
    pub fn of(mut rows: Vec<T>, request: &PageRequest, position: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(position);
        Self { data: rows, next }
    }
}
