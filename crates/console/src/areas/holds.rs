//! Holds: those on an account, one of them, and what may become of it.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{
    AccountView, CaptureHold, Hold, HoldFilter, HoldList, HoldStatus, HoldView, ReleaseHold,
};
use http::StatusCode;
use operation::Refusal;
use uuid::Uuid;

use super::{
    account::{Head, head_of, page_of},
    accounts::amount_of,
    as_api::{AsApi, address},
    customers::choices,
    under_way,
};
use crate::{
    fault::Answer,
    form::Form,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "areas/holds.html")]
struct Holds {
    page: Page,
    params: Params,
    head: Head,
    path: String,
    statuses: Vec<(String, String)>,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/holds_rows.html")]
struct Rows {
    holds: Vec<(Hold, Markup, Markup)>,
    is_filtered: bool,
    clear: String,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

#[derive(Template)]
#[template(path = "areas/hold.html")]
struct One {
    page: Page,
    path: String,
    hold: Hold,
    form: Form,
    onces: [String; 2],
    account_number: String,
    created: Markup,
    updated: Markup,
    expires: Markup,
    /// Still to be captured or released.
    is_live: bool,
    /// Where it may go, if that account is theirs to see.
    destination: Option<String>,
    refused: Option<String>,
    asked: String,
    remaining: String,
    may_capture: bool,
    may_release: bool,
}

/// `GET /accounts/{id}/holds`.
pub(crate) async fn list(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let path = format!("/accounts/{id}/holds");
    let page = visitor.page_request(&path, &params).await?;
    let filter = HoldFilter { account_id: Some(id), status: params.parsed("status")? };
    let found = visitor.read(&HoldList { filter, page }).await?;
    let asked = [
        ("account_id", Some(id.to_string())),
        ("status", filter.status.map(|status| status.as_str().to_owned())),
    ];
    let page = page_of(&visitor, &account).api(address("/v1/holds", &asked));
    let zone = visitor.zone();
    let drawn = found.data.into_iter().map(|hold| {
        let (made, ends) = (kit::time(hold.created_at, &zone), kit::time(hold.expires_at, &zone));
        (hold, made, ends)
    });
    let list = Rows {
        holds: drawn.collect(),
        is_filtered: filter.status.is_some(),
        clear: path.clone(),
        api: AsApi::of(&page, ""),
        first: params.get("cursor").map(|_| params.link(&path, "cursor", "")),
        next: visitor.next_page(&path, &params, found.next.as_deref()).await?,
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let head = head_of(&visitor, account, "holds").await?;
    let statuses: Vec<&str> = HoldStatus::ALL.iter().map(|status| status.as_str()).collect();
    visitor.show(&Holds { page, params, head, path, statuses: choices(&statuses), list })
}

/// `GET /holds/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(hold_id): Path<Uuid>, params: Params) -> Answer {
    let hold = visitor.read(&HoldView { hold_id }).await?;
    let asked = params.text("confirm").to_owned();
    draw(&visitor, hold, Form::default(), None, asked, StatusCode::OK).await
}

/// `POST /holds/{id}/capture`.
pub(crate) async fn capture(visitor: Visitor, Path(hold_id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let hold = visitor.read(&HoldView { hold_id }).await?;
    let amount = match amount_of(&form, "amount", hold.currency) {
        Ok(amount) => amount,
        Err(faulty) => {
            let (asked, status) = ("ask-capture".to_owned(), StatusCode::UNPROCESSABLE_ENTITY);
            return draw(&visitor, hold, faulty, None, asked, status).await;
        }
    };
    let is_final = form.get("keep").is_none();
    let command = CaptureHold { hold_id, amount, is_final };
    let done = under_way::attempt(&visitor, command, once).await?;
    let said = done.map(|reply| {
        let (minor, currency) = (reply.output.amount, reply.output.hold.currency);
        format!("{} {} captured", kit::amount_text(minor, currency), currency.code())
    });
    answer(&visitor, hold_id, ("capture", &form), said).await
}

/// `POST /holds/{id}/release`.
pub(crate) async fn release(visitor: Visitor, Path(hold_id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    // Whoever may not see it is told no more of it than of one that does not exist.
    visitor.read(&HoldView { hold_id }).await?;
    let done = under_way::attempt(&visitor, ReleaseHold { hold_id }, once).await?;
    let said = done.map(|_| "Hold released".to_owned());
    answer(&visitor, hold_id, ("release", &form), said).await
}

/// `GET /holds/{id}/capture` and `/release`: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor, Path(hold_id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("/holds/{hold_id}"))
}

async fn answer(
    visitor: &Visitor,
    hold_id: Uuid,
    (act, form): (&str, &Params),
    done: Result<String, Refusal>,
) -> Answer {
    let refusal = match done {
        Ok(said) => return visitor.redirect_saying(&format!("/holds/{hold_id}"), said),
        Err(refusal) if under_way::is_under_way(&refusal) => {
            return under_way::draw(visitor, &format!("/holds/{hold_id}/{act}"), form);
        }
        Err(refusal) => refusal,
    };
    let hold = visitor.read(&HoldView { hold_id }).await?;
    let refused = Some(refusal.detail);
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    draw(visitor, hold, Form::default(), refused, String::new(), status).await
}

async fn draw(
    visitor: &Visitor,
    hold: Hold,
    form: Form,
    refused: Option<String>,
    asked: String,
    status: StatusCode,
) -> Answer {
    let account = visitor.read(&AccountView { account_id: hold.account_id }).await?;
    let to = visitor.read(&AccountView { account_id: hold.to_account_id }).await;
    let zone = visitor.zone();
    let path = format!("/holds/{}", hold.id);
    let mut page = visitor
        .page("Hold")
        .crumb("Accounts", "/accounts")
        .crumb(account.account_number.clone(), format!("/accounts/{}/holds", account.id))
        .api(format!("/v1/holds/{}", hold.id));
    // Behind a refused form the browser stands at an address that only takes forms.
    page.path.clone_from(&path);
    visitor.show_as(
        status,
        &One {
            page,
            path,
            form,
            onces: [visitor.once(), visitor.once()],
            account_number: account.account_number,
            created: kit::time(hold.created_at, &zone),
            updated: kit::time(hold.updated_at, &zone),
            expires: kit::time(hold.expires_at, &zone),
            is_live: hold.remaining > 0,
            destination: to.ok().map(|account| account.account_number),
            refused,
            asked,
            remaining: hold.currency.format_minor(hold.remaining),
            may_capture: visitor.may(Permission::HoldCapture),
            may_release: visitor.may(Permission::HoldRelease),
            hold,
        },
    )
}
