//! Money over the counter: deposits, withdrawals and fees at one account.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{Account, AccountView, ChargeFee, Deposit, Transfer, Withdraw};
use http::StatusCode;
use jiff::civil::Date;
use operation::{Refusal, Reply};
use serde_json::json;
use uuid::Uuid;

use super::{moving, transfers::in_words, under_way};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// What is done at the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Deposit,
    Withdraw,
    Fee,
}

impl Act {
    const fn permission(self) -> Permission {
        match self {
            Self::Deposit => Permission::TransactionDeposit,
            Self::Withdraw => Permission::TransactionWithdraw,
            Self::Fee => Permission::TransactionFee,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdraw => "withdraw",
            Self::Fee => "fee",
        }
    }

    const fn resource(self) -> &'static str {
        match self {
            Self::Deposit => "deposits",
            Self::Withdraw => "withdrawals",
            Self::Fee => "fees",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Deposit => "Deposit cash",
            Self::Withdraw => "Withdraw cash",
            Self::Fee => "Charge a fee",
        }
    }

    const fn lead(self) -> &'static str {
        match self {
            Self::Deposit => "Count the money first: it is booked at once.",
            Self::Withdraw => "Hand out the money after it is booked.",
            Self::Fee => "It takes effect today, and only where the account can pay it.",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Deposit => "Deposit booked",
            Self::Withdraw => "Withdrawal booked",
            Self::Fee => "Fee charged",
        }
    }

    /// A fee is of today; cash may have come or gone on an earlier day.
    const fn takes_a_day(self) -> bool {
        !matches!(self, Self::Fee)
    }
}

#[derive(Template)]
#[template(path = "areas/teller.html")]
struct Counter {
    page: Page,
    form: Form,
    once: String,
    account: Account,
    action: String,
    verb: &'static str,
    hint: String,
    takes_a_day: bool,
}

/// What the form asks for.
struct Order {
    amount: i64,
    description: String,
    reference: Option<String>,
    value_date: Option<Date>,
}

/// `GET /accounts/{id}/deposit`.
pub(crate) async fn ask_deposit(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    ask(&visitor, Act::Deposit, path.0, &params).await
}

/// `GET /accounts/{id}/withdraw`.
pub(crate) async fn ask_withdrawal(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    ask(&visitor, Act::Withdraw, path.0, &params).await
}

/// `GET /accounts/{id}/fee`.
pub(crate) async fn ask_fee(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    ask(&visitor, Act::Fee, path.0, &params).await
}

/// `POST /accounts/{id}/deposit`.
pub(crate) async fn deposit(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    act(&visitor, Act::Deposit, path.0, &params).await
}

/// `POST /accounts/{id}/withdraw`.
pub(crate) async fn withdraw(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    act(&visitor, Act::Withdraw, path.0, &params).await
}

/// `POST /accounts/{id}/fee`.
pub(crate) async fn charge(visitor: Visitor, path: Path<Uuid>, params: Params) -> Answer {
    act(&visitor, Act::Fee, path.0, &params).await
}

async fn account_for(visitor: &Visitor, act: Act, id: Uuid) -> Result<Account, Fault> {
    if !visitor.may(act.permission()) {
        return Err(Fault::denied());
    }
    visitor.read(&AccountView { account_id: id }).await
}

async fn ask(visitor: &Visitor, act: Act, id: Uuid, params: &Params) -> Answer {
    let account = account_for(visitor, act, id).await?;
    draw(visitor, act, account, Form::new(params), StatusCode::OK)
}

async fn act(visitor: &Visitor, act: Act, id: Uuid, params: &Params) -> Answer {
    let once = visitor.once_of(params)?;
    let account = account_for(visitor, act, id).await?;
    let form = moving::texts(Form::new(params), params);
    let (form, amount) = moving::amount(form, params, account.currency);
    let (form, value_date) = moving::day(form, params, "value_date");
    let Some(amount) = amount.filter(|_| !form.is_faulty()) else {
        return draw(visitor, act, account, form, StatusCode::UNPROCESSABLE_ENTITY);
    };
    let order = Order {
        amount,
        description: params.text("description").to_owned(),
        reference: params.get("reference").map(str::to_owned),
        value_date,
    };
    match order.run(visitor, act, &account, once).await? {
        Ok(reply) => {
            let to = format!("/transfers/{}", reply.output.id);
            let repeated = "This had been booked before; nothing moved twice";
            visitor.redirect_saying(&to, if reply.replayed { repeated } else { act.done() })
        }
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(visitor, &format!("/accounts/{id}/{}", act.path()), params)
        }
        Err(refusal) => {
            let form = Form::refused(params, &in_words(refusal));
            draw(visitor, act, account, form, StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

impl Order {
    async fn run(
        self,
        visitor: &Visitor,
        act: Act,
        account: &Account,
        once: String,
    ) -> Result<Result<Reply<Transfer>, Refusal>, Fault> {
        let Self { amount, description, reference, value_date } = self;
        let (account_id, currency) = (account.id, Some(account.currency));
        match act {
            Act::Deposit => {
                let command =
                    Deposit { account_id, amount, currency, description, reference, value_date };
                under_way::attempt(visitor, command, once).await
            }
            Act::Withdraw => {
                let command =
                    Withdraw { account_id, amount, currency, description, reference, value_date };
                under_way::attempt(visitor, command, once).await
            }
            Act::Fee => {
                let command = ChargeFee { account_id, amount, currency, description, reference };
                under_way::attempt(visitor, command, once).await
            }
        }
    }
}

fn draw(visitor: &Visitor, act: Act, account: Account, form: Form, status: StatusCode) -> Answer {
    let body = json!({ "amount": 10_000, "currency": account.currency, "description": "" });
    let page = visitor
        .page(act.title())
        .lead(act.lead())
        .crumb("Accounts", "/accounts")
        .crumb(account.account_number.clone(), format!("/accounts/{}", account.id))
        .api_call(
            "POST",
            format!("/v1/accounts/{}/{}", account.id, act.resource()),
            serde_json::to_string_pretty(&body).ok(),
        );
    let currency = account.currency;
    let hint = format!("In {}, like {}.", currency.code(), currency.format_minor(123_450));
    let action = format!("/accounts/{}/{}", account.id, act.path());
    let counter = Counter {
        page,
        form,
        once: visitor.once(),
        account,
        action,
        verb: act.title(),
        hint,
        takes_a_day: act.takes_a_day(),
    };
    visitor.show_as(status, &counter)
}
