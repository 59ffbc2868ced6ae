//! Owns what is said of one route: its place, its rate class, who may knock, and
//! where its handler and its documentation are.

use access::Permission;
use axum::routing::MethodRouter;
pub use hotstate::limits::Class;

use crate::{openapi_parts::Doc, state::ApiState};

/// Who may knock at a route. What they may do is decided by the operation behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, for the reason given.
    Public(&'static str),
    /// Anybody signed in, about themselves.
    SignedIn,
    /// The holders of a permission on some object.
    Needs(Permission),
    /// The holders of one of these on every object.
    NeedsOne(&'static [Permission]),
}

/// Whether a request has to be signed (RFC 9421) where the tenant's policy wants what is
/// sensitive signed. A signature that is there is verified on every route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureDemand {
    /// It has not.
    Never,
    /// It has.
    Always,
    /// Where more is moved than the tenant's ceiling.
    OverCeiling,
    /// Unless it registers somebody's first key, which there is nothing to sign with.
    AfterTheFirstKey,
}

impl SignatureDemand {
    /// The name in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::OverCeiling => "over_ceiling",
            Self::AfterTheFirstKey => "after_the_first_key",
        }
    }
}

/// One route.
pub(crate) struct Route {
    pub(crate) method: http::Method,
    /// axum's template; parameters in braces are UUIDs except `{tenant}`.
    pub(crate) path: &'static str,
    pub(crate) class: Class,
    pub(crate) access: Access,
    /// The tenant's module that must be on.
    pub(crate) module: &'static str,
    pub(crate) handler: MethodRouter<ApiState>,
    pub(crate) doc: fn() -> Doc,
}

/// Where a request belongs, found before routing and whatever tricks its path plays.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) class: Class,
    pub(crate) access: Access,
    pub(crate) module: &'static str,
    /// Whether the path is written exactly as the router wants it; if not, the
    /// router answers 404 and the place only says which limit it is counted under.
    pub(crate) exact: bool,
    /// Whether a session may go there whose password has reached its maximum age.
    pub(crate) after_expiry: bool,
    /// Whether a session may go there whose owner has to make new backup codes.
    pub(crate) with_spent_codes: bool,
    /// Whether it has to be signed.
    pub(crate) signature: SignatureDemand,
}

/// The routes as paths are looked up.
#[derive(Debug, Default)]
pub(crate) struct RouteIndex {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    method: http::Method,
    segments: Vec<&'static str>,
    place: Place,
}

impl RouteIndex {
    pub(crate) fn of(routes: &[Route]) -> Self {
        let entries = routes.iter().map(|route| Entry {
            method: route.method.clone(),
            segments: route.path.split('/').skip(1).collect(),
            place: Place {
                class: route.class,
                access: route.access,
                module: route.module,
                exact: true,
                after_expiry: crate::routes::is_open_after_expiry(route.path),
                with_spent_codes: crate::routes::is_open_with_spent_codes(route.path),
                signature: crate::routes::signature_demand(&route.method, route.path),
            },
        });
        Self { entries: entries.collect() }
    }

    /// The place of a request; none where nothing of ours is meant.
    pub(crate) fn locate(&self, method: &http::Method, path: &str) -> Option<Place> {
        let method = if method == http::Method::HEAD { &http::Method::GET } else { method };
        let written = without_alias(path.split('/').skip(1).collect());
        if let Some(entry) = self.find(method, &written) {
            return Some(entry.place.clone());
        }
        let entry = self.find(method, &normal_segments(path))?;
        Some(Place { exact: false, ..entry.place.clone() })
    }

    fn find<S: AsRef<str>>(&self, method: &http::Method, segments: &[S]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.method == *method && entry.fits(segments))
    }
}

impl Entry {
    fn fits<S: AsRef<str>>(&self, segments: &[S]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(wanted, given)| {
                let given = given.as_ref();
                if wanted.starts_with('{') { !given.is_empty() } else { *wanted == given }
            })
    }
}

/// The segments a sloppy server might see: percent-decoded, lower case, without
/// empty ones, with dots resolved, and without the `/api` alias.
pub(crate) fn normal_segments(path: &str) -> Vec<String> {
    let mut decoded = path.to_owned();
    // Twice, for `%252e`; a third time is nobody's server.
    for _ in 0..2 {
        decoded = percent_decoded(&decoded);
    }
    let lower = decoded.to_lowercase();
    let mut segments: Vec<String> = Vec::new();
    for segment in lower.split(['/', '\\']) {
        // Matrix parameters (`;x=y`) are somebody's idea of a path as well.
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            plain => segments.push(plain.to_owned()),
        }
    }
    without_alias(segments)
}

/// `/api/v1/…` answers as `/v1/…`.
fn without_alias<S: AsRef<str>>(mut segments: Vec<S>) -> Vec<S> {
    let aliased = segments.first().is_some_and(|first| first.as_ref() == "api")
        && segments.get(1).is_some_and(|second| second.as_ref() == "v1");
    if aliased {
        segments.remove(0);
    }
    segments
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Method;

    use super::{Class, RouteIndex};

    #[test]
    fn tricks_land_in_the_class_of_the_path_they_imitate() {
        let index = RouteIndex::of(&crate::routes::table());
        // path, whether the router would serve it
        let table = [
            ("/v1/auth/login", true),
            ("/api/v1/auth/login", true),
            ("//v1/auth/login", false),
            ("/v1//auth/login", false),
            ("/v1/auth/login/", false),
            ("/V1/Auth/LOGIN", false),
            ("/v1/auth/%6cogin", false),
            ("/v1/auth/%256cogin", false),
            ("/v1/%2e/auth/login", false),
            ("/v1/accounts/%2e%2e/auth/login", false),
            ("/v1/auth/x/../login", false),
            ("/v1/auth/login;a=b", false),
            ("/v1\\auth\\login", false),
            ("/API/v1/auth/login", false),
        ];
        for (path, exact) in table {
            let place = index.locate(&Method::POST, path);
            let found = place.map(|place| (place.class, place.exact));
            assert_eq!(found, Some((Class::Auth, exact)), "{path}");
        }
        assert!(index.locate(&Method::POST, "/v1/nothing").is_none());
        assert!(index.locate(&Method::GET, "/v1/auth/login").is_none());
        assert_eq!(index.locate(&Method::HEAD, "/v1/accounts").unwrap().class, Class::Read);
    }
}
