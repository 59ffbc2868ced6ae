//! Audit records in sentences. The record itself is what counts; a sentence only says
//! it shorter, and never says more than the record does.

use audit::query::StoredEvent;
use money::Currency;
use serde_json::Value;

use crate::kit;

/// What somebody did, to stand behind their name.
pub(crate) fn sentence(event: &StoredEvent) -> String {
    let did = taken(event).map_or_else(|| deed(event), str::to_owned);
    match event.result.as_str() {
        "success" => did,
        "replayed" => format!("{did} (the answer was repeated, nothing was done again)"),
        "denied" => format!("was refused: {}", intent(event)),
        _ => format!("tried and failed: {}", intent(event)),
    }
}

fn deed(event: &StoredEvent) -> String {
    let values = event.new_values.as_ref();
    let amount = values.and_then(amount);
    let with = |words: &str| match &amount {
        Some(amount) => format!("{words} {amount}"),
        None => words.to_owned(),
    };
    match event.action.as_str() {
        "auth.login" => "signed in".to_owned(),
        "logout" | "session.end" => "signed out".to_owned(),
        "auth.refresh" => "renewed an access token".to_owned(),
        "auth.me" => "looked at their own profile".to_owned(),
        "password.change" => "changed their password".to_owned(),
        "session.revoke" => "ended a session".to_owned(),
        "session.revoke_all" => "ended all sessions of a person".to_owned(),
        "session.cleanup" => "cleared away ended sessions".to_owned(),
        "token.revoke" => "revoked an access token".to_owned(),
        "tenant.create" => "created this tenant".to_owned(),
        "user.create" => "added a person".to_owned(),
        "user.update" => "changed a person".to_owned(),
        "user.read" => "read a person’s details".to_owned(),
        "user.list" | "user.names" => "looked through the people".to_owned(),
        "customer.create" => "added a customer".to_owned(),
        "customer.update" => "changed a customer".to_owned(),
        "customer.read" => "read a customer’s details".to_owned(),
        "customer.list" => "looked through customers".to_owned(),
        "customer.name" => "read a customer’s name".to_owned(),
        "account.open" => match values.and_then(|values| values["account_number"].as_str()) {
            Some(number) => format!("opened account {number}"),
            None => "opened an account".to_owned(),
        },
        "account.update" => "changed an account".to_owned(),
        "account.close" => "closed an account".to_owned(),
        "account.read" => "looked at an account".to_owned(),
        "account.list" => "looked through accounts".to_owned(),
        "account.list_of_party" => "looked at a customer’s accounts".to_owned(),
        "account.parties" => "looked at who belongs to an account".to_owned(),
        "account.balance" | "account.series" => "asked for a balance".to_owned(),
        "transaction.list" | "transaction.search" => "read an account’s entries".to_owned(),
        "transfer.read" | "posting.read" | "transfer.sides" => "looked at a movement".to_owned(),
        "payee.read" => "looked up an account to pay".to_owned(),
        "transfer.create" => with("transferred"),
        "deposit.create" => with("booked a deposit of"),
        "withdrawal.create" => with("booked a withdrawal of"),
        "fee.create" => with("charged a fee of"),
        "journal.create" => with("booked a journal of"),
        "transaction.reverse" => with("reversed a movement of"),
        "hold.create" => with("held back"),
        "hold.capture" => with("captured a hold of"),
        "hold.release" => "released a hold".to_owned(),
        "hold.expire" => "let a hold expire".to_owned(),
        "hold.read" | "hold.list" => "looked at holds".to_owned(),
        "approval.approve" => with("approved"),
        "approval.reject" => with("rejected"),
        "approval.expire" => "let an order run out that nobody decided".to_owned(),
        "approval.read" | "approval.list" => "looked at what waits for approval".to_owned(),
        "import.customers" | "import.accounts" | "import.transactions" => {
            "loaded data of another system".to_owned()
        }
        "development.book_day" => "booked a day of the demo".to_owned(),
        _ if event.action.starts_with("development.") => "made the demo’s data".to_owned(),
        "ledger.prove" => "proved the books".to_owned(),
        "settings.read" => "read the settings".to_owned(),
        "audit.list" => "read the audit log".to_owned(),
        "audit.read" => "read an audit record".to_owned(),
        "audit.prove" => "asked for the proof of an audit record".to_owned(),
        "audit.state" | "audit.checkpoints" => "looked at the log’s signed heads".to_owned(),
        "audit.examine" | "audit.consistency" => "verified the audit log".to_owned(),
        _ if event.action.starts_with("overview.") => "looked at the overview".to_owned(),
        _ => format!("did “{}”", event.action),
    }
}

