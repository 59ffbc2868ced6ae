//! What was done with a person's own access, in sentences: the newest first. The record
//! itself stands in the audit log; a sentence never says more than it does.

use askama::Template;
use identity::{ActivityBy, ActivityRecord};
use jiff::tz::TimeZone;

use super::security::{self, Tab};
use crate::{fault::Answer, kit, page::Page, params::Params, visitor::Visitor};

const PATH: &str = "/security/activity";

#[derive(Template)]
#[template(path = "areas/activity.html")]
struct Activity {
    page: Page,
    tabs: Vec<Tab>,
    lines: Vec<Line>,
    first: Option<String>,
    next: Option<String>,
}

struct Line {
    moment: kit::Markup,
    told: String,
    /// Device and address, or who else did it.
    from: String,
    /// `bad`, `care` or nothing.
    tone: &'static str,
}

/// `GET /security/activity`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = visitor.console.identity.activity(visitor.context(), &wanted).await?;
    let next = visitor.next_page(PATH, &params, found.next.as_deref()).await?;
    let zone = visitor.zone();
    let page = visitor
        .page("Security")
        .lead("What was done with your access: by you, in your name, and by staff.")
        .api("/v1/auth/activity");
    visitor.show(&Activity {
        page,
        tabs: security::tabs(PATH),
        lines: found.data.iter().map(|record| Line::of(record, &zone)).collect(),
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    })
}

impl Line {
    fn of(record: &ActivityRecord, zone: &TimeZone) -> Self {
        let from = match record.by {
            ActivityBy::Account => {
                let parts = [record.device.as_deref(), record.ip_address.as_deref()];
                parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
            }
            ActivityBy::Staff => "By an administrator".to_owned(),
            ActivityBy::System => "By the system".to_owned(),
        };
        Self {
            moment: kit::time(record.occurred_at, zone),
            told: told(record),
            from,
            tone: tone(record),
        }
    }
}

fn tone(record: &ActivityRecord) -> &'static str {
    match record.event_type.as_str() {
        "auth_failure" | "security_violation" => "bad",
        "account_lockout" => "care",
        _ if record.result != "success" => "bad",
        _ => "",
    }
}

fn told(record: &ActivityRecord) -> String {
    let failed = record.result != "success" || record.event_type == "auth_failure";
    let words = if failed { failure(record) } else { deed(record) };
    words.map_or_else(|| fallback(record, failed), str::to_owned)
}

fn deed(record: &ActivityRecord) -> Option<&'static str> {
    Some(match (record.event_type.as_str(), record.action.as_str()) {
        ("login", "auth.passkey") => "Signed in with a passkey",
        ("login", "mfa.verify") => "Signed in with a second factor",
        ("login", _) => "Signed in",
        ("logout", "session.revoke_all") => "Signed out everywhere",
        ("logout", _) => "Signed out",
        ("account_lockout", "user.lock") => "Account locked",
        ("account_lockout", _) => "Sign-in paused after too many failures",
        ("security_violation", "session.end") => "Session ended: used from somewhere else",
        ("security_violation", "auth.refresh") => "Session ended: an old token was used again",
        ("security_violation", _) => "Something looked odd about a sign-in",
        ("role_change", _) => "Roles changed",
        ("session_revocation", "device.revoke") => "Device revoked",
        ("session_revocation", _) => "Session ended",
        (_, "password.change") => "Password changed",
        (_, "password.set_by_link") => "Password set by a link",
        (_, "password.reset_link" | "password.send_reset") => "Link to set a new password sent",
        (_, "mfa.setup" | "mfa.confirm" | "passkey.register") => "Second factor added",
        (_, "mfa.remove" | "passkey.remove") => "Second factor removed",
        (_, "mfa.regenerate_backup_codes") => "New backup codes made",
        (_, "mfa.reset_request") => "Removal of your second factors asked for",
        (_, "mfa.reset") => "All your second factors removed",
        (_, "mfa.reset_reject") => "Removal of your second factors turned down",
        (_, "contact.confirm") => "E-mail or phone changed or proven",
        (_, "user.update") => "Your record changed",
        (_, "user.unlock") => "Account unlocked",
        (_, "user.invite") => "Invited",
        _ => return None,
    })
}

fn failure(record: &ActivityRecord) -> Option<&'static str> {
    Some(match (record.action.as_str(), record.reason.as_deref()) {
        ("auth.login", Some("wrong")) => "Sign-in failed: wrong password",
        ("auth.login", Some("locked")) => "Sign-in refused: the account was locked",
        ("auth.login", Some("blocked")) => "Sign-in refused: too many failures from there",
        ("auth.login", _) => "Sign-in failed",
        ("auth.passkey", _) => "Sign-in with a passkey failed",
        ("mfa.verify" | "auth.step_up", _) => "Second factor refused",
        ("link.refuse", _) => "A link that was no longer valid was followed",
        ("contact.confirm", _) => "Wrong code for a new phone number",
        ("password.change", _) => "Change of the password failed",
        _ => return None,
    })
}

/// What nobody has put into words yet, as the record calls it.
fn fallback(record: &ActivityRecord, failed: bool) -> String {
    let what = kit::words(&record.action.replace('.', " "));
    if failed { format!("{what}: refused") } else { what }
}

#[cfg(test)]
mod tests {
    use identity::{ActivityBy, ActivityRecord};
    use jiff::Timestamp;

    use super::{told, tone};

    fn record(
        event_type: &str,
        action: &str,
        result: &str,
        reason: Option<&str>,
    ) -> ActivityRecord {
        ActivityRecord {
            id: uuid::Uuid::nil(),
            occurred_at: Timestamp::UNIX_EPOCH,
            event_type: event_type.to_owned(),
            action: action.to_owned(),
            result: result.to_owned(),
            reason: reason.map(str::to_owned),
            by: ActivityBy::Account,
            ip_address: None,
            device: None,
        }
    }

    #[test]
    fn a_failure_never_reads_like_a_success() {
        // type, action, result, reason, sentence, tone
        let table = [
            ("login", "auth.login", "success", None, "Signed in", ""),
            ("login", "mfa.verify", "success", None, "Signed in with a second factor", ""),
            (
                "auth_failure",
                "auth.login",
                "denied",
                Some("wrong"),
                "Sign-in failed: wrong password",
                "bad",
            ),
            ("auth_failure", "mfa.verify", "denied", None, "Second factor refused", "bad"),
            (
                "account_lockout",
                "user.lock",
                "success",
                Some("compliance"),
                "Account locked",
                "care",
            ),
            ("credential_change", "password.change", "success", None, "Password changed", ""),
            (
                "credential_change",
                "password.change",
                "denied",
                None,
                "Change of the password failed",
                "bad",
            ),
            ("credential_change", "brand.new", "success", None, "Brand new", ""),
            ("credential_change", "brand.new", "denied", None, "Brand new: refused", "bad"),
        ];
        for (event_type, action, result, reason, sentence, expected) in table {
            let record = record(event_type, action, result, reason);
            assert_eq!((told(&record).as_str(), tone(&record)), (sentence, expected));
        }
    }
}
