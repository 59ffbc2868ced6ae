//! What the command palette finds beyond navigation: accounts, customers, movements and
//! audit records that the person may see, by the exact number, e-mail, telephone or id
//! that they know. Personal data is sealed, so there is no searching by parts of a name.

use access::Permission;
use askama::Template;
use banking::{
    Account, AccountFilter, AccountList, AccountView, CustomerFilter, ListCustomers, ReadCustomer,
    TransferView,
};
use http::StatusCode;
use operation::{PageRequest, audit_views::ReadEvent};
use uuid::Uuid;

use super::moving::number_of;
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
    let banking = visitor.context().tenant.has_module("banking");
    if let Ok(id) = text.parse::<Uuid>() {
        hits.extend(by_id(&visitor, id, banking).await?);
    } else if sensible && banking {
        if visitor.may(Permission::AccountRead) {
            hits.extend(accounts(&visitor, text).await?);
        }
        if visitor.may(Permission::CustomerRead) {
            hits.extend(customers(&visitor, text).await?);
        }
    }
    visitor.show(&Hits { hits })
}

/// Whatever bears the id; ids are unique over all kinds.
async fn by_id(visitor: &Visitor, id: Uuid, banking: bool) -> Result<Option<Hit>, Fault> {
    if banking && visitor.may(Permission::AccountRead) {
        let account = found(visitor.read(&AccountView { account_id: id }).await)?;
        if let Some(account) = account {
            return Ok(Some(account_hit(account)));
        }
    }
    if banking && visitor.may(Permission::TransactionRead) {
        let transfer = found(visitor.read(&TransferView { transfer_id: id }).await)?;
        if let Some(transfer) = transfer {
            let amount = kit::amount_text(transfer.amount, transfer.currency);
            let (kind, code) = (kit::words(transfer.kind.as_str()), transfer.currency.code());
            let label = format!("{kind} of {amount} {code}");
            let href = format!("/transfers/{id}");
            return Ok(Some(Hit { href, label, kind: "Movement", icon: "transfer" }));
        }
    }
    if banking && visitor.may(Permission::CustomerRead) {
        let keyring = std::sync::Arc::clone(&visitor.console.keyring);
        let customer = found(visitor.open(ReadCustomer { keyring, customer_id: id }).await)?;
        if let Some(customer) = customer {
            let label = kit::customer_name(&customer.personal);
            let href = format!("/customers/{id}");
            return Ok(Some(Hit { href, label, kind: "Customer", icon: "users" }));
        }
    }
    if visitor.context().tenant.has_module("audit") && visitor.may(Permission::AuditRead) {
        let event = found(visitor.read(&ReadEvent(id)).await)?;
        return Ok(event.map(|event| Hit {
            href: format!("/audit/{id}"),
            label: event.action,
            kind: "Audit record",
            icon: "shield",
        }));
    }
    Ok(None)
}

/// What is not there, or not theirs, is no hit.
fn found<T>(read: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(fault) if matches!(fault.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) => {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn account_hit(account: Account) -> Hit {
    Hit {
        href: format!("/accounts/{}", account.id),
        label: account.account_number,
        kind: "Account",
        icon: "wallet",
    }
}

async fn accounts(visitor: &Visitor, text: &str) -> Result<Vec<Hit>, Fault> {
    let number = number_of(text);
    if !number.bytes().any(|byte| byte.is_ascii_digit()) {
        return Ok(Vec::new());
    }
    let filter = AccountFilter { account_number: Some(number), ..AccountFilter::default() };
    let page = PageRequest { limit: HITS, after: None, ..PageRequest::default() };
    let found = visitor.read(&AccountList { filter, page }).await?;
    Ok(found.data.into_iter().map(account_hit).collect())
}

/// By e-mail address, or by telephone in its international form.
async fn customers(visitor: &Visitor, text: &str) -> Result<Vec<Hit>, Fault> {
    let is_phone = text.strip_prefix('+').is_some_and(|rest| {
        rest.len() >= 7 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ')
    });
    let filter = if text.contains('@') {
        CustomerFilter { email: Some(text.to_owned()), ..CustomerFilter::default() }
    } else if is_phone {
        let phone = text.replace(' ', "");
        CustomerFilter { phone: Some(phone), ..CustomerFilter::default() }
    } else {
        return Ok(Vec::new());
    };
    let page = PageRequest { limit: HITS, after: None, ..PageRequest::default() };
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
