//! A person's own security: what stands how, and the way to each page of it.
//!
//! Everything beneath is the person's own, whatever their role; identity sees to that, so
//! nothing asks policy. Refuses to change anything: each page does its own.

use askama::Template;
use identity::{FactorRecord, Me, UserRecord};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use operation::PageRequest;

use crate::{fault::Answer, page::Page, visitor::Visitor};

/// The pages, as tabs draw them: address and label.
const PAGES: [(&str, &str); 7] = [
    ("/security", "Overview"),
    ("/security/password", "Password"),
    ("/security/factors", "Second factors"),
    ("/security/contact", "E-mail and phone"),
    ("/security/devices", "Devices"),
    ("/security/sessions", "Sessions"),
    ("/security/activity", "Activity"),
];

/// A tab: address, label, and whether it is the page it stands on.
pub(crate) type Tab = (&'static str, &'static str, bool);

/// The tabs of one's own security, on the page at `path`.
pub(crate) fn tabs(path: &str) -> Vec<Tab> {
    PAGES.iter().map(|(href, label)| (*href, *label, *href == path)).collect()
}

#[derive(Template)]
#[template(path = "areas/security.html")]
struct Security {
    page: Page,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
}

/// One of the things that keep an account safe.
struct Row {
    title: &'static str,
    icon: &'static str,
    says: String,
    /// Worth doing something about.
    warns: bool,
    href: &'static str,
    verb: &'static str,
}

/// `GET /security`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let me = identity.me(context).await?;
    let record = identity.own_record(context).await?;
    let factors = identity.factors(context).await?;
    let most =
        PageRequest { limit: operation::page::LIMIT_MAX, after: None, ..PageRequest::default() };
    let devices = identity.devices(context, &most).await?.data.len();
    let sessions = identity.sessions(context, &most).await?.data.len();
    let maximum_age = identity.policy(context).await?.password.maximum_age_days;
    let rows = vec![
        password(&me, maximum_age, &visitor.zone()),
        factors_row(&factors),
        contact(&record),
        row("Devices", "card", counted(devices, "device"), "/security/devices", "Look"),
        row(
            "Where you are signed in",
            "lock",
            counted(sessions, "session"),
            "/security/sessions",
            "Look",
        ),
        row(
            "Activity",
            "clock",
            "Sign-ins, failures and changes, the newest first.".to_owned(),
            "/security/activity",
            "Look",
        ),
    ];
    let page = visitor.page("Security").lead("What keeps your account yours, and how it stands.");
    visitor.show(&Security { page: page.api("/v1/auth/me"), tabs: tabs("/security"), rows })
}

fn row(
    title: &'static str,
    icon: &'static str,
    says: String,
    href: &'static str,
    verb: &'static str,
) -> Row {
    Row { title, icon, says, warns: false, href, verb }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("One {what}: this one."),
        many => format!("{many} {what}s. End what you do not know."),
    }
}

fn password(me: &Me, maximum_days: Option<u32>, zone: &TimeZone) -> Row {
    let says = age(me.password_changed_at, maximum_days, zone);
    row("Password", "keyboard", says, "/security/password", "Change")
}

fn factors_row(factors: &[FactorRecord]) -> Row {
    let says = if factors.is_empty() {
        "None. Whoever has your password is in; a second factor keeps them out.".to_owned()
    } else {
        let names: Vec<&str> = factors.iter().map(|factor| factor.name.as_str()).collect();
        format!("{}.", names.join(", "))
    };
    let verb = if factors.is_empty() { "Set up" } else { "Manage" };
    let warns = factors.is_empty();
    Row { warns, ..row("Second factors", "shield", says, "/security/factors", verb) }
}

fn contact(record: &UserRecord) -> Row {
    let proven = |at: Option<Timestamp>| if at.is_some() { "proven" } else { "not proven yet" };
    let email = record
        .email
        .as_ref()
        .map(|email| format!("{email} ({})", proven(record.email_verified_at)));
    let phone = record
        .phone
        .as_ref()
        .map(|phone| format!("{phone} ({})", proven(record.phone_verified_at)));
    let known: Vec<String> = email.into_iter().chain(phone).collect();
    let says = if known.is_empty() {
        "None. Without one, nobody can tell you what happens to your account.".to_owned()
    } else {
        format!("{}.", known.join(", "))
    };
    let warns = record.email_verified_at.is_none();
    Row { warns, ..row("E-mail and phone", "inbox", says, "/security/contact", "Change") }
}

/// When a password was changed, and when it has to be.
pub(crate) fn age(
    changed_at: Option<Timestamp>,
    maximum_days: Option<u32>,
    zone: &TimeZone,
) -> String {
    let day = |moment: Timestamp| moment.to_zoned(zone.clone()).strftime("%-d %B %Y");
    let Some(changed_at) = changed_at else { return "It was never changed.".to_owned() };
    let lasts = maximum_days.map(|days| SignedDuration::from_hours(i64::from(days) * 24));
    let until = lasts.and_then(|lasts| changed_at.checked_add(lasts).ok());
    match until {
        Some(until) => {
            format!("Last changed on {}; has to be changed by {}.", day(changed_at), day(until))
        }
        None => format!("Last changed on {}.", day(changed_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::tabs;

    #[test]
    fn each_page_is_one_tab() {
        let current = |path: &str| tabs(path).iter().filter(|(.., is_current)| *is_current).count();
        assert_eq!((current("/security"), current("/security/contact")), (1, 1));
        assert_eq!(current("/security/contact/phone"), 0);
    }
}
