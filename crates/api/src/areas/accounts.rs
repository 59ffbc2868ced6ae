//! Savings accounts: opening, changing, closing, cash, history.

use axum::{extract::State, response::Response};
use banking::{
    AccountFilter, AccountList, AccountStatus, AccountView, BalanceAsOf, CloseAccount, OpenAccount,
    TransactionFilter, TransactionList, TransactionType, UpdateAccount,
};
use jiff::civil::Date;
use operation::{Call, Command};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, ok, ok_versioned, reply, tag};
use crate::{
    extract::{
        Caller, Id, IdempotencyKey, IfMatch, MaybeIfMatch, PageParameters, Paging, Parameters,
        RequiredIdempotencyKey, named,
    },
    json::Json,
    state::ApiState,
    wire::{
        accounts::{Account, Balance, ChangeAccount, OpenAccount as Opening, Transaction},
        transfers::{CashOrder, FeeOrder, Transfer},
    },
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountQuery {
    account_number: Option<String>,
    customer_id: Option<Uuid>,
    status: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for AccountQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}

/// The filters of an account's history.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    from: Option<Date>,
    to: Option<Date>,
    transaction_type: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for HistoryQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}

/// The day of a balance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BalanceQuery {
    #[serde(alias = "date")]
    as_of: Option<Date>,
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<AccountQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/accounts", &query).await?;
    let filter = AccountFilter {
        account_number: query.account_number,
        customer_id: query.customer_id,
        status: named::<AccountStatus>("status", query.status.as_deref())?,
        ..AccountFilter::default()
    };
    let view = AccountList { filter, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    Ok(paging.answer(page, Account::from))
}

pub(crate) async fn open(
    State(state): State<ApiState>,
    Caller(context): Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(opening): Json<Opening>,
) -> Answer {
    let command = OpenAccount { account: opening.checked()? };
    let done = state.operations.run_one(Call { context, idempotency_key, command }).await?;
    Ok(versioned(done))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
) -> Answer {
    let account = state.operations.read(&context, &AccountView { account_id }).await?;
    let version = account.version;
    ok_versioned(Account::from(account), version)
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    IfMatch(expected_version): IfMatch,
    Json(change): Json<ChangeAccount>,
) -> Answer {
    let change = change.checked()?;
    let command = UpdateAccount { account_id, expected_version, change };
    let done = state.operations.run_one(Call { context, idempotency_key: None, command }).await?;
    Ok(versioned(done))
}

pub(crate) async fn close(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    MaybeIfMatch(expected_version): MaybeIfMatch,
) -> Answer {
    let command = CloseAccount { account_id, expected_version };
    let done = state.operations.run_one(Call { context, idempotency_key: None, command }).await?;
    Ok(versioned(done))
}

fn versioned(done: operation::Reply<banking::Account>) -> Response {
    let version = done.output.version;
    let mut response = reply(done, Account::from);
    tag(&mut response, version);
    response
}

pub(crate) async fn deposit(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<CashOrder>,
) -> Answer {
    cash(&state, Call { context, idempotency_key: Some(key), command: order.deposit(account_id)? })
        .await
}

pub(crate) async fn withdraw(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<CashOrder>,
) -> Answer {
    cash(
        &state,
        Call { context, idempotency_key: Some(key), command: order.withdrawal(account_id)? },
    )
    .await
}

pub(crate) async fn charge(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<FeeOrder>,
) -> Answer {
    cash(&state, Call { context, idempotency_key: Some(key), command: order.checked(account_id)? })
        .await
}

async fn cash<C: Command<Output = banking::Transfer>>(state: &ApiState, call: Call<C>) -> Answer {
    Ok(reply(state.operations.run_one(call).await?, Transfer::from))
}

