//! Accounts: the list, its file, and the form that opens one.

use std::collections::HashMap;

use access::Permission;
use askama::Template;
use banking::{
    Account, AccountFilter, AccountList, AccountStatus, AccountType, NewAccount, OpenAccount,
};
use http::StatusCode;
use money::Currency;
use serde_json::json;
use uuid::Uuid;

use super::{
    as_api::{AsApi, address},
    customers::{choices, names},
    export::{self, Bounds, File},
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

const PATH: &str = "/accounts";
const EXPORT_PATH: &str = "/accounts/export";
const EXPORT: Bounds = Bounds { page_rows: 1_000, rows: 5_000, reads: 5 };
/// The list as a file.
struct AccountsFile;

impl File for AccountsFile {
    const ACTION: &'static str = "account.export";
    const RESOURCE: &'static str = "account";
    const PERMISSION: Permission = Permission::AccountRead;
    const PERSONAL: bool = false;
    const COLUMNS: &'static [&'static str] = &[
        "Number",
        "Type",
        "Status",
        "Currency",
        "Balance",
        "Available",
        "Overdraft limit",
        "Minimum balance",
        "Interest rate",
        "Opened",
        "Closed",
        "Owner",
        "Id",
    ];
    const TOLD: &'static [&'static str] = &["customer_id", "status", "account_type", "currency"];
    const NAMED: &'static [&'static str] = &["account_number"];
}

/// The currencies offered first; any other may be typed into the address.
const CURRENCIES: [&str; 6] = ["EUR", "CZK", "GBP", "USD", "CHF", "PLN"];

#[derive(Template)]
#[template(path = "areas/accounts.html")]
struct Accounts {
    page: Page,
    params: Params,
    statuses: Vec<(String, String)>,
    types: Vec<(String, String)>,
    currencies: Vec<(String, String)>,
    may_open: bool,
    /// The one customer whose accounts these are.
    customer: Option<(Uuid, String)>,
    everybody: String,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/accounts_rows.html")]
struct Rows {
    accounts: Vec<(Account, Option<String>)>,
    /// Whether names of owners were found: not for people who see their own only.
    names_owners: bool,
    is_filtered: bool,
    export: String,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

#[derive(Template)]
#[template(path = "areas/account_new.html")]
struct Opening {
    page: Page,
    form: Form,
    once: String,
    customer: Option<(Uuid, String)>,
    types: Vec<(String, String)>,
    currencies: Vec<(String, String)>,
}

/// `GET /accounts`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let request = visitor.page_request(PATH, &params).await?;
    let filter = filter_of(&params)?;
    let customer_id = filter.customer_id;
    let page = visitor
        .page("Accounts")
        .lead("All that you may see, the newest first.")
        .api(api_of(&filter));
    let api = AsApi::of(&page, untold(&filter));
    let found = visitor.read(&AccountList { filter, page: request }).await?;
    let mut wanted: Vec<Uuid> = found.data.iter().map(|account| account.customer_id).collect();
    wanted.extend(customer_id);
    let mut known = names(&visitor, wanted).await?;
    let list = Rows {
        names_owners: found.data.iter().any(|account| known.contains_key(&account.customer_id)),
        is_filtered: is_filtered(&params),
        export: params.link(EXPORT_PATH, "cursor", ""),
        api,
        first: params.get("cursor").map(|_| params.link(PATH, "cursor", "")),
        next: visitor.next_page(PATH, &params, found.next.as_deref()).await?,
        accounts: with_owners(found.data, &known),
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let customer = customer_id.and_then(|id| known.remove(&id).map(|name| (id, name)));
    let everybody = params.link(PATH, "customer_id", "");
    visitor.show(&Accounts {
        page,
        statuses: choices(
            &AccountStatus::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>(),
        ),
        types: choices(&AccountType::ALL.map(AccountType::as_str)),
        currencies: currencies(&params),
        may_open: visitor.may(Permission::AccountCreate),
        params,
        customer,
        everybody,
        list,
    })
}

/// `GET /accounts/export`: what the list shows, as a file, up to a bound.
pub(crate) async fn export(visitor: Visitor, params: Params) -> Answer {
    let filter = filter_of(&params)?;
    let lines = export::lines::<AccountsFile, _>(&visitor, EXPORT_PATH, &params, &EXPORT, |page| {
        let list = AccountList { filter: filter.clone(), page };
        let visitor = &visitor;
        async move {
            let found = visitor.read(&list).await?;
            Ok((found.data.iter().map(exported).collect(), found.next))
        }
    })
    .await?;
    export::send::<AccountsFile>(&visitor, "accounts", &params, None, &lines).await
}

/// `GET /accounts/new`.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    if !visitor.may(Permission::AccountCreate) {
        return Err(Fault::denied());
    }
    let once = visitor.once();
    draw_opening(&visitor, Form::new(&params), &params, once, StatusCode::OK).await
}

/// `POST /accounts/new`.
pub(crate) async fn open(visitor: Visitor, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let account = match opening_of(&form) {
        Ok(account) => account,
        Err(faulty) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return draw_opening(&visitor, faulty, &form, once, status).await;
        }
    };
    match under_way::attempt(&visitor, OpenAccount { account }, once).await? {
        Ok(reply) => {
            let to = format!("/accounts/{}", reply.output.id);
            visitor.redirect_saying(&to, "Account opened")
        }
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, "/accounts/new", &form)
        }
        Err(refusal) => {
            let drawn = Form::refused(&form, &refusal);
            // Another key: what was refused is remembered under the old one.
            let (once, status) = (visitor.once(), StatusCode::UNPROCESSABLE_ENTITY);
            draw_opening(&visitor, drawn, &form, once, status).await
        }
    }
}

