//! The first page: who is here, and what they hold or look after.

use access::Permission;
use askama::Template;
use banking::{Account, AccountFilter, AccountList};
use operation::PageRequest;

use crate::{fault::Answer, kit, page::Page, visitor::Visitor};

/// Accounts shown here; the rest is on their own page.
const ACCOUNTS: u32 = 6;

#[derive(Template)]
#[template(path = "areas/overview.html")]
struct Overview {
    page: Page,
    greeting: &'static str,
    username: String,
    /// None where accounts are not theirs to see, or the tenant has none.
    accounts: Option<Vec<Account>>,
    more_accounts: bool,
    ends_at: kit::Markup,
}

/// `GET /`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    let sees_accounts =
        visitor.context().tenant.has_module("banking") && visitor.may(Permission::AccountRead);
    let page = if sees_accounts {
        let page = PageRequest { limit: ACCOUNTS, after: None };
        Some(visitor.read(&AccountList { filter: AccountFilter::default(), page }).await?)
    } else {
        None
    };
    let zone = visitor.zone();
    let hour = visitor.context().clock.now().to_zoned(zone.clone()).hour();
    let more_accounts = page.as_ref().is_some_and(|page| page.next.is_some());
    visitor.show(&Overview {
        page: visitor.page("Overview").api("/v1/auth/me"),
        greeting: greeting(hour),
        username: visitor.session.username.clone(),
        accounts: page.map(|page| page.data),
        more_accounts,
        ends_at: kit::time(visitor.session.expires_at, &zone),
    })
}

const fn greeting(hour: i8) -> &'static str {
    match hour {
        5..=11 => "Good morning",
        12..=17 => "Good afternoon",
        _ => "Good evening",
    }
}
