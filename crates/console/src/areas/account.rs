//! One account: its figures, its balance over time, its entries, and those as a file.
//!
//! Refuses to change anything: that is `account_settings`, `holds` and the teller's.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{
    Account, AccountParties, AccountSeries, AccountView, BalanceAsOf, EntryFilter, EntrySearch,
    Series, Transaction, TransactionFilter, TransactionType,
};
use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use money::Currency;
use uuid::Uuid;

use super::{
    as_api::{AsApi, address},
    customers::{choices, names},
    export::{self, Bounds, File},
    moving,
};
use crate::{
    fault::{Answer, Fault},
    kit::{self, Markup, Point},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// A read looks through 5,000 entries at most: a file through 100,000, whatever it is for.
const EXPORT: Bounds = Bounds { page_rows: 1_000, rows: 10_000, reads: 20 };
/// How far the chart looks back, unless the address says a year.
const DAYS_DEFAULT: i32 = 90;
const DAYS_YEAR: i32 = 365;

/// An account's entries as a file: for its holder, the statement of it.
struct EntriesFile;

impl File for EntriesFile {
    const ACTION: &'static str = "transaction.export";
    const RESOURCE: &'static str = "account";
    const PERMISSION: Permission = Permission::TransactionRead;
    const PERSONAL: bool = false;
    const COLUMNS: &'static [&'static str] = &[
        "Value date",
        "Posted",
        "Type",
        "Description",
        "Reference",
        "Amount",
        "Balance",
        "Currency",
        "Sequence",
        "Transfer",
    ];
    const TOLD: &'static [&'static str] = &["from", "to", "transaction_type", "min", "max"];
    const NAMED: &'static [&'static str] = &["q"];
}

