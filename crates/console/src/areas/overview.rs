//! The first page: for staff the tenant in figures, for customers their own money.

use std::borrow::Borrow;

use access::Permission;
use askama::Template;
use banking::{
    Account, AccountFilter, AccountList, ApprovalFilter, ApprovalList, ApprovalStatus,
    movements::business_date,
    overview::{
        Activity, Books, BooksOverview, COUNTED_MAX, CustomerCount, LastProof, LatestMovements,
        MOVEMENTS_MAX, MovementDays, NumberedEntry, NumberedMovement, OwnChanges, OwnLatestEntries,
    },
};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use money::Currency;
use operation::PageRequest;

use super::{
    as_api::AsApi,
    audit::views::{LogState, ReadLogState},
    export::{self, File, Lines},
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit::{self, Markup, Point},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Accounts shown here; the rest is on their own page.
const ACCOUNTS: u32 = 6;
const LATEST: u32 = 8;
/// Orders that wait are counted up to this many.
const WAITING_COUNTED: u32 = 100;
const SPARKLINE_DAYS: i64 = 90;

/// The chart's figures as a file.
struct MovementsFile;

impl File for MovementsFile {
    const ACTION: &'static str = "overview.export";
    const RESOURCE: &'static str = "transfer";
    const PERMISSION: Permission = Permission::TransactionRead;
    const PERSONAL: bool = false;
    const COLUMNS: &'static [&'static str] = &["Booked on", "Currency", "Movements", "Volume"];
    const TOLD: &'static [&'static str] = &["days"];
    const NAMED: &'static [&'static str] = &[];
}

/// What every first page begins with.
struct Greeting {
    words: &'static str,
    username: String,
    ends_at: Markup,
}

#[derive(Template)]
#[template(path = "areas/overview.html")]
struct Plain {
    page: Page,
    greeting: Greeting,
}

#[derive(Template)]
#[template(path = "areas/overview_staff.html")]
struct Staff {
    page: Page,
    api: AsApi,
    greeting: Greeting,
    zone: TimeZone,
    figures: Vec<Figure>,
    statuses: Vec<(String, u64)>,
    /// None where movements are not theirs to see.
    chart: Option<Chart>,
    latest: Option<Vec<NumberedMovement>>,
    proof: Option<LastProof>,
    log: Option<LogState>,
    may_transfer: bool,
}

#[derive(Template)]
#[template(path = "areas/overview_customer.html")]
struct Customer {
    page: Page,
    api: AsApi,
    greeting: Greeting,
    zone: TimeZone,
    accounts: Vec<(Account, Markup, String)>,
    totals: Vec<Markup>,
    more_accounts: bool,
    latest: Vec<NumberedEntry>,
    form: Form,
    choices: Vec<(String, String)>,
    may_transfer: bool,
}

struct Figure {
    label: &'static str,
    value: Markup,
    note: String,
}

/// Movements a day, as they are drawn.
struct Chart {
    drawing: Markup,
    /// Address, words, current.
    spans: Vec<(String, &'static str, bool)>,
    measures: Vec<(String, String, bool)>,
    summary: String,
    is_empty: bool,
    cut: Option<String>,
    /// The same days as a file.
    csv: String,
}

/// What the address asks the chart to show.
#[derive(Clone, Copy)]
struct Wish {
    days: i64,
    volume: bool,
}

impl Wish {
    fn of(params: &Params) -> Result<Self, Fault> {
        let days = match params.get("days") {
            None | Some("30") => 30,
            Some("90") => 90,
            Some(_) => return Err(Fault::malformed("days")),
        };
        let volume = match params.get("show") {
            None | Some("count") => false,
            Some("volume") => true,
            Some(_) => return Err(Fault::malformed("show")),
        };
        Ok(Self { days, volume })
    }

