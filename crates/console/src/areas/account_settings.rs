//! Terms of an account, freezing and releasing it, closing it. What cannot be done is
//! said in words that tell the next step.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{Account, AccountChange, AccountStatus, AccountView, CloseAccount, UpdateAccount};
use http::StatusCode;
use operation::{Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    account::{Head, head_of, page_of},
    accounts::amount_of,
    customer_forms::prefilled,
    under_way,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "areas/account_settings.html")]
struct Settings {
    page: Page,
    path: String,
    back: String,
    head: Head,
    form: Form,
    /// What the terms in the form were written upon.
    version: i64,
    /// Keys of the three forms: each may be sent once.
    onces: [String; 3],
    /// Why freezing or closing was refused.
    refused: Option<String>,
    /// The question that the address asks to see without scripts.
    asked: String,
    now: Now,
    may_update: bool,
    may_close: bool,
}

/// The terms as they are, for the hints.
struct Now {
    overdraft: String,
    minimum: String,
    rate: String,
}

/// `GET /accounts/{id}/settings`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    if !visitor.may(Permission::AccountUpdate) && !visitor.may(Permission::AccountDelete) {
        return Err(Fault::denied());
    }
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let asked = params.text("confirm").to_owned();
    draw(&visitor, account, None, None, asked, StatusCode::OK).await
}

/// `POST /accounts/{id}/settings`: the terms.
pub(crate) async fn save(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let version = version_of(&form)?;
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let change = match change_of(&form, &account) {
        Ok(change) => change,
        Err(faulty) => {
            let (form, status) = (Some((faulty, version)), StatusCode::UNPROCESSABLE_ENTITY);
            return draw(&visitor, account, form, None, String::new(), status).await;
        }
    };
    let command = UpdateAccount { account_id: id, expected_version: Some(version), change };
    match under_way::attempt(&visitor, command, once).await? {
        Ok(_) => visitor.redirect_saying(&format!("/accounts/{id}/settings"), "Terms saved"),
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("/accounts/{id}/settings"), &form)
        }
        Err(refusal) => {
            // As it is by now: the hints show what somebody else may have written. Only
            // whoever was told of that goes on from it.
            let account = visitor.read(&AccountView { account_id: id }).await?;
            let refusal = kindly(refusal, &account);
            let is_told = refusal.kind == RefusalKind::PreconditionFailed;
            let version = if is_told { account.version } else { version };
            let drawn = Some((Form::refused(&form, &refusal), version));
            draw(&visitor, account, drawn, None, String::new(), status_of(&refusal)).await
        }
    }
}

/// `POST /accounts/{id}/status`: freezes or releases.
pub(crate) async fn change_status(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let status = form.parsed::<AccountStatus>("status")?;
    let status = status.ok_or_else(|| Fault::malformed("status"))?;
    let expected_version = Some(version_of(&form)?);
    let change = AccountChange { status: Some(status), ..AccountChange::default() };
    let command = UpdateAccount { account_id: id, expected_version, change };
    let done = under_way::attempt(&visitor, command, once).await?;
    let said = match status {
        AccountStatus::Frozen => "Account frozen",
        _ => "Account released",
    };
    answer(&visitor, id, ("status", &form), done.map(|_| said)).await
}

/// `POST /accounts/{id}/close`: for ever.
pub(crate) async fn close(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let expected_version = Some(version_of(&form)?);
    let command = CloseAccount { account_id: id, expected_version };
    let done = under_way::attempt(&visitor, command, once).await?;
    answer(&visitor, id, ("close", &form), done.map(|_| "Account closed")).await
}

/// `GET /accounts/{id}/status` and `/close`: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("/accounts/{id}/settings"))
}

async fn answer(
    visitor: &Visitor,
    id: Uuid,
    (act, form): (&str, &Params),
    done: Result<&'static str, Refusal>,
) -> Answer {
    let refusal = match done {
        Ok(said) => return visitor.redirect_saying(&format!("/accounts/{id}/settings"), said),
        Err(refusal) if under_way::is_under_way(&refusal) => {
            return under_way::draw(visitor, &format!("/accounts/{id}/{act}"), form);
        }
        Err(refusal) => refusal,
    };
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let refusal = kindly(refusal, &account);
    let status = status_of(&refusal);
    draw(visitor, account, None, Some(refusal.detail), String::new(), status).await
}

