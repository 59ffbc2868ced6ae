//! Owns the reading of query strings and submitted forms: names and texts, nothing
//! more. An empty field is a field that was not given.
//!
//! Refuses to judge values; U+0000, which PostgreSQL cannot keep, never gets this far.

use axum::extract::FromRequestParts;
use http::request::Parts;
use uuid::Uuid;

use crate::fault::Fault;

/// The longest form accepted, in bytes.
pub(crate) const MAXIMUM_FORM_BYTES: usize = 64 * 1024;

/// What was asked in the query of a GET, or submitted in the form of a POST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

/// The form of this request, read and checked by the frame.
#[derive(Clone)]
pub(crate) struct Submitted(pub(crate) Params);

impl Params {
    /// Reads `a=b&c=d`; none where a text holds U+0000.
    pub(crate) fn parse(encoded: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(encoded).into_owned().collect();
        let clean = pairs.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0'));
        clean.then_some(Self(pairs))
    }

    /// A field's text, trimmed; none where it is empty or absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A field's text exactly as typed: passwords.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A field's text, or the empty one.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every text of a field that may come several times: boxes that were ticked.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.0.iter().filter(move |(given, _)| given == name);
        given.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// A field that names an object; 400 where it is no UUID.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<Uuid>, Fault> {
        self.parsed(name)
    }

    /// A field of any closed vocabulary; 400 where the text is none of it.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Fault> {
        let text = self.get(name);
        text.map(|text| text.parse().map_err(|_| Fault::malformed(name))).transpose()
    }

    /// The pairs that are not empty, without those named: what a link repeats.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let kept = self.0.iter().map(|(name, value)| (name.as_str(), value.trim()));
        kept.filter(|(name, value)| !value.is_empty() && !names.contains(name)).collect()
    }

    /// `path?a=b`, with one field set anew (or taken out, where empty).
    pub(crate) fn link(&self, path: &str, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.without(&[name, "cursor"]));
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        if let Some(Submitted(form)) = parts.extensions.get::<Submitted>() {
            return Ok(form.clone());
        }
        let query = parts.uri.query().unwrap_or_default();
        Self::parse(query.as_bytes()).ok_or_else(|| Fault::malformed("query"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Params;

    #[test]
    fn empty_is_absent_and_nul_is_refused() {
        let params = Params::parse(b"q=+caf%C3%A9+&status=&x=1").unwrap();
        assert_eq!(params.get("q"), Some("café"));
        assert_eq!(params.raw("q"), Some(" café "));
        assert_eq!((params.get("status"), params.get("y")), (None, None));
        assert!(Params::parse(b"q=a%00b").is_none());
        assert!(Params::parse(b"a%00=b").is_none());
    }

    #[test]
    fn links_keep_the_filters_and_escape_them() {
        let params = Params::parse(b"status=active&q=a%26b%22&cursor=zzz&empty=").unwrap();
        assert_eq!(params.link("/x", "status", "closed"), "/x?q=a%26b%22&status=closed");
        assert_eq!(params.link("/x", "q", ""), "/x?status=active");
        assert_eq!(Params::default().link("/x", "q", ""), "/x");
    }
}