pub(crate) async fn transactions(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    Parameters(query): Parameters<HistoryQuery>,
) -> Answer {
    // The account is part of what a cursor belongs to.
    let list = format!("/v1/accounts/{account_id}/transactions");
    let paging = Paging::of(&state, &context, &list, &query).await?;
    let filter = TransactionFilter {
        from: query.from,
        to: query.to,
        transaction_type: named::<TransactionType>(
            "transaction_type",
            query.transaction_type.as_deref(),
        )?,
    };
    let view = TransactionList { account_id, filter, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    Ok(paging.answer(page, Transaction::from))
}

pub(crate) async fn balance(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(account_id): Id,
    Parameters(query): Parameters<BalanceQuery>,
) -> Answer {
    let date = match query.as_of {
        Some(date) => date,
        None => banking::movements::business_date(&context)?,
    };
    let balance = state.operations.read(&context, &BalanceAsOf { account_id, date }).await?;
    ok(Balance::from(balance))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use banking::{AccountStatus, TransactionType};
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, date, one_of, text, uuid},
        wire::{
            EXAMPLE_ID, List,
            accounts::{Account, Balance, ChangeAccount, OpenAccount, Transaction},
            transfers::{CashOrder, FeeOrder, Transfer},
        },
    };

    const CEILING: &str = "Above the tenant's ceiling it is refused (422, `approval_required`): only \
                           transfers can wait for a second person yet.";
    const POSTING_PROBLEMS: &[&str] = &[
        "insufficient_funds",
        "approval_required",
        "invalid_amount",
        "amount_too_large",
        "currency_mismatch",
        "account_frozen",
        "account_closed",
        "value_date_in_future",
        "value_date_before_opening",
    ];

    pub(crate) fn list() -> Doc {
        Doc::new("listAccounts", "accounts", "Accounts, newest first")
            .describe("A customer sees the accounts that they are a party to.")
            .query("account_number", text(), "With this number: at most one.")
            .query("customer_id", uuid(), "Of this owner.")
            .query(
                "status",
                one_of(AccountStatus::ALL.iter().map(|status| status.as_str())),
                "In this status.",
            )
            .paged()
            .answers::<List<Account>>(200, "A page of accounts.")
    }

    pub(crate) fn open() -> Doc {
        Doc::new("openAccount", "accounts", "Opens an account")
            .body::<OpenAccount>(json!({
                "customer_id": EXAMPLE_ID, "account_type": "savings", "currency": "EUR", "interest_rate": "4.25",
            }))
            .idempotent()
            .answers::<Account>(201, "The account, empty and active.")
            .etag()
            .problem(422, &["validation_failed", "not_found", "customer_inactive"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readAccount", "accounts", "One account")
            .answers::<Account>(200, "The account.")
            .etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeAccount", "accounts", "Changes limits or rate, freezes or releases")
            .body::<ChangeAccount>(json!({ "status": "frozen" }))
            .if_match()
            .answers::<Account>(200, "The account as it is now.")
            .etag()
            .problem(422, &["validation_failed", "account_closed", "overdraft_in_use"])
    }

    pub(crate) fn close() -> Doc {
        Doc::new("closeAccount", "accounts", "Closes an empty account for ever")
            .answers::<Account>(200, "The account, closed.")
            .etag()
            .honours_if_match()
            .problem(422, &["account_not_empty", "account_closed"])
    }

    pub(crate) fn deposit() -> Doc {
        Doc::new("deposit", "accounts", "Cash in over the counter")
            .describe(CEILING)
            .body::<CashOrder>(
                json!({ "amount": 10_000, "description": "Cash", "reference": "slip 17" }),
            )
            .moves_money()
            .answers::<Transfer>(201, "The movement.")
            .problem(422, POSTING_PROBLEMS)
    }

    pub(crate) fn withdraw() -> Doc {
        Doc::new("withdraw", "accounts", "Cash out over the counter")
            .describe(CEILING)
            .body::<CashOrder>(json!({ "amount": 2_500, "description": "Cash" }))
            .moves_money()
            .answers::<Transfer>(201, "The movement.")
            .problem(422, POSTING_PROBLEMS)
    }

    pub(crate) fn charge() -> Doc {
        Doc::new("chargeFee", "accounts", "Charges a fee")
            .describe(
                "It is a debit like any other: what the account cannot pay is refused, and so is one above \
                 the tenant's ceiling (422, `approval_required`).",
            )
            .body::<FeeOrder>(json!({ "amount": 500, "description": "Paper statement" }))
            .moves_money()
            .answers::<Transfer>(201, "The movement.")
            .problem(422, POSTING_PROBLEMS)
    }

    pub(crate) fn transactions() -> Doc {
        let kinds = TransactionType::ALL.iter().map(|kind| kind.as_str());
        Doc::new("listTransactions", "accounts", "An account's entries, newest first")
            .query("from", date(), "Value date not before.")
            .query("to", date(), "Value date not after.")
            .query("transaction_type", one_of(kinds), "Of this type.")
            .paged()
            .answers::<List<Transaction>>(200, "A page of entries.")
    }

    pub(crate) fn balance() -> Doc {
        Doc::new("readBalance", "accounts", "An account's balance at the end of a day")
            .query(
                "as_of",
                date(),
                "The day (also as `date`); today in the tenant's zone where absent.",
            )
            .answers::<Balance>(200, "The balance.")
    }
}
