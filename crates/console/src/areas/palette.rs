//! What the command palette finds beyond navigation: accounts and customers that the
//! person may see, by the exact number or e-mail that they know. Personal data is
//! sealed, so there is no searching by parts of a name.

use access::Permission;
use askama::Template;
use banking::{AccountFilter, AccountList, CustomerFilter, ListCustomers};
use operation::PageRequest;

use crate::{
    fault::{Answer, Fault},
    kit,
    params::Params,
    visitor::Visitor,
};

/// Shorter is a slip of the finger.
const LETTERS_MIN: usize = 3;
const LETTERS_MAX: usize = 254;
const HITS: u32 = 5;

struct Hit {
    href: String,
    label: String,
    kind: &'static str,
    icon: &'static str,
}

#[derive(Template)]
#[template(path = "areas/palette.html")]
struct Hits {
    hits: Vec<Hit>,
}

/// `GET /palette?q=`: a fragment.
pub(crate) async fn look_up(visitor: Visitor, params: Params) -> Answer {
    let text = params.text("q");
    let letters = text.chars().count();
    let mut hits = Vec::new();
    let sensible = (LETTERS_MIN..=LETTERS_MAX).contains(&letters);
    if sensible && visitor.context().tenant.has_module("banking") {
        if visitor.may(Permission::AccountRead) {
            hits.extend(accounts(&visitor, text).await?);
        }
        if text.contains('@') && visitor.may(Permission::CustomerRead) {
            hits.extend(customers(&visitor, text).await?);
        }
    }
    visitor.show(&Hits { hits })
}

async fn accounts(visitor: &Visitor, text: &str) -> Result<Vec<Hit>, Fault> {
    let number: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    if !number.bytes().any(|byte| byte.is_ascii_digit()) {
        return Ok(Vec::new());
    }
    let filter = AccountFilter { account_number: Some(number), ..AccountFilter::default() };
    let page = PageRequest { limit: HITS, after: None };
    let found = visitor.read(&AccountList { filter, page }).await?;
    let hits = found.data.into_iter().map(|account| Hit {
        href: format!("/accounts/{}", account.id),
        label: account.account_number,
        kind: "Account",
        icon: "wallet",
    });
    Ok(hits.collect())
}

async fn customers(visitor: &Visitor, email: &str) -> Result<Vec<Hit>, Fault> {
    let filter = CustomerFilter { email: Some(email.to_owned()), ..CustomerFilter::default() };
    let page = PageRequest { limit: HITS, after: None };
    let console = &visitor.console;
    let keyring = std::sync::Arc::clone(&console.keyring);
    let list = ListCustomers::new(&console.operations, visitor.context(), keyring, filter, page);
    let found = visitor.open(list).await?;
    let hits = found.data.into_iter().map(|customer| Hit {
        href: format!("/customers/{}", customer.record.id),
        label: kit::customer_name(&customer.personal),
        kind: "Customer",
        icon: "users",
    });
    Ok(hits.collect())
}