fn version_of(form: &Params) -> Result<i64, Fault> {
    form.parsed::<i64>("version")?.ok_or_else(|| Fault::malformed("version"))
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.kind {
        RefusalKind::Conflict | RefusalKind::PreconditionFailed => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// The refusal in words that tell the next step.
fn kindly(refusal: Refusal, account: &Account) -> Refusal {
    let written = |minor: i64| {
        format!("{} {}", kit::amount_text(minor, account.currency), account.currency.code())
    };
    let detail = match refusal.code.as_ref() {
        "account_not_empty" => format!(
            "There is still {} on this account. Bring the balance to zero, then close it.",
            written(account.balance)
        ),
        "account_has_holds" => {
            "Money is still held on this account. Capture or release its holds, then close it."
                .to_owned()
        }
        "overdraft_in_use" => format!(
            "The overdraft is in use: the balance is {}. The limit cannot go below what is used or held.",
            written(account.balance)
        ),
        "version_conflict" => {
            "Somebody else changed this account meanwhile, and nothing of yours was saved. The hints show what it is now; try again."
                .to_owned()
        }
        "account_closed" => "The account is closed and takes no change any more.".to_owned(),
        _ => return refusal,
    };
    Refusal { detail, ..refusal }
}

fn change_of(form: &Params, account: &Account) -> Result<AccountChange, Form> {
    let interest_rate = match form.get("interest_rate").map(str::parse) {
        None => None,
        Some(Ok(rate)) => Some(rate),
        Some(Err(_)) => {
            let message = "Percent a year, like 4.25";
            return Err(Form::new(form).fault("interest_rate", "invalid_value", message));
        }
    };
    let currency = account.currency;
    Ok(AccountChange {
        overdraft_limit: Some(amount_of(form, "overdraft_limit", currency)?.unwrap_or(0)),
        minimum_balance: Some(amount_of(form, "minimum_balance", currency)?),
        interest_rate,
        status: None,
    })
}

fn terms(account: &Account) -> Params {
    let written = |minor: i64| account.currency.format_minor(minor);
    let minimum = account.minimum_balance.map(written);
    let (overdraft, rate) = (written(account.overdraft_limit), account.interest_rate.to_string());
    let values = [
        ("overdraft_limit", Some(overdraft.as_str())),
        ("minimum_balance", minimum.as_deref()),
        ("interest_rate", Some(rate.as_str())),
    ];
    prefilled(values.iter().filter_map(|(name, value)| Some((*name, (*value)?))))
}

/// The page; its terms as they are, or as a form that came back wrote them upon a version.
async fn draw(
    visitor: &Visitor,
    account: Account,
    form: Option<(Form, i64)>,
    refused: Option<String>,
    asked: String,
    status: StatusCode,
) -> Answer {
    let own = format!("/accounts/{}", account.id);
    let back = format!("{own}/settings");
    // What the page shows; its `ETag` is what a change of it has to name.
    let mut page = page_of(visitor, &account).api(format!("/v1{own}"));
    // Behind a refused form the browser stands at an address that only takes forms.
    page.path.clone_from(&back);
    let (form, version) = form.unwrap_or_else(|| (Form::new(&terms(&account)), account.version));
    let written = |minor: i64| {
        format!("Now {} {}.", kit::amount_text(minor, account.currency), account.currency.code())
    };
    let now = Now {
        overdraft: written(account.overdraft_limit),
        minimum: account.minimum_balance.map_or_else(|| "Now none.".to_owned(), written),
        rate: format!("Now {} %.", account.interest_rate),
    };
    let head = head_of(visitor, account, "settings").await?;
    visitor.show_as(
        status,
        &Settings {
            page,
            back,
            path: own,
            head,
            form,
            version,
            onces: [visitor.once(), visitor.once(), visitor.once()],
            refused,
            asked,
            now,
            may_update: visitor.may(Permission::AccountUpdate),
            may_close: visitor.may(Permission::AccountDelete),
        },
    )
}