/// What every page of an account begins with.
pub(crate) struct Head {
    pub(crate) account: Account,
    /// Balance less available, as far as holds keep it back.
    pub(crate) held: i64,
    /// Id, name where it may be known, and part.
    pub(crate) parties: Vec<(Uuid, Option<String>, String)>,
    /// Address, label, whether it is this one.
    pub(crate) tabs: Vec<(String, &'static str, bool)>,
    /// Address and label of what the person may do with it.
    pub(crate) actions: Vec<(String, &'static str)>,
}

#[derive(Template)]
#[template(path = "areas/account.html")]
struct One {
    page: Page,
    params: Params,
    head: Head,
    chart: Markup,
    /// Address, label, whether it is this one.
    periods: Vec<(String, &'static str, bool)>,
    change: Markup,
    as_of: Option<(Markup, Markup)>,
    today: Date,
    types: Vec<(String, String)>,
    path: String,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/account_rows.html")]
struct Rows {
    days: Vec<Day>,
    currency: Currency,
    is_filtered: bool,
    /// A search that has not looked through everything yet.
    is_partial: bool,
    clear: String,
    export: String,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// Neighbouring entries of one value date.
struct Day {
    date: Date,
    entries: Vec<Entry>,
}

struct Entry {
    transfer_id: Uuid,
    title: String,
    kind: String,
    reference: Option<String>,
    /// Where it was booked on another day than its value date.
    booked: Option<Date>,
    amount: i64,
    balance_after: i64,
}

/// `GET /accounts/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let path = format!("/accounts/{id}");
    let page = page_of(&visitor, &account).api(api_of(&params, id));
    let api = AsApi::of(&page, untold(&params));
    let list = rows(&visitor, &account, &path, &params, api).await?;
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let today = banking::movements::business_date(visitor.context())?;
    let days = if params.get("days") == Some("365") { DAYS_YEAR } else { DAYS_DEFAULT };
    let from = today.saturating_sub((days - 1).days());
    let series = visitor.read(&AccountSeries { account_id: id, from, to: today }).await?;
    let as_of = match params.parsed::<Date>("on")? {
        Some(date) => {
            let found = visitor.read(&BalanceAsOf { account_id: id, date }).await?;
            Some((kit::date(date), kit::money(found.balance, found.currency)))
        }
        None => None,
    };
    let period = |label, wanted: i32, value: &str| {
        (params.link(&path, "days", value), label, days == wanted)
    };
    let periods = vec![period("90 days", DAYS_DEFAULT, ""), period("1 year", DAYS_YEAR, "365")];
    let head = head_of(&visitor, account, "entries").await?;
    visitor.show(&One {
        page,
        head,
        chart: chart(&series, days),
        change: change(&series),
        periods,
        as_of,
        today,
        types: choices(&TransactionType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()),
        path,
        params,
        list,
    })
}

/// `GET /accounts/{id}/export`: the entries that the page shows, as a file.
pub(crate) async fn export(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let account = visitor.read(&AccountView { account_id: id }).await?;
    let filter = filter_of(&params, account.currency)?;
    let path = format!("/accounts/{id}/export");
    let currency = account.currency;
    let lines = export::lines::<EntriesFile, _>(&visitor, &path, &params, &EXPORT, |page| {
        let search = EntrySearch { account_id: id, filter: filter.clone(), page };
        let visitor = &visitor;
        async move {
            let found = visitor.read(&search).await?;
            Ok((found.data.iter().map(|entry| exported(entry, currency)).collect(), found.next))
        }
    })
    .await?;
    let name = format!("account-{}", account.account_number);
    export::send::<EntriesFile>(&visitor, &name, &params, Some(id), &lines).await
}

/// The frame of a page of an account.
pub(crate) fn page_of(visitor: &Visitor, account: &Account) -> Page {
    let kind = kit::words(account.account_type.as_str());
    visitor.page(format!("{kind} account")).crumb("Accounts", "/accounts")
}

/// What every page of an account begins with; `tab` is the one that is open.
pub(crate) async fn head_of(
    visitor: &Visitor,
    account: Account,
    tab: &'static str,
) -> Result<Head, Fault> {
    let id = account.id;
    let parties = visitor.read(&AccountParties { account_id: id }).await?;
    let mut known = names(visitor, parties.iter().map(|party| party.customer_id).collect()).await?;
    let parties = parties.iter().map(|party| {
        let name = known.remove(&party.customer_id);
        (party.customer_id, name, kit::words(party.party_role.as_str()))
    });
    let mut tabs = vec![(format!("/accounts/{id}"), "Balance and entries", tab == "entries")];
    if visitor.may(Permission::HoldRead) {
        tabs.push((format!("/accounts/{id}/holds"), "Holds", tab == "holds"));
    }
    if visitor.may(Permission::AccountUpdate) || visitor.may(Permission::AccountDelete) {
        tabs.push((format!("/accounts/{id}/settings"), "Settings", tab == "settings"));
    }
    // Those who choose among accounts choose by id, the others type numbers.
    let from =
        if moving::chooses(visitor) { id.to_string() } else { account.account_number.clone() };
    let from = Params::default().link("/transfers/new", "from_account_id", &from);
    let actions = [
        (Permission::TransactionDeposit, format!("/accounts/{id}/deposit"), "Deposit"),
        (Permission::TransactionWithdraw, format!("/accounts/{id}/withdraw"), "Withdraw"),
        (Permission::TransactionFee, format!("/accounts/{id}/fee"), "Charge a fee"),
        (Permission::HoldCreate, format!("/accounts/{id}/hold"), "Hold money"),
        (Permission::TransactionCreate, from, "New transfer"),
    ];
    let is_open = account.status == banking::AccountStatus::Active;
    let actions = actions
        .into_iter()
        .filter(|(permission, ..)| is_open && visitor.may(*permission))
        .map(|(_, href, label)| (href, label));
    Ok(Head {
        held: held_of(&account),
        parties: parties.collect(),
        tabs,
        actions: actions.collect(),
        account,
    })
}

/// What holds keep back. Available stops at zero, so beyond that it cannot be told.
fn held_of(account: &Account) -> i64 {
    let floor = account.minimum_balance.unwrap_or(-account.overdraft_limit);
    (account.balance - floor - account.available_balance).max(0)
}

async fn rows(
    visitor: &Visitor,
    account: &Account,
    path: &str,
    params: &Params,
    api: AsApi,
) -> Result<Rows, Fault> {
    let page = visitor.page_request(path, params).await?;
    let filter = filter_of(params, account.currency)?;
    let is_filtered = filter != EntryFilter::default();
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let found = visitor.read(&EntrySearch { account_id: account.id, filter, page }).await?;
    let is_partial = found.next.is_some() && found.data.len() < limit;
    Ok(Rows {
        days: by_day(found.data, &visitor.zone()),
        currency: account.currency,
        is_filtered,
        is_partial,
        clear: path.to_owned(),
        export: params.link(&format!("{path}/export"), "cursor", ""),
        api,
        first: params.get("cursor").map(|_| params.link(path, "cursor", "")),
        next: visitor.next_page(path, params, found.next.as_deref()).await?,
    })
}

fn filter_of(params: &Params, currency: Currency) -> Result<EntryFilter, Fault> {
    let amount = |name: &'static str| {
        let text = params.get(name).map(|text| text.replace([',', ' '], ""));
        text.map(|text| currency.parse_minor(&text).map_err(|_| Fault::malformed(name))).transpose()
    };
    let text = params.get("q").map(str::to_owned);
    if text.as_ref().is_some_and(|text| text.chars().count() > 140) {
        return Err(Fault::malformed("q"));
    }
    Ok(EntryFilter {
        base: TransactionFilter {
            from: params.parsed("from")?,
            to: params.parsed("to")?,
            transaction_type: params.parsed("transaction_type")?,
        },
        amount_min: amount("min")?,
        amount_max: amount("max")?,
        text,
    })
}

/// The same entries from the interface, as far as it knows the filters.
fn api_of(params: &Params, id: Uuid) -> String {
    let filters = ["from", "to", "transaction_type"];
    let filters = filters.map(|name| (name, params.get(name).map(str::to_owned)));
    address(&format!("/v1/accounts/{id}/transactions"), &filters)
}

fn untold(params: &Params) -> &'static str {
    if ["q", "min", "max"].iter().any(|name| params.get(name).is_some()) {
        "The API has no filter for texts and amounts: it gives every entry of the type and period."
    } else {
        ""
    }
}

fn by_day(entries: Vec<Transaction>, zone: &TimeZone) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for entry in entries {
        let date = entry.transaction_date;
        let shown = Entry::of(entry, zone);
        match days.last_mut() {
            Some(day) if day.date == date => day.entries.push(shown),
            _ => days.push(Day { date, entries: vec![shown] }),
        }
    }
    days
}

impl Entry {
    fn of(entry: Transaction, zone: &TimeZone) -> Self {
        let booked = entry.posted_date.to_zoned(zone.clone()).date();
        let kind = kit::words(entry.transaction_type.as_str());
        let title = if entry.description.is_empty() { kind.clone() } else { entry.description };
        Self {
            transfer_id: entry.transfer_id,
            title,
            kind,
            reference: entry.reference,
            booked: (booked != entry.transaction_date).then_some(booked),
            amount: entry.amount,
            balance_after: entry.balance_after,
        }
    }
}

fn exported(entry: &Transaction, currency: Currency) -> Vec<String> {
    vec![
        entry.transaction_date.to_string(),
        entry.posted_date.to_string(),
        entry.transaction_type.as_str().to_owned(),
        entry.description.clone(),
        entry.reference.clone().unwrap_or_default(),
        currency.format_minor(entry.amount),
        currency.format_minor(entry.balance_after),
        currency.to_string(),
        entry.account_sequence.to_string(),
        entry.transfer_id.to_string(),
    ]
}

fn chart(series: &Series, days: i32) -> Markup {
    let currency = series.currency;
    let points: Vec<Point> = series
        .days
        .iter()
        .map(|(day, balance)| Point {
            label: day.strftime("%-d %b").to_string(),
            value: *balance,
            text: format!("{} {}", kit::amount_text(*balance, currency), currency.code()),
        })
        .collect();
    let title = format!("Balance at the end of each of the last {days} days");
    kit::line(&title, &points, |minor| axis_text(minor, currency))
}

/// What the period did to the balance.
fn change(series: &Series) -> Markup {
    let ends = series.days.first().zip(series.days.last());
    kit::movement(ends.map_or(0, |(first, last)| last.1 - first.1), series.currency)
}

/// An amount for an axis: three or four figures and a unit of thousand, million, ….
fn axis_text(minor: i64, currency: Currency) -> String {
    let exponent = currency.exponent();
    let unit = 10_u64.pow(exponent);
    let whole = minor.unsigned_abs() / unit;
    let (divisor, letter) = match whole {
        0..=9_999 => (1, ""),
        10_000..=999_999 => (1_000, "k"),
        1_000_000..=999_999_999 => (1_000_000, "M"),
        1_000_000_000..=999_999_999_999 => (1_000_000_000, "B"),
        _ => (1_000_000_000_000, "T"),
    };
    let sign = if minor < 0 { "\u{2212}" } else { "" };
    let tenths = minor.unsigned_abs() / (unit * divisor / 10).max(1) % 10;
    let is_whole = tenths == 0 || (unit == 1 && divisor == 1);
    let figures = grouped(whole / divisor);
    let part = if is_whole { String::new() } else { format!(".{tenths}") };
    format!("{sign}{figures}{part}{letter}")
}

/// `2500` → “2,500”; no more than four figures ever stand on an axis.
fn grouped(whole: u64) -> String {
    if whole < 1_000 {
        return whole.to_string();
    }
    format!("{},{:03}", whole / 1_000, whole % 1_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::axis_text;

    #[test]
    fn axes_are_short() {
        let table = [
            (0, "EUR", "0"),
            (50, "EUR", "0.5"),
            (-250_000, "EUR", "−2,500"),
            (1_250_000, "EUR", "12.5k"),
            (2_500_000, "EUR", "25k"),
            (123_456_789_012_345, "EUR", "1.2T"),
            (-7_500_000_000, "EUR", "−75M"),
            (2_500, "JPY", "2,500"),
            (12_500, "JPY", "12.5k"),
            (5_000, "KWD", "5"),
        ];
        for (minor, code, text) in table {
            assert_eq!(axis_text(minor, code.parse().unwrap()), text, "{minor} {code}");
        }
    }
}
