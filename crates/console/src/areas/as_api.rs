//! What "View as API" says of a list: the request that gives these rows, and in words
//! what the interface cannot be asked. It travels inside the part that htmx replaces, so
//! that the drawer follows the filters.
//!
//! Refuses to pass a page's own parameters on: each filter is named where the interface
//! has it.

use crate::page::Page;

/// The request behind what is shown, for the part that htmx replaces.
pub(crate) struct AsApi {
    pub(crate) curl: String,
    /// What the request cannot say; empty where it says everything.
    pub(crate) note: &'static str,
}

impl AsApi {
    /// What the page's drawer shows.
    pub(crate) fn of(page: &Page, note: &'static str) -> Self {
        Self { curl: page.curl().unwrap_or_default(), note }
    }
}

/// `path?a=b` of the filters that are set.
pub(crate) fn address(path: &str, filters: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn only_what_is_set_is_asked_for() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            (vec![], "/v1/x"),
            (vec![("a", None)], "/v1/x"),
            (vec![("a", some("b")), ("c", None)], "/v1/x?a=b"),
            (vec![("a", some("b&c")), ("d", some("e f"))], "/v1/x?a=b%26c&d=e+f"),
        ];
        for (filters, expected) in table {
            assert_eq!(address("/v1/x", &filters), expected);
        }
    }
}
