//! The page between a transfer that was confirmed and one that is made, where the tenant
//! asks for a second factor of this amount: it names amount and payee, takes the code or a
//! passkey, and orders the transfer with it.
//!
//! What is proven is what the page was drawn for: it is asked for here, before anybody can
//! answer, so that a form whose amount or payee was changed since proves nothing. The form
//! keeps its one-time key: sent twice, the transfer is made once.

use askama::Template;
use banking::payee::PaymentToProve;
use http::StatusCode;
use identity::{Method, Payment, PaymentProven};
use operation::{OperationError, Refusal};
use zeroize::Zeroizing;

use super::{
    codes::{Choices, told_of},
    second_step::retry_after,
    transfers::{FIELDS, Order, made, ordered, place, resolve},
    webauthn,
};
use crate::{
    fault::{Answer, Fault},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// The code of a transfer that has to be proven first.
pub(super) const DUE: &str = "step_up_required";

#[derive(Template)]
#[template(path = "areas/transfer_proof.html")]
struct Proof {
    page: Page,
    order: Order,
    /// What the forms repeat: the order and its one-time key.
    fields: Vec<(&'static str, String)>,
    choices: Choices,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// What the page says beside its question.
#[derive(Default)]
struct Said {
    status: StatusCode,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// Draws the page for a transfer that was refused for want of a proof, and asks for one.
pub(super) async fn lead(visitor: &Visitor, params: &Params, order: Order) -> Answer {
    let held = held(visitor).await?;
    // Nothing is sent for these: whoever sees the page may answer at once.
    if let Some(method) = held.iter().copied().find(|method| is_at_hand(*method)) {
        let (payment, purpose) = asked(visitor, &order).await?;
        visitor
            .console
            .identity
            .ask_payment_proof(visitor.context(), method, payment, &purpose)
            .await?;
    }
    draw(visitor, params, (order, held), Said::default())
}

/// `GET /transfers/prove`: reloaded behind a form; there is nothing to prove without one.
pub(crate) async fn again(visitor: Visitor) -> Answer {
    visitor.redirect("/transfers/new")
}

/// `POST /transfers/prove`: the code or the passkey, or the wish to be sent a code.
pub(crate) async fn prove(visitor: Visitor, params: Params) -> Answer {
    let Ok(order) = resolve(&visitor, &params).await? else {
        return Err(Fault::malformed("amount"));
    };
    let context = visitor.context();
    let identity = &visitor.console.identity;
    if let Some(method) = params.get("send").and_then(Method::of) {
        let (payment, purpose) = asked(&visitor, &order).await?;
        return match identity.ask_payment_proof(context, method, payment, &purpose).await {
            Ok(()) => {
                let notice = "A code is on its way. The message names the amount and the payee.";
                let said = Said { notice: Some(notice), ..Said::default() };
                let held = held(&visitor).await?;
                draw(&visitor, &params, (order, held), said)
            }
            Err(error) => refused(&visitor, &params, order, error).await,
        };
    }
    let once = visitor.once_of(&params)?;
    match proven(&visitor, &params, &order).await? {
        Ok(_) => place(&visitor, &params, order, once).await,
        Err(error) => {
            // A form that was sent twice has used its proof up the first time.
            match ordered(&visitor, &params, &order, once).await {
                Ok(reply) => made(&visitor, &reply),
                Err(_) => refused(&visitor, &params, order, error).await,
            }
        }
    }
}

/// `POST /transfers/prove/options`: what the browser's authenticator is asked for.
pub(crate) async fn options(visitor: Visitor, params: Params) -> Answer {
    let Ok(order) = resolve(&visitor, &params).await? else {
        return Err(Fault::malformed("amount"));
    };
    let (payment, purpose) = asked(&visitor, &order).await?;
    let identity = &visitor.console.identity;
    let options = identity.passkey_payment_options(visitor.context(), payment, &purpose).await?;
    Ok(webauthn::request(&options))
}

async fn proven(
    visitor: &Visitor,
    params: &Params,
    order: &Order,
) -> Result<Result<PaymentProven, OperationError>, Fault> {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let payment = payment(order);
    if webauthn::is_in(params) {
        let proof = webauthn::proof(params)?;
        return Ok(identity.prove_payment_by_passkey(context, payment, proof).await);
    }
    let method = params.get("method").and_then(Method::of);
    let code = Zeroizing::new(params.raw("code").unwrap_or_default().to_owned());
    Ok(identity.prove_payment(context, payment, method, code).await)
}

/// The payment that a proof is bound to.
fn payment(order: &Order) -> Payment {
    Payment {
        from_account_id: order.from.id,
        to_account_id: order.to.account_id,
        amount: order.amount,
        currency: order.from.currency.code().to_owned(),
    }
}

/// The same, and what it is called in a message, as far as the transfer could be made.
async fn asked(visitor: &Visitor, order: &Order) -> Result<(Payment, String), Fault> {
    let judged = PaymentToProve {
        from_account_id: order.from.id,
        to_account_id: order.to.account_id,
        amount: order.amount,
        currency: order.from.currency,
    };
    let payee = judged.payee(&visitor.console.operations, visitor.context()).await?;
    Ok((payment(order), judged.purpose(&payee)))
}

async fn held(visitor: &Visitor) -> Result<Vec<Method>, Fault> {
    let factors = visitor.console.identity.factors(visitor.context()).await?;
    Ok(factors.iter().map(|factor| factor.method).collect())
}

const fn is_at_hand(method: Method) -> bool {
    matches!(method, Method::Totp | Method::Backup)
}

async fn refused(
    visitor: &Visitor,
    params: &Params,
    order: Order,
    error: OperationError,
) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    // What was asked for is over, or was asked for another payment: begin again.
    if refusal.code == DUE {
        return lead(visitor, params, order).await;
    }
    let Some(told) = told_of(params, &refusal) else { return Err(unanswered(refusal)) };
    let said = Said { status: told.status, fault: Some(told.words), notice: None };
    let held = held(visitor).await?;
    let mut response = draw(visitor, params, (order, held), said)?;
    retry_after(&mut response, told.retry_after_s);
    Ok(response)
}

fn unanswered(refusal: Refusal) -> Fault {
    OperationError::from(refusal).into()
}

fn draw(
    visitor: &Visitor,
    params: &Params,
    (order, held): (Order, Vec<Method>),
    said: Said,
) -> Answer {
    let chosen = params.get("send").or_else(|| params.get("method")).and_then(Method::of);
    let page = visitor
        .page("Confirm with your second factor")
        .lead("Nothing has moved yet. A transfer of this amount is confirmed for this payee alone.")
        .crumb("New transfer", "/transfers/new")
        .api("/v1/auth/mfa/methods");
    let once = visitor.once_of(params)?;
    let mut fields: Vec<(&'static str, String)> =
        FIELDS.iter().map(|name| (*name, params.text(name).to_owned())).collect();
    fields.push(("once", once));
    let template = Proof {
        page,
        order,
        fields,
        choices: Choices::of(&held, chosen),
        notice: said.notice,
        fault: said.fault,
    };
    visitor.show_as(said.status, &template)
}
