//! Backup codes: how many are left, a new set, and the one page that ever shows one.
//!
//! Whoever came in by a backup code is led here first; where two or fewer are left the
//! page stands on every address (`frame`) until there is a new set. The codes are drawn
//! in the answer that made them and kept nowhere.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use identity::{Method, Proven, Regenerate};
use operation::OperationError;
use zeroize::Zeroizing;

use super::{codes::told, factors};
use crate::{
    fault::{Answer, Fault},
    page::Page,
    params::Params,
    visitor::{Visitor, own_path},
};

/// Where the page is.
pub(crate) const PATH: &str = "/security/backup-codes";

#[derive(Template)]
#[template(path = "areas/backup_codes.html")]
struct BackupCodesPage {
    page: Page,
    /// How many are left; none where there were none.
    left: Option<i32>,
    /// Nothing else is open until there is a new set.
    is_due: bool,
    /// They came in by one of them.
    is_used: bool,
    next: String,
    fault: Option<String>,
}

/// A set of codes, shown once.
#[derive(Template)]
#[template(path = "areas/backup_codes_shown.html")]
pub(super) struct Shown {
    page: Page,
    codes: Vec<Zeroizing<String>>,
    /// All of them, for copying.
    together: Zeroizing<String>,
    next: String,
}

impl Shown {
    pub(super) fn new(page: Page, codes: &[Zeroizing<String>], next: &str) -> Self {
        let lines: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let together = Zeroizing::new(lines.join("\n"));
        Self { page, codes: codes.to_vec(), together, next: next.to_owned() }
    }

    /// The frame of it, for somebody signed in.
    pub(super) fn page(visitor: &Visitor) -> Page {
        visitor
            .page("Backup codes")
            .crumb("Security", "/security")
            .crumb("Second factors", factors::PATH)
            .api("/v1/auth/mfa/methods")
    }
}

/// Where somebody goes first who has just proven a factor, on the way to `next`.
pub(super) fn first(proven: &Proven, next: &str) -> String {
    match proven.regenerate() {
        None => next.to_owned(),
        Some(Regenerate::Advised | Regenerate::Required) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("used", "yes").append_pair("next", next).finish();
            format!("{PATH}?{query}")
        }
    }
}

/// `GET /security/backup-codes`.
pub(crate) async fn show(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, (StatusCode::OK, None)).await
}

/// `POST /security/backup-codes`: a new set in the place of the old one.
pub(crate) async fn renew(visitor: Visitor, form: Params) -> Answer {
    match visitor.console.identity.regenerate_backup_codes(visitor.context()).await {
        Ok(codes) => {
            let next = form.get("next").and_then(own_path).unwrap_or(factors::PATH);
            visitor.show(&Shown::new(Shown::page(&visitor), &codes, next))
        }
        Err(OperationError::Refused(refusal)) if refusal.code != "step_up_required" => {
            let Some(told) = told(&refusal) else { return Err(refusal.into()) };
            draw(&visitor, &form, (told.status, Some(told.words))).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The page itself on whatever address was asked for, as a refusal.
pub(crate) async fn demanded(visitor: &Visitor) -> Result<Response, Fault> {
    draw(visitor, &Params::default(), (StatusCode::FORBIDDEN, None)).await
}

async fn draw(
    visitor: &Visitor,
    params: &Params,
    (status, fault): (StatusCode, Option<String>),
) -> Answer {
    let identity = &visitor.console.identity;
    let held = identity.factors(visitor.context()).await?;
    let backup = held.iter().find(|held| held.method == Method::Backup);
    let is_due = identity.owes_backup_codes(visitor.context()).await?;
    let mut page = visitor
        .page("Backup codes")
        .lead("For when your other factor is not at hand. Each is good once.")
        .crumb("Security", "/security")
        .crumb("Second factors", factors::PATH)
        .api("/v1/auth/mfa/methods");
    if is_due {
        // Nothing else is to be had until there is a new set.
        (page.navigation, page.crumbs) = (Vec::new(), Vec::new());
    }
    let template = BackupCodesPage {
        page,
        left: backup.and_then(|backup| backup.remaining),
        is_due,
        is_used: params.get("used").is_some(),
        next: params.get("next").and_then(own_path).unwrap_or(factors::PATH).to_owned(),
        fault,
    };
    visitor.show_as(status, &template)
}