/// What was taken away as a file, if anything was.
fn taken(event: &StoredEvent) -> Option<&'static str> {
    Some(match event.action.as_str() {
        "customer.export" => "took away a list of customers as a file",
        "account.export" => "took away a list of accounts as a file",
        "transaction.export" => "took away an account’s entries as a file",
        "overview.export" => "took away the overview’s figures as a file",
        "audit.export" => "took away records of the audit log as a file",
        _ => return None,
    })
}

/// What was wanted, where it did not come to it.
fn intent(event: &StoredEvent) -> String {
    let subject = kit::words(&event.resource_type).to_lowercase();
    match event.action.split_once('.') {
        _ if event.action == "auth.login" => "to sign in".to_owned(),
        Some((_, verb @ ("list" | "export"))) => format!("to {verb} {subject}s"),
        Some((_, "read")) => format!("to read {}", article(&subject)),
        Some((_, verb)) => {
            format!("to {} {}", verb.replace('_', " "), article(&subject))
        }
        None => kit::words(&event.action).to_lowercase(),
    }
}

fn article(noun: &str) -> String {
    let an = noun.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {noun}", if an { "an" } else { "a" })
}

fn amount(values: &Value) -> Option<String> {
    let currency: Currency = values["currency"].as_str()?.parse().ok()?;
    let minor = values["amount"].as_i64()?;
    Some(format!("{} {}", kit::amount_text(minor, currency), currency.code()))
}

/// Where the object of a record is shown, where it has a page.
pub(crate) fn place(event: &StoredEvent) -> Option<String> {
    let id = event.resource_id?;
    match event.resource_type.as_str() {
        "account" => Some(format!("/accounts/{id}")),
        "customer" => Some(format!("/customers/{id}")),
        "transfer" => Some(format!("/transfers/{id}")),
        "audit_event" => Some(format!("/audit/{id}")),
        _ => None,
    }
}

/// A row of the comparison of old and new values.
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    pub(crate) is_changed: bool,
}

/// Old and new values beside each other, nested ones under their path.
pub(crate) fn changes(old: Option<&Value>, new: Option<&Value>) -> Vec<Change> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    flatten("", old, &mut before);
    flatten("", new, &mut after);
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let value = |list: &[(String, String)], name: &str| {
        list.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
    };
    let both = old.is_some() && new.is_some();
    let row = |name: &String| {
        let (old, new) = (value(&before, name), value(&after, name));
        let is_changed = both && old != new;
        Change { name: name.clone(), old, new, is_changed }
    };
    names.into_iter().map(row).collect()
}

fn flatten(path: &str, value: Option<&Value>, rows: &mut Vec<(String, String)>) {
    let Some(value) = value else { return };
    let under = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                flatten(&under(name), Some(member), rows);
            }
        }
        Value::String(text) => rows.push((path.to_owned(), text.clone())),
        Value::Null => rows.push((path.to_owned(), "—".to_owned())),
        other => rows.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::{article, changes};

    #[test]
    fn changes_stand_beside_each_other() {
        let (old, new) = (
            json!({ "status": "active", "a": { "b": 1 } }),
            json!({ "status": "frozen", "a": { "b": 1 }, "c": null }),
        );
        let rows = changes(Some(&old), Some(&new));
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.old.as_deref(), row.new.as_deref(), row.is_changed))
            .collect();
        assert_eq!(
            told,
            [
                ("a.b", Some("1"), Some("1"), false),
                ("c", None, Some("—"), true),
                ("status", Some("active"), Some("frozen"), true),
            ]
        );
        assert!(changes(None, Some(&new)).iter().all(|row| !row.is_changed));
        assert_eq!((article("account"), article("hold")), ("an account".into(), "a hold".into()));
    }
}
