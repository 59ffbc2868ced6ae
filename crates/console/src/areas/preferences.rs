//! How the console looks to one browser. Nothing of it is the bank's business, so it
//! is a cookie and no record.

use std::sync::Arc;

use axum::Extension;
use axum::response::IntoResponse as _;
use http::StatusCode;

use crate::{
    cookies, fault::Answer, frame::Visit, page::Theme, params::Params, visitor::see_other,
};

/// `POST /preferences/theme`: light, dark, or (anything else) as the system is.
pub(crate) async fn theme(Extension(visit): Extension<Arc<Visit>>, form: Params) -> Answer {
    let mut response = if visit.is_fragment {
        StatusCode::NO_CONTENT.into_response()
    } else {
        see_other(form.get("back").unwrap_or("/"))?
    };
    let chosen = form.get("theme").and_then(Theme::read);
    let (value, keep) = match chosen {
        Some(theme) => (theme.as_str(), cookies::Keep::Year),
        None => ("", cookies::Keep::Drop),
    };
    cookies::set(response.headers_mut(), cookies::THEME, value, keep);
    Ok(response)
}
