//! Keyset pages. A view works with plain positions; signing them into cursors
//! that are bound to tenant, principal, route and filters is the API's work.

/// The most objects a page may hold.
pub const LIMIT_MAX: u32 = 200;
/// What a page holds where nothing is asked.
pub const LIMIT_DEFAULT: u32 = 50;
/// How many objects of a list are counted at most. A count reads what it counts, by the very
/// statement that lists: whoever counts sees no more than whoever reads.
pub const COUNT_MAX: u32 = 1_000;

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 to [`LIMIT_MAX`].
    pub limit: u32,
    /// The position after which the page begins, as an earlier page gave it.
    pub after: Option<String>,
    /// Whether the list is counted, which its first page is.
    pub count: bool,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: LIMIT_DEFAULT, after: None, count: false }
    }
}

impl PageRequest {
    /// One row more than asked, so that a full page knows whether another follows, and a count
    /// whether there are too many.
    pub fn fetch(&self) -> i64 {
        let wanted = if self.is_counted() { self.limit.max(COUNT_MAX) } else { self.limit };
        i64::from(wanted) + 1
    }

    /// Whether this page tells how many objects the list has: those before a later one are not
    /// read again.
    fn is_counted(&self) -> bool {
        self.count && self.after.is_none()
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The objects, in the list's order.
    pub data: Vec<T>,
    /// The position of the last one, where more follow.
    pub next: Option<String>,
    /// How many the list has, where that was asked for and they are not too many.
    pub total: Option<usize>,
}

impl<T> Page<T> {
    /// A page out of as many rows as [`PageRequest::fetch`] asked for.
    pub fn of(mut rows: Vec<T>, request: &PageRequest, position: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        let counted = rows.len();
        let is_whole = i64::try_from(counted).is_ok_and(|counted| counted < request.fetch());
        let is_whole = is_whole && request.is_counted();
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(position);
        Self { data: rows, next, total: is_whole.then_some(counted) }
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Page, PageRequest};

    #[test]
    fn what_is_counted_is_the_whole_list_or_nothing() {
        let most = usize::try_from(COUNT_MAX).unwrap_or_default();
        // count asked, a later page, objects in the list, total
        let table = [
            (true, false, 0, Some(0)),
            (true, false, 50, Some(50)),
            (true, false, 51, Some(51)),
            (true, false, most, Some(most)),
            (true, false, most + 1, None),
            (true, false, most + 100, None),
            (true, true, 3, None),
            (false, false, 3, None),
        ];
        for (count, is_later, objects, total) in table {
            let after = is_later.then(|| "x".to_owned());
            let request = PageRequest { after, count, ..PageRequest::default() };
            let fetch = usize::try_from(request.fetch()).unwrap_or_default();
            let rows: Vec<usize> = (0..objects).take(fetch).collect();
            let page = Page::of(rows, &request, usize::to_string);
            assert_eq!(page.total, total, "{count} {is_later} {objects}");
            assert_eq!(page.data.len(), objects.min(50));
            assert_eq!(page.next.is_some(), objects > 50);
        }
    }
}