/// Reads an amount that somebody typed; minor units. Nothing is nothing.
pub(crate) fn amount_of(
    form: &Params,
    name: &'static str,
    currency: Currency,
) -> Result<Option<i64>, Form> {
    let Some(text) = form.get(name) else { return Ok(None) };
    let parsed = currency.parse_minor(text);
    parsed.map(Some).map_err(|_| {
        let example = currency.format_minor(123_450);
        Form::new(form).fault(name, "invalid_value", format!("Write it like {example}"))
    })
}

fn filter_of(params: &Params) -> Result<AccountFilter, Fault> {
    let number = params.get("account_number").map(|number| {
        number.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_uppercase()
    });
    Ok(AccountFilter {
        account_number: number,
        customer_id: params.id("customer_id")?,
        status: params.parsed("status")?,
        account_type: params.parsed("account_type")?,
        currency: params.parsed("currency")?,
    })
}

/// The same list from the interface, as far as it knows the filters.
fn api_of(filter: &AccountFilter) -> String {
    let filters = [
        ("account_number", filter.account_number.clone()),
        ("customer_id", filter.customer_id.map(|id| id.to_string())),
        ("status", filter.status.map(|status| status.as_str().to_owned())),
    ];
    address("/v1/accounts", &filters)
}

fn untold(filter: &AccountFilter) -> &'static str {
    if filter.account_type.is_some() || filter.currency.is_some() {
        "The API has no filter for type and currency: it gives the accounts of every one."
    } else {
        ""
    }
}

fn is_filtered(params: &Params) -> bool {
    let names = ["account_number", "customer_id", "status", "account_type", "currency"];
    names.iter().any(|name| params.get(name).is_some())
}

/// “All”, the usual ones, and the one in the address.
fn currencies(params: &Params) -> Vec<(String, String)> {
    let mut codes: Vec<&str> = CURRENCIES.to_vec();
    let asked = params.text("currency");
    if !asked.is_empty() && !codes.contains(&asked) {
        codes.push(asked);
    }
    let all = std::iter::once((String::new(), "All".to_owned()));
    all.chain(codes.iter().map(|code| ((*code).to_owned(), (*code).to_owned()))).collect()
}

fn with_owners(
    accounts: Vec<Account>,
    names: &HashMap<Uuid, String>,
) -> Vec<(Account, Option<String>)> {
    let with_owner = |account: Account| {
        let owner = names.get(&account.customer_id).cloned();
        (account, owner)
    };
    accounts.into_iter().map(with_owner).collect()
}

fn exported(account: &Account) -> Vec<String> {
    let written = |minor: i64| account.currency.format_minor(minor);
    vec![
        account.account_number.clone(),
        account.account_type.to_string(),
        account.status.as_str().to_owned(),
        account.currency.to_string(),
        written(account.balance),
        written(account.available_balance),
        written(account.overdraft_limit),
        account.minimum_balance.map(written).unwrap_or_default(),
        account.interest_rate.to_string(),
        account.opened_date.to_string(),
        account.closed_date.map(|day| day.to_string()).unwrap_or_default(),
        account.customer_id.to_string(),
        account.id.to_string(),
    ]
}

fn opening_of(form: &Params) -> Result<NewAccount, Form> {
    let wrong =
        |field: &'static str, message: &str| Form::new(form).fault(field, "invalid_value", message);
    let customer_id = form.text("customer_id").parse();
    let customer_id = customer_id.map_err(|_| wrong("customer_id", "Name the customer by id"))?;
    let currency: Currency =
        form.text("currency").parse().map_err(|_| wrong("currency", "Choose a currency"))?;
    let account_type =
        form.text("account_type").parse().map_err(|_| wrong("account_type", "Choose a type"))?;
    let mut account = NewAccount { account_type, ..NewAccount::plain(customer_id, currency) };
    account.overdraft_limit = amount_of(form, "overdraft_limit", currency)?.unwrap_or(0);
    account.minimum_balance = amount_of(form, "minimum_balance", currency)?;
    if let Some(rate) = form.get("interest_rate") {
        account.interest_rate =
            rate.parse().map_err(|_| wrong("interest_rate", "Percent a year, like 4.25"))?;
    }
    Ok(account)
}

async fn draw_opening(
    visitor: &Visitor,
    form: Form,
    params: &Params,
    once: String,
    status: StatusCode,
) -> Answer {
    let customer_id: Option<Uuid> = params.get("customer_id").and_then(|text| text.parse().ok());
    let mut known = names(visitor, customer_id.into_iter().collect()).await?;
    let customer = customer_id.and_then(|id| known.remove(&id).map(|name| (id, name)));
    let mut page = visitor.page("Open an account").crumb("Accounts", PATH);
    if let Some((id, name)) = &customer {
        page = visitor
            .page("Open an account")
            .crumb("Customers", "/customers")
            .crumb(name.clone(), format!("/customers/{id}"));
    }
    let page = match &customer {
        Some((id, _)) => {
            let body = json!({ "customer_id": id, "account_type": "savings", "currency": "EUR" });
            page.api_call("POST", "/v1/accounts", serde_json::to_string_pretty(&body).ok())
        }
        // Without an owner there is nothing to open.
        None => page.api("/v1/accounts"),
    };
    let types = AccountType::ALL.map(AccountType::as_str);
    visitor.show_as(
        status,
        &Opening {
            page,
            form,
            once,
            customer,
            types: types.iter().map(|code| ((*code).to_owned(), kit::words(code))).collect(),
            currencies: CURRENCIES.map(|code| (code.to_owned(), code.to_owned())).to_vec(),
        },
    )
}
