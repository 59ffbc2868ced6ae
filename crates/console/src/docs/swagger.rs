//! Owns the page that embeds Swagger UI, and the one exception to the pages' policy.
//!
//! Swagger UI writes HTML as text. Under Trusted Types that takes a policy named
//! `default`; `swagger/start.js` makes one that lets nothing through but what `DOMPurify`
//! leaves of it. It exists on this page alone, which knows no session, no form and no
//! data but the public document. Inline scripts, inline styles and `eval` stay refused.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State};

use super::pages::{Frame, shown};
use crate::{assets, fault::Answer, frame::Visit, security::TrustedTypes, state::Console};

/// Ours, then the one that each copy of `DOMPurify` makes for its own parsing.
const TRUSTED: TrustedTypes = TrustedTypes("default dompurify dompurify#page");

#[derive(Template)]
#[template(path = "docs/swagger.html")]
struct Swagger<'a> {
    frame: &'a Frame,
}

impl Swagger<'_> {
    fn address(&self, name: &str) -> String {
        let _ = self;
        assets::address(name)
    }
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
) -> Answer {
    let frame = Frame::of(&console, &visit, "Swagger UI");
    let mut response = shown(&Swagger { frame: &frame })?;
    response.extensions_mut().insert(TRUSTED);
    Ok(response)
}
