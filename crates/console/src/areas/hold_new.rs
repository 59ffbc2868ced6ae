//! Placing a hold: written, shown once more as it would be, and then placed once.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{Account, AccountStatus, AccountView, AuthoriseHold, payee::Payee};
use http::StatusCode;
use operation::RefusalKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{moving, transfers::in_words, under_way};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "areas/hold_new.html")]
struct NewHold {
    page: Page,
    form: Form,
    account: Account,
    hint: String,
}

#[derive(Template)]
#[template(path = "areas/hold_confirm.html")]
struct Confirm {
    page: Page,
    form: Form,
    once: String,
    who: String,
    account: Account,
    to: Option<Payee>,
    amount: i64,
    remains: i64,
}

/// What a form asks for, as far as it can be read.
struct Order {
    to: Option<Payee>,
    amount: i64,
}

/// `GET /accounts/{id}/hold`.
pub(crate) async fn ask(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let account = account_for(&visitor, id).await?;
    draw(&visitor, account, Form::new(&params), StatusCode::OK)
}

/// `POST /accounts/{id}/hold`: without a key nothing is held and what would be is shown;
/// with the key of that summary it is placed.
pub(crate) async fn place(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let account = account_for(&visitor, id).await?;
    let order = match resolve(&visitor, &account, &params).await? {
        Ok(order) if params.get("change").is_none() => order,
        Ok(_) => return draw(&visitor, account, Form::new(&params), StatusCode::OK),
        Err(form) => return draw(&visitor, account, form, StatusCode::UNPROCESSABLE_ENTITY),
    };
    if params.raw("once").is_none() {
        return review(&visitor, account, order, &params);
    }
    let once = visitor.once_of(&params)?;
    let command = AuthoriseHold {
        account_id: id,
        to_account_id: order.to.map(|to| to.account_id),
        amount: order.amount,
        currency: Some(account.currency),
        description: params.text("description").to_owned(),
        reference: params.get("reference").map(str::to_owned),
        expires_at: None,
    };
    match under_way::attempt(&visitor, command, once).await? {
        Ok(reply) => {
            let repeated = "This had been held before; nothing is held twice";
            let said = if reply.replayed { repeated } else { "Money held" };
            visitor.redirect_saying(&format!("/holds/{}", reply.output.id), said)
        }
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("/accounts/{id}/hold"), &params)
        }
        Err(refusal) => {
            let status = match refusal.kind {
                RefusalKind::Conflict => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            draw(&visitor, account, Form::refused(&params, &in_words(refusal)), status)
        }
    }
}

async fn account_for(visitor: &Visitor, id: Uuid) -> Result<Account, Fault> {
    if !visitor.may(Permission::HoldCreate) {
        return Err(Fault::denied());
    }
    visitor.read(&AccountView { account_id: id }).await
}

/// Reads the form. No number means the bank's own settlement account.
async fn resolve(
    visitor: &Visitor,
    account: &Account,
    params: &Params,
) -> Result<Result<Order, Form>, Fault> {
    let form = moving::texts(Form::new(params), params);
    let (mut form, amount) = moving::amount(form, params, account.currency);
    let mut to = None;
    if let Some(text) = params.get("to_account_id") {
        to = moving::payee(visitor, text).await?;
        match &to {
            None => {
                let (code, message) = moving::unknown_number(text);
                form = form.fault("to_account_id", code, message);
            }
            Some(to) if to.account_id == account.id => {
                let message = "This is the account that the money is held on";
                form = form.fault("to_account_id", "same_account", message);
            }
            Some(to) if to.currency != account.currency => {
                let (theirs, ours) = (to.currency.code(), account.currency.code());
                let message = format!("This account holds {theirs}, the other one {ours}");
                form = form.fault("to_account_id", "currency_mismatch", message);
            }
            Some(_) => {}
        }
    }
    Ok(match amount {
        Some(amount) if !form.is_faulty() => Ok(Order { to, amount }),
        _ => Err(form),
    })
}

fn review(visitor: &Visitor, account: Account, order: Order, params: &Params) -> Answer {
    let Order { to, amount } = order;
    let form = affordable(Form::new(params), &account, amount);
    if form.is_faulty() {
        return draw(visitor, account, form, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let mut body = body_of(&account, amount, params.text("description"));
    if let Some(to) = &to {
        body["to_account_id"] = json!(to.account_id);
    }
    if let Some(reference) = params.get("reference") {
        body["reference"] = json!(reference);
    }
    let lead = "Nothing is held yet. Check every line: whom it is promised to never changes.";
    let page = page_of(visitor, &account, "Confirm the hold", &body)
        .lead(lead)
        .crumb("Hold money", format!("/accounts/{}/hold", account.id));
    let confirm = Confirm {
        page,
        form,
        once: visitor.once(),
        who: visitor.session.username.clone(),
        remains: account.available_balance - amount,
        account,
        to,
        amount,
    };
    visitor.show(&confirm)
}

/// What is known to fail is said before it is tried; the command decides all the same.
fn affordable(form: Form, account: &Account, amount: i64) -> Form {
    if account.status != AccountStatus::Active {
        let message = format!("This account is {}: nothing is held on it", account.status.as_str());
        return form.fault("amount", "account_frozen", message);
    }
    if amount > account.available_balance {
        let available = kit::amount_text(account.available_balance, account.currency);
        let message = format!("Only {available} {} is available", account.currency.code());
        return form.fault("amount", "insufficient_funds", message);
    }
    form
}

fn body_of(account: &Account, amount: i64, description: &str) -> Value {
    json!({
        "account_id": account.id, "amount": amount, "currency": account.currency,
        "description": description,
    })
}

fn page_of(visitor: &Visitor, account: &Account, title: &str, body: &Value) -> Page {
    visitor
        .page(title)
        .crumb("Accounts", "/accounts")
        .crumb(account.account_number.clone(), format!("/accounts/{}", account.id))
        .api_call("POST", "/v1/holds", serde_json::to_string_pretty(body).ok())
}

fn draw(visitor: &Visitor, account: Account, form: Form, status: StatusCode) -> Answer {
    let body = body_of(&account, 10_000, "");
    let page = page_of(visitor, &account, "Hold money", &body)
        .lead("It stays on the balance and is no longer available. You see it once more first.");
    let currency = account.currency;
    let hint = format!("In {}, like {}.", currency.code(), currency.format_minor(123_450));
    visitor.show_as(status, &NewHold { page, form, account, hint })
}
