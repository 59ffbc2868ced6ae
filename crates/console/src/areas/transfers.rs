//! A transfer: written, shown once more as it would be done, done once, and looked at
//! afterwards; and its undoing.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{
    Account, AccountFilter, AccountList, AccountStatus, CreateTransfer, MovementView,
    ReverseTransaction, Transaction, Transfer, TransferKind, TransferView,
    movements::business_date,
    payee::{MovementSides, Payee, Side},
};
use http::StatusCode;
use jiff::{civil::Date, tz::TimeZone};
use operation::{Call, OperationError, PageRequest, Refusal, RefusalKind, Reply};
use serde_json::json;
use uuid::Uuid;

use super::{
    approval::{Asked, Waiting},
    moving, transfer_proof, under_way,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Accounts that the list to choose from holds; nobody chooses among more.
const CHOICES: u32 = 100;

#[derive(Template)]
#[template(path = "areas/transfer_new.html")]
struct NewTransfer {
    page: Page,
    form: Form,
    /// One's own accounts to choose from; none for those who type a number.
    choices: Option<Vec<(String, String)>>,
}

#[derive(Template)]
#[template(path = "areas/transfer_confirm.html")]
struct Confirm {
    page: Page,
    form: Form,
    once: String,
    who: String,
    from: Account,
    from_owner: Option<String>,
    to: Payee,
    to_owner: Option<String>,
    amount: i64,
    today: Date,
    remains: i64,
    balance_after: i64,
    /// It is only ordered: a second person has to agree first.
    waits: bool,
}

#[derive(Template)]
#[template(path = "areas/transfer.html")]
struct Shown {
    page: Page,
    zone: TimeZone,
    transfer: Transfer,
    who: Option<String>,
    entries: Vec<(Transaction, Option<Side>)>,
    from: Option<Side>,
    to: Option<Side>,
    reverse: Option<String>,
    once: String,
    account_link: Option<String>,
    /// What waits, or waited and was not made.
    approval: Option<Waiting>,
}

#[derive(Template)]
#[template(path = "areas/transfer_reverse.html")]
struct AskReversal {
    page: Page,
    form: Form,
    once: String,
    transfer: Transfer,
}

impl NewTransfer {
    /// Somebody who chooses among accounts and has none.
    fn has_nothing(&self) -> bool {
        self.choices.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Shown {
    /// Where a side is looked at, for those who may.
    fn place(&self, side: Option<&Side>) -> Option<String> {
        let _ = self;
        let side = side.filter(|side| side.is_readable)?;
        Some(format!("/accounts/{}", side.account_id))
    }
}

/// What a form asks for, as far as it can be read.
pub(super) struct Order {
    pub(super) from: Account,
    pub(super) to: Payee,
    pub(super) amount: i64,
}

/// The fields of the form.
pub(super) const FIELDS: [&str; 5] =
    ["from_account_id", "to_account_id", "amount", "description", "reference"];

fn needs(visitor: &Visitor, permission: Permission) -> Result<(), Fault> {
    if visitor.may(permission) { Ok(()) } else { Err(Fault::denied()) }
}

/// The status of a transfer that moved money.
const POSTED: &str = "posted";

/// `GET /transfers`: there is no list of movements but an account's; a page reloaded
/// behind a refused form comes here.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect("/transfers/new")
}

/// `GET /transfers/new?from_account_id=&to_account_id=&amount=`.
pub(crate) async fn new(visitor: Visitor, params: Params) -> Answer {
    needs(&visitor, Permission::TransactionCreate)?;
    draw(&visitor, Form::new(&params), StatusCode::OK).await
}

/// `POST /transfers/new`: nothing moves; what would is shown.
pub(crate) async fn review(visitor: Visitor, params: Params) -> Answer {
    needs(&visitor, Permission::TransactionCreate)?;
    let order = match resolve(&visitor, &params).await? {
        Ok(order) if params.get("change").is_none() => order,
        Ok(_) => return draw(&visitor, Form::new(&params), StatusCode::OK).await,
        Err(form) => return draw(&visitor, form, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    let (waits, proves) = duties(&visitor, order.amount).await?;
    let form = affordable(Form::new(&params), &order, waits);
    if form.is_faulty() {
        return draw(&visitor, form, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let Order { from, to, amount } = order;
    let mut body = json!({
        "from_account_id": from.id, "to_account_id": to.account_id, "amount": amount,
        "currency": from.currency, "description": params.text("description"),
    });
    if let Some(reference) = params.get("reference") {
        body["reference"] = json!(reference);
    }
    let lead = if waits {
        "Nothing moves yet: the amount is above what one person may move alone, so a second one has to agree."
    } else {
        "Nothing has moved yet. Check every line; a transfer is final once it is made."
    };
    let lead = if proves {
        format!("{lead} You confirm an amount like this with your second factor.")
    } else {
        lead.to_owned()
    };
    let page = visitor
        .page("Confirm the transfer")
        .lead(lead)
        .crumb("New transfer", "/transfers/new")
        .api_call("POST", "/v1/transfers", serde_json::to_string_pretty(&body).ok());
    visitor.show(&Confirm {
        page,
        form,
        once: visitor.once(),
        who: visitor.session.username.clone(),
        from_owner: moving::owner(&visitor, from.id).await?,
        to_owner: moving::owner(&visitor, to.account_id).await?,
        today: business_date(visitor.context())?,
        remains: from.available_balance - amount,
        balance_after: from.balance - amount,
        waits,
        from,
        to,
        amount,
    })
}

/// `POST /transfers`: done once, however often the form is sent.
pub(crate) async fn create(visitor: Visitor, params: Params) -> Answer {
    needs(&visitor, Permission::TransactionCreate)?;
    let once = visitor.once_of(&params)?;
    // Balances are not looked at here: a form sent twice finds them as it left them.
    let order = match resolve(&visitor, &params).await? {
        Ok(order) => order,
        Err(form) => return draw(&visitor, form, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    place(&visitor, &params, order, once).await
}

/// Runs the order of a form under its key.
pub(super) async fn ordered(
    visitor: &Visitor,
    params: &Params,
    order: &Order,
    once: String,
) -> Result<Reply<Transfer>, OperationError> {
    let command = CreateTransfer {
        from_account_id: order.from.id,
        to_account_id: order.to.account_id,
        amount: order.amount,
        currency: order.from.currency,
        description: params.text("description").to_owned(),
        reference: params.get("reference").map(str::to_owned),
    };
    let context = visitor.context().clone();
    let call = Call { context, idempotency_key: Some(once), command };
    under_way::settled(
        || visitor.console.transfers.run_one(call.clone()),
        |done| matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal)),
    )
    .await
}

/// The same with its page; where a second factor is due first, with the question for it.
pub(super) async fn place(
    visitor: &Visitor,
    params: &Params,
    order: Order,
    once: String,
) -> Answer {
    match ordered(visitor, params, &order, once).await {
        Ok(reply) => made(visitor, &reply),
        Err(OperationError::Refused(refusal)) if refusal.code == transfer_proof::DUE => {
            transfer_proof::lead(visitor, params, order).await
        }
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(visitor, "/transfers", params)
        }
        Err(OperationError::Refused(refusal)) if is_for_the_form(refusal.kind) => {
            let status = StatusCode::from_u16(refusal.kind.status());
            let status = status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
            draw(visitor, Form::refused(params, &in_words(refusal)), status).await
        }
        Err(error) => Err(error.into()),
    }
}

/// To the transfer, with what became of it.
pub(super) fn made(visitor: &Visitor, reply: &Reply<Transfer>) -> Answer {
    let said = match (reply.output.status.as_str(), reply.replayed) {
        (POSTED, false) => "Transfer made",
        (POSTED, true) => "This transfer had been made before; nothing moved twice",
        _ => "Ordered: it waits for a second person",
    };
    visitor.redirect_saying(&format!("/transfers/{}", reply.output.id), said)
}

/// `GET /transfers/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let ordered = visitor.read(&TransferView { transfer_id: id }).await?;
    if ordered.status != POSTED {
        let asked = Asked { refused: None, dialog: params.text("confirm").to_owned() };
        return unposted(&visitor, ordered, asked, StatusCode::OK).await;
    }
    let movement = visitor.read(&MovementView { transfer_id: id }).await?;
    let sides = visitor.read(&MovementSides { transfer_id: id }).await?;
    let transfer = movement.transfer;
    let side = |id: Uuid| sides.iter().find(|side| side.account_id == id).cloned();
    let reversible = !matches!(transfer.kind, TransferKind::Reversal | TransferKind::Import);
    let may_reverse = reversible
        && transfer.reversed_by_transfer_id.is_none()
        && visitor.may(Permission::TransactionReverse);
    let page = visitor.page(title(&transfer)).api(format!("/v1/transfers/{id}"));
    visitor.show(&Shown {
        page,
        zone: visitor.zone(),
        who: who(&visitor, transfer.created_by).await?,
        from: side(transfer.from_account_id),
        to: side(transfer.to_account_id),
        account_link: sides
            .iter()
            .find(|side| side.is_readable)
            .map(|side| format!("/accounts/{}", side.account_id)),
        entries: movement
            .entries
            .into_iter()
            .map(|entry| {
                let side = side(entry.account_id);
                (entry, side)
            })
            .collect(),
        reverse: may_reverse.then(|| format!("/transfers/{id}/reverse")),
        once: visitor.once(),
        approval: None,
        transfer,
    })
}

/// `GET /transfers/{id}/reverse`: the question, for those without scripts.
pub(crate) async fn ask_reversal(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    needs(&visitor, Permission::TransactionReverse)?;
    draw_reversal(&visitor, id, Form::default(), StatusCode::OK).await
}

/// `POST /transfers/{id}/reverse`.
pub(crate) async fn reverse(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    needs(&visitor, Permission::TransactionReverse)?;
    let once = visitor.once_of(&params)?;
    let (form, value_date) = moving::day(Form::new(&params), &params, "value_date");
    if form.is_faulty() {
        return draw_reversal(&visitor, id, form, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let reason = params.get("reason").map(str::to_owned);
    let command = ReverseTransaction { transaction_id: id, reason, value_date };
    match under_way::attempt(&visitor, command, once).await? {
        Ok(reply) => {
            let to = format!("/transfers/{}", reply.output.id);
            visitor.redirect_saying(&to, "Reversed: this is the counter-movement")
        }
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("/transfers/{id}/reverse"), &params)
        }
        Err(refusal) => {
            let form = Form::refused(&params, &in_words(refusal));
            draw_reversal(&visitor, id, form, StatusCode::UNPROCESSABLE_ENTITY).await
        }
    }
}

async fn draw(visitor: &Visitor, form: Form, status: StatusCode) -> Answer {
    let choices = if moving::chooses(visitor) { Some(choices(visitor).await?) } else { None };
    // There is no order to show before there is one: the accounts that it may begin at.
    let page = visitor
        .page("New transfer")
        .lead("You see everything once more before it is done.")
        .api("/v1/accounts?status=active");
    visitor.show_as(status, &NewTransfer { page, form, choices })
}

async fn choices(visitor: &Visitor) -> Result<Vec<(String, String)>, Fault> {
    let filter = AccountFilter { status: Some(AccountStatus::Active), ..AccountFilter::default() };
    let page = PageRequest { limit: CHOICES, after: None, ..PageRequest::default() };
    let found = visitor.read(&AccountList { filter, page }).await?;
    let choice = |account: Account| {
        let kind = kit::words(account.account_type.as_str());
        let available = kit::amount_text(account.available_balance, account.currency);
        let code = account.currency.code();
        let label = format!("{} · {kind} · {available} {code} available", account.account_number);
        (account.id.to_string(), label)
    };
    Ok(found.data.into_iter().map(choice).collect())
}

/// Reads the form: accounts that exist for this person, an amount, texts.
pub(super) async fn resolve(
    visitor: &Visitor,
    params: &Params,
) -> Result<Result<Order, Form>, Fault> {
    let mut form = moving::texts(Form::new(params), params);
    let from = match params.get("from_account_id") {
        Some(text) => moving::readable(visitor, text).await?,
        None => None,
    };
    if from.is_none() {
        let text = params.text("from_account_id");
        let (code, message) = if text.is_empty() {
            ("required", "Say which account to take it from".to_owned())
        } else {
            moving::unknown_number(text)
        };
        form = form.fault("from_account_id", code, message);
    }
    let to = match params.get("to_account_id") {
        Some(text) => moving::payee(visitor, text).await?,
        None => None,
    };
    match &to {
        None => {
            let text = params.text("to_account_id");
            let (code, message) = if text.is_empty() {
                ("required", "Enter the number of the account to pay".to_owned())
            } else {
                moving::unknown_number(text)
            };
            form = form.fault("to_account_id", code, message);
        }
        Some(to) if from.as_ref().is_some_and(|from| from.id == to.account_id) => {
            let message = "This is the account that the money comes from";
            form = form.fault("to_account_id", "same_account", message);
        }
        Some(to) => {
            if let Some(from) = from.as_ref().filter(|from| from.currency != to.currency) {
                let (theirs, ours) = (to.currency.code(), from.currency.code());
                let message = format!("This account holds {theirs}, the other one {ours}");
                form = form.fault("to_account_id", "currency_mismatch", message);
            }
        }
    }
    let currency = from.as_ref().map(|from| from.currency).or(to.as_ref().map(|to| to.currency));
    let mut amount = None;
    if let Some(currency) = currency {
        (form, amount) = moving::amount(form, params, currency);
    }
    Ok(match (from, to, amount) {
        (Some(from), Some(to), Some(amount)) if !form.is_faulty() => Ok(Order { from, to, amount }),
        _ => Err(form),
    })
}

/// Whether so much has to wait for a second person, and whether it has to be proven first,
/// as the policy is now.
async fn duties(visitor: &Visitor, amount: i64) -> Result<(bool, bool), Fault> {
    let policy = visitor.console.identity.policy(visitor.context()).await?;
    let above = |limit: Option<i64>| limit.is_some_and(|limit| amount > limit);
    Ok((above(policy.transfer_ceiling_minor), above(policy.transfer_step_up_minor)))
}

/// What is known to fail is said before it is tried; the command decides all the same.
/// What has to wait may lack the money until then.
fn affordable(form: Form, order: &Order, waits: bool) -> Form {
    let from = &order.from;
    if from.status != AccountStatus::Active {
        let message = format!("This account is {}: no money leaves it", from.status.as_str());
        return form.fault("from_account_id", "account_frozen", message);
    }
    if !waits && order.amount > from.available_balance {
        let available = kit::amount_text(from.available_balance, from.currency);
        let message = format!("Only {available} {} is available", from.currency.code());
        return form.fault("amount", "insufficient_funds", message);
    }
    form
}

/// The interface's field names mean nothing to people.
pub(crate) fn in_words(mut refusal: Refusal) -> Refusal {
    let told = match refusal.code.as_ref() {
        "insufficient_funds" => Some("There is not enough money on the account"),
        "account_frozen" => Some("The account is frozen: no money moves on it"),
        "account_closed" => Some("The account is closed"),
        "not_found" => Some("There is no such account that you can use"),
        "idempotency_key_reused" => {
            Some("This form was used for something else before. Check it and confirm again")
        }
        _ => None,
    };
    if let Some(told) = told {
        told.clone_into(&mut refusal.detail);
        for error in &mut refusal.errors {
            told.clone_into(&mut error.message);
        }
    }
    refusal
}

const fn is_for_the_form(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::Malformed | RefusalKind::Rule | RefusalKind::Conflict)
}

/// A movement that was to be decided just now, and was not; to its page where somebody else
/// has meanwhile.
pub(super) async fn draw_waiting(
    visitor: &Visitor,
    id: Uuid,
    asked: Asked,
    status: StatusCode,
) -> Answer {
    let ordered = visitor.read(&TransferView { transfer_id: id }).await?;
    if ordered.status == POSTED {
        let said = asked.refused.unwrap_or_default();
        return visitor.redirect_saying(&format!("/transfers/{id}"), said);
    }
    unposted(visitor, ordered, asked, status).await
}

/// Ordered, and not made: somebody else has to agree, or did not.
async fn unposted(
    visitor: &Visitor,
    transfer: Transfer,
    asked: Asked,
    status: StatusCode,
) -> Answer {
    let lead = match transfer.status.as_str() {
        "pending_approval" => "It waits for a second person. Nothing has moved yet.",
        "rejected" => "A second person rejected it. Nothing has moved.",
        _ => "Nobody agreed in time. Nothing has moved.",
    };
    // What was ordered, by whom, and what became of it is the approval's to tell.
    let source = match transfer.approval_id {
        Some(approval) => format!("/v1/approvals/{approval}"),
        None => format!("/v1/transfers/{}", transfer.id),
    };
    let mut page =
        visitor.page(title(&transfer)).lead(lead).crumb("Approvals", "/approvals").api(source);
    page.path = format!("/transfers/{}", transfer.id);
    let approval = match transfer.approval_id {
        Some(id) => Some(Waiting::of(visitor, id, asked).await?),
        None => None,
    };
    visitor.show_as(
        status,
        &Shown {
            page,
            zone: visitor.zone(),
            who: who(visitor, transfer.created_by).await?,
            entries: Vec::new(),
            from: None,
            to: None,
            reverse: None,
            once: String::new(),
            account_link: None,
            approval,
            transfer,
        },
    )
}

async fn draw_reversal(visitor: &Visitor, id: Uuid, form: Form, status: StatusCode) -> Answer {
    let transfer = visitor.read(&MovementView { transfer_id: id }).await?.transfer;
    let page = visitor
        .page("Reverse this movement?")
        .lead("A second movement undoes it, leg by leg. Both stay in the books for ever.")
        .crumb(title(&transfer), format!("/transfers/{id}"))
        .api_call("POST", format!("/v1/transactions/{id}/reverse"), Some("{}".to_owned()));
    let once = visitor.once();
    visitor.show_as(status, &AskReversal { page, form, once, transfer })
}

/// Who ordered it: oneself always, others for those who may know people.
async fn who(visitor: &Visitor, user: Uuid) -> Result<Option<String>, Fault> {
    if user == visitor.context().actor.id {
        return Ok(Some(visitor.session.username.clone()));
    }
    let all = visitor.console.operations.scope(visitor.context(), Permission::UserRead).is_all();
    if !all {
        return Ok(None);
    }
    let names = visitor.console.identity.user_names(visitor.context(), &[user], &[]).await?;
    Ok(names.into_iter().next().map(|(_, name)| name))
}

fn title(transfer: &Transfer) -> String {
    let kind = kit::words(transfer.kind.as_str());
    let amount = kit::amount_text(transfer.amount, transfer.currency);
    format!("{kind} of {amount} {}", transfer.currency.code())
}

/// A side in words: a number, or the bank's own account.
pub(crate) fn side_name(side: Option<&Side>) -> String {
    let Some(side) = side else { return "Not yours to see".to_owned() };
    match (&side.account_number, &side.code) {
        (Some(number), _) => number.clone(),
        (None, Some(code)) => format!("The bank’s {}", code.replace('_', " ")),
        (None, None) => "The bank".to_owned(),
    }
}