    fn first(self, today: Date) -> Date {
        today.checked_sub((self.days - 1).days()).unwrap_or(today)
    }
}

/// `GET /?days=30|90&show=count|volume`.
pub(crate) async fn show(visitor: Visitor, params: Params) -> Answer {
    let wish = Wish::of(&params)?;
    let banking = visitor.context().tenant.has_module("banking");
    let scope = visitor.console.operations.scope(visitor.context(), Permission::AccountRead);
    if banking && scope.is_all() {
        return staff(&visitor, &params, wish).await;
    }
    if banking && !scope.is_none() {
        return customer(&visitor).await;
    }
    let page = visitor.page("Overview").api("/v1/auth/me");
    visitor.show(&Plain { page, greeting: greeting(&visitor) })
}

/// `GET /activity.csv?days=`: the chart's figures.
pub(crate) async fn csv(visitor: Visitor, params: Params) -> Answer {
    export::demand::<MovementsFile>(&visitor).await?;
    let today = business_date(visitor.context())?;
    let from = Wish::of(&params)?.first(today);
    let activity = visitor.read(&MovementDays { from }).await?;
    let row = |day: &banking::overview::DayOfMovements| {
        let volume = day.currency.format_minor(day.volume);
        vec![day.date.to_string(), day.currency.code().to_owned(), day.count.to_string(), volume]
    };
    let note = activity.is_cut.then(|| {
        let most = thousands(MOVEMENTS_MAX);
        format!("Not all of them: the newest {most} movements are summed here")
    });
    let lines = Lines { rows: activity.days.iter().map(row).collect(), note };
    export::send::<MovementsFile>(&visitor, "movements-a-day", &params, None, &lines).await
}

async fn staff(visitor: &Visitor, params: &Params, wish: Wish) -> Answer {
    let today = business_date(visitor.context())?;
    let books = visitor.read(&BooksOverview).await?;
    let customers = if visitor.may(Permission::CustomerRead) {
        Some(visitor.read(&CustomerCount).await?)
    } else {
        None
    };
    let sees_movements = visitor.may(Permission::TransactionRead);
    let (mut activity, mut latest) = (None, None);
    if sees_movements {
        activity = Some(visitor.read(&MovementDays { from: wish.first(today) }).await?);
        latest = Some(visitor.read(&LatestMovements { limit: LATEST }).await?);
    }
    let log = if visitor.may(Permission::AuditRead) {
        Some(visitor.read(&ReadLogState).await?)
    } else {
        None
    };
    let main = books.held.first().map(|(currency, _)| *currency);
    let mut figures = figures(&books, customers, activity.as_ref(), today);
    if visitor.may(Permission::TransactionApprove) {
        figures.push(waiting(visitor).await?);
    }
    let chart = activity.map(|activity| chart(params, wish, today, main, &activity));
    let statuses =
        books.accounts.iter().map(|(status, count)| (status.as_str().to_owned(), *count)).collect();
    let page = visitor.page("Overview").api("/v1/accounts");
    let note =
        "Counts, sums and the chart are the console’s own; the API gives the accounts behind them.";
    visitor.show(&Staff {
        api: AsApi::of(&page, note),
        page,
        greeting: greeting(visitor),
        zone: visitor.zone(),
        figures,
        statuses,
        chart,
        latest,
        proof: books.proof,
        log,
        may_transfer: visitor.may(Permission::TransactionCreate),
    })
}

/// What a second person has yet to decide, with the way there.
async fn waiting(visitor: &Visitor) -> Result<Figure, Fault> {
    let filter = ApprovalFilter { status: Some(ApprovalStatus::Pending), kind: None };
    let page = PageRequest { limit: WAITING_COUNTED, after: None, ..PageRequest::default() };
    let found = visitor.read(&ApprovalList { filter, page }).await?;
    let more = if found.next.is_some() { "+" } else { "" };
    let value = Markup::made(format!("<a href=\"/approvals\">{}{more}</a>", found.data.len()));
    let note = match found.data.len() {
        0 => "Nothing waits",
        1 => "Order, for a second person",
        _ => "Orders, for a second person",
    };
    Ok(Figure { label: "Waiting for approval", value, note: note.to_owned() })
}

fn figures(
    books: &Books,
    customers: Option<u64>,
    activity: Option<&Activity>,
    today: Date,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    let others: Vec<String> = books.held.iter().skip(1).map(amount_in_words).collect();
    if let Some((currency, held)) = books.held.first() {
        let note = if others.is_empty() {
            "Sum of all customers’ balances".to_owned()
        } else {
            format!("and {}", others.join(", "))
        };
        let value = kit::money(*held, *currency);
        figures.push(Figure { label: "Held for customers", value, note });
    } else {
        let note = "Nothing has been paid in yet".to_owned();
        figures.push(Figure { label: "Held for customers", value: figure(0, false), note });
    }
    let accounts = books.account_count();
    let active = books.accounts.iter().find(|(status, _)| status.as_str() == "active");
    let active = active.map_or(0, |(_, count)| *count);
    let note = match (accounts, accounts - active) {
        (0, _) => "None opened yet".to_owned(),
        (_, 0) => "All active".to_owned(),
        (_, rest) => format!("{} active, {} not", thousands(active), thousands(rest)),
    };
    figures.push(Figure { label: "Accounts", value: figure(accounts, books.is_more), note });
    if let Some(count) = customers {
        let note = if count == 0 { "Nobody yet" } else { "People and businesses" };
        let value = figure(count, count > COUNTED_MAX);
        figures.push(Figure { label: "Customers", value, note: note.to_owned() });
    }
    if let Some(activity) = activity {
        let days = activity.days.iter().filter(|day| day.date == today);
        let (mut count, mut volumes) = (0, Vec::new());
        for day in days {
            count += day.count;
            volumes.push(amount_in_words(&(day.currency, day.volume)));
        }
        let note = if volumes.is_empty() {
            "Quiet so far".to_owned()
        } else {
            format!("{} moved", volumes.join(", "))
        };
        figures.push(Figure { label: "Movements today", value: figure(count, false), note });
    }
    figures
}

fn chart(
    params: &Params,
    wish: Wish,
    today: Date,
    main: Option<Currency>,
    activity: &Activity,
) -> Chart {
    let currency = main.or_else(|| activity.days.first().map(|day| day.currency));
    let mut points = Vec::new();
    let mut day = wish.first(today);
    while day <= today {
        let on_day = activity.days.iter().filter(|entry| entry.date == day);
        let (count, volume) = on_day.fold((0_u64, 0_i64), |(count, volume), entry| {
            let counts = currency == Some(entry.currency);
            (count + entry.count, volume.saturating_add(if counts { entry.volume } else { 0 }))
        });
        points.push(point(day, count, volume, currency.filter(|_| wish.volume)));
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    let total: u64 = activity.days.iter().map(|day| day.count).sum();
    let title = if wish.volume { "Volume a day" } else { "Movements a day" };
    let axis = |value: i64| match currency.filter(|_| wish.volume) {
        Some(currency) => shortened(value, currency),
        None => value.to_string(),
    };
    let volume_label =
        currency.map_or_else(|| "Volume".to_owned(), |code| format!("Volume in {}", code.code()));
    let link = |name: &str, value: &str| params.link("/", name, value);
    Chart {
        drawing: kit::bars(title, &points, axis),
        spans: vec![
            (link("days", ""), "30 days", wish.days == 30),
            (link("days", "90"), "90 days", wish.days == 90),
        ],
        measures: vec![
            (link("show", ""), "Count".to_owned(), !wish.volume),
            (link("show", "volume"), volume_label, wish.volume),
        ],
        summary: format!("{} movements in {} days", thousands(total), wish.days),
        is_empty: total == 0,
        cut: activity.is_cut.then(|| {
            format!("Only the newest {} movements are summed here.", thousands(MOVEMENTS_MAX))
        }),
        csv: format!("/activity.csv?days={}", wish.days),
    }
}

fn point(day: Date, count: u64, volume: i64, volume_in: Option<Currency>) -> Point {
    let label = day.strftime("%-d %b").to_string();
    if let Some(currency) = volume_in {
        let text = amount_in_words(&(currency, volume));
        return Point { label, value: volume, text };
    }
    let noun = if count == 1 { "movement" } else { "movements" };
    let text = format!("{} {noun}", thousands(count));
    Point { label, value: i64::try_from(count).unwrap_or(i64::MAX), text }
}

async fn customer(visitor: &Visitor) -> Answer {
    let today = business_date(visitor.context())?;
    let page = PageRequest { limit: ACCOUNTS, after: None, ..PageRequest::default() };
    let found = visitor.read(&AccountList { filter: AccountFilter::default(), page }).await?;
    let from = today.checked_sub(SPARKLINE_DAYS.days()).unwrap_or(today);
    let changes = visitor.read(&OwnChanges { from }).await?;
    let latest = if visitor.may(Permission::TransactionRead) {
        visitor.read(&OwnLatestEntries { limit: LATEST }).await?
    } else {
        Vec::new()
    };
    let mut totals: Vec<(Currency, i64)> = Vec::new();
    for account in &found.data {
        match totals.iter_mut().find(|(currency, _)| *currency == account.currency) {
            Some((_, sum)) => *sum = sum.saturating_add(account.balance),
            None => totals.push((account.currency, account.balance)),
        }
    }
    let choices = found.data.iter().filter(|account| account.status.as_str() == "active");
    let choices =
        choices.map(|account| (account.id.to_string(), account.account_number.clone())).collect();
    let accounts = found
        .data
        .into_iter()
        .map(|account| {
            let days = changes.get(&account.id).map_or(&[][..], Vec::as_slice);
            let values = balances(account.balance, days, from, today);
            let told = trend(&account, &values);
            (account, kit::sparkline(&told, &values), told)
        })
        .collect();
    let page = visitor.page("Overview").api("/v1/accounts");
    let note = "The lines and the latest entries come from each account’s transactions.";
    visitor.show(&Customer {
        api: AsApi::of(&page, note),
        page,
        greeting: greeting(visitor),
        zone: visitor.zone(),
        accounts,
        totals: totals.iter().map(|(currency, sum)| kit::money(*sum, *currency)).collect(),
        more_accounts: found.next.is_some(),
        latest,
        form: Form::default(),
        choices,
        may_transfer: visitor.may(Permission::TransactionCreate),
    })
}

/// The balance at the end of each day, worked back from the present one.
fn balances(now: i64, changes: &[(Date, i64)], from: Date, today: Date) -> Vec<i64> {
    let mut balance = now;
    let mut changes = changes.iter().peekable();
    let mut values = Vec::new();
    let mut day = today;
    // Nothing is dated in the future; if it were, it would not be in today's figure.
    while let Some((_, change)) = changes.next_if(|(date, _)| *date > today) {
        balance = balance.saturating_sub(*change);
    }
    while day >= from {
        values.push(balance);
        while let Some((_, change)) = changes.next_if(|(date, _)| *date >= day) {
            balance = balance.saturating_sub(*change);
        }
        let Ok(before) = day.yesterday() else { break };
        day = before;
    }
    values.reverse();
    values
}

fn trend(account: &Account, values: &[i64]) -> String {
    let first = values.first().copied().unwrap_or(account.balance);
    let change = account.balance.saturating_sub(first);
    let amount = kit::amount_text(change.saturating_abs(), account.currency);
    let code = account.currency.code();
    match change {
        0 => "Unchanged in 90 days".to_owned(),
        1.. => format!("Up {amount} {code} in 90 days"),
        _ => format!("Down {amount} {code} in 90 days"),
    }
}

fn greeting(visitor: &Visitor) -> Greeting {
    let zone = visitor.zone();
    let hour = visitor.context().clock.now().to_zoned(zone.clone()).hour();
    let words = match hour {
        5..=11 => "Good morning",
        12..=17 => "Good afternoon",
        _ => "Good evening",
    };
    Greeting {
        words,
        username: visitor.session.username.clone(),
        ends_at: kit::time(visitor.session.expires_at, &zone),
    }
}

fn amount_in_words((currency, minor): &(Currency, i64)) -> String {
    format!("{} {}", kit::amount_text(*minor, *currency), currency.code())
}

/// A count; with a plus where there are more than were counted.
fn figure(count: u64, is_more: bool) -> Markup {
    let shown = if is_more { count.min(COUNTED_MAX) } else { count };
    Markup::made(format!("{}{}", thousands(shown), if is_more { "+" } else { "" }))
}

/// `12,345`.
pub(crate) fn thousands(count: impl Borrow<u64>) -> String {
    let digits = count.borrow().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.5k`, `3M`: whole units of a currency on an axis.
fn shortened(minor: i64, currency: Currency) -> String {
    let unit = 10_i64.saturating_pow(currency.exponent());
    let whole = minor / unit;
    let (by, letter) = match whole.saturating_abs() {
        0..=999 => return whole.to_string(),
        1_000..=999_999 => (1_000, "k"),
        1_000_000..=999_999_999 => (1_000_000, "M"),
        _ => (1_000_000_000, "bn"),
    };
    let tenths = (whole % by).saturating_abs() * 10 / by;
    if tenths == 0 {
        format!("{}{letter}", whole / by)
    } else {
        format!("{}.{tenths}{letter}", whole / by)
    }
}

/// How long ago, roughly: what matters is whether it is fresh.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..=59 => "just now".to_owned(),
        60..=119 => "a minute ago".to_owned(),
        120..=3_599 => format!("{} minutes ago", seconds / 60),
        3_600..=7_199 => "an hour ago".to_owned(),
        7_200..=86_399 => format!("{} hours ago", seconds / 3_600),
        86_400..=172_799 => "yesterday".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::{balances, shortened, thousands};

    #[test]
    fn balances_are_worked_back_day_by_day() {
        let changes = [(date(2026, 3, 4), 50), (date(2026, 3, 2), -20), (date(2026, 3, 2), 5)];
        let values = balances(100, &changes, date(2026, 3, 1), date(2026, 3, 4));
        assert_eq!(values, [65, 50, 50, 100]);
        let future = [(date(2026, 3, 9), 7)];
        assert_eq!(balances(10, &future, date(2026, 3, 4), date(2026, 3, 4)), [3]);
    }

    proptest! {
        #[test]
        fn the_last_balance_is_the_present_one(now in -1_000_000_i64..1_000_000, moves in prop::collection::vec((1_i8..28, -500_i64..500), 0..20)) {
            let mut changes: Vec<_> = moves.iter().map(|(day, change)| (date(2026, 2, *day), *change)).collect();
            changes.sort_by_key(|change| std::cmp::Reverse(change.0));
            let values = balances(now, &changes, date(2026, 2, 1), date(2026, 2, 28));
            prop_assert_eq!(values.len(), 28);
            prop_assert_eq!(*values.last().unwrap(), now);
            let on_first: i64 = changes.iter().filter(|(day, _)| *day > date(2026, 2, 1)).map(|(_, change)| change).sum();
            prop_assert_eq!(values[0], now - on_first);
        }
    }

    #[test]
    fn large_figures_stay_readable() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        let eur = "EUR".parse().unwrap();
        for (minor, text) in
            [(0, "0"), (99_900, "999"), (150_000, "1.5k"), (200_000_000, "2M"), (-150_000, "-1.5k")]
        {
            assert_eq!(shortened(minor, eur), text);
        }
    }
}
