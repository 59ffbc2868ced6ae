//! A form that is sent again while its first sending is still being done: the second
//! waits for the first's outcome. Where that takes long, a page says so and repeats the
//! same form under the same key; never does a form with another key come back, for that
//! would be done a second time.

use std::{future::Future, time::Duration};

use askama::Template;
use http::StatusCode;
use operation::{Command, Refusal, Reply};

use crate::{
    fault::{Answer, Fault},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Between one look and the next, milliseconds: a second and a half in all.
const PAUSES_MS: [u64; 5] = [50, 100, 200, 400, 800];

#[derive(Template)]
#[template(path = "areas/under_way.html")]
struct UnderWay<'a> {
    page: Page,
    action: &'a str,
    /// What the form brought, its key with it.
    fields: Vec<(&'a str, &'a str)>,
}

/// Runs a form's command under its key.
pub(crate) async fn attempt<C: Command + Clone>(
    visitor: &Visitor,
    command: C,
    once: String,
) -> Result<Result<Reply<C::Output>, Refusal>, Fault> {
    settled(
        || visitor.attempt(command.clone(), Some(once.clone())),
        |done| matches!(done, Ok(Err(refusal)) if is_under_way(refusal)),
    )
    .await
}

/// Tries again while an earlier sending is under way; the last answer where it still is.
pub(crate) async fn settled<T, F: Future<Output = T>>(
    mut attempt: impl FnMut() -> F,
    is_under_way: impl Fn(&T) -> bool,
) -> T {
    for pause_ms in PAUSES_MS {
        let done = attempt().await;
        if !is_under_way(&done) {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    attempt().await
}

pub(crate) fn is_under_way(refusal: &Refusal) -> bool {
    refusal.code == "idempotency_in_flight"
}

/// 409 and a page whose only button sends the same form again.
pub(crate) fn draw(visitor: &Visitor, action: &str, form: &Params) -> Answer {
    let page = visitor
        .page("This is being done")
        .lead("You sent this form twice, and the first time is not finished yet. It is done once.");
    let fields = form.without(&[page.csrf_field()]);
    visitor.show_as(StatusCode::CONFLICT, &UnderWay { page, action, fields })
}
