//! The devices that people sign in from: how one is recognised, that its owner is told of
//! a new one, and its owner's list of them.
//!
//! A device is what its requests say of it: user agent, client hints, and the id that a
//! client keeps (`X-Device-Id`). Only a MAC over these is stored. Refuses to know how a
//! session begins: whoever begins one asks [`Seen`].

use audit::{AuditEvent, EventType};
use notify::{Channel, Notice, Template};
use serde_json::json;
use tenancy::{DbError, OpContext, RequestInfo, TenantTx, keyring::TenantKeys};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{context::key_failure, events::about, tenant_state::TenantState};

/// Stands before the session's row in the round trip that begins it.
pub(crate) const SEEN: &str = tenancy::sql!("identity/devices.sql", "seen");
/// Stands behind it.
pub(crate) const DETECT: &str = tenancy::sql!("identity/devices.sql", "detect");
const IS_NEW: &str = tenancy::sql!("identity/devices.sql", "is_new");
const CONTACT: &str = tenancy::sql!("identity/devices.sql", "contact");

/// What a device looks like to us: a MAC over what the request says of it.
pub(crate) fn fingerprint(state: &TenantState, request: &RequestInfo) -> [u8; 32] {
    state.keys.session().sign("device-fingerprint", &described(request))
}

/// No header holds a NUL, so parts that differ never read alike. A client that says no
/// more than its user agent looks as it did before there was more to say.
fn described(request: &RequestInfo) -> Vec<u8> {
    let mut text = request.user_agent.clone().unwrap_or_default();
    if request.client_hints.is_some() || request.device_id.is_some() {
        for part in [&request.client_hints, &request.device_id] {
            text.push('\0');
            text.push_str(part.as_deref().unwrap_or_default());
        }
    }
    text.into_bytes()
}

/// What a person would call a device: browser or program, and system.
pub(crate) fn name_of(user_agent: Option<&str>) -> String {
    const PROGRAMS: [(&str, &str); 6] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let agent = user_agent.unwrap_or_default();
    let found = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (found(&PROGRAMS), found(&SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, system) => {
            // `curl/8.14`, `BankApp/3.1 (Android 16)`: the product, without its version.
            let product = agent.split(['/', ' ', '(']).next().unwrap_or_default();
            // Without dots: it stands in our messages, and mail readers make links of names.
            let fit = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
            let product: String = product.chars().filter(fit).take(40).collect();
            match (product.is_empty(), system) {
                (false, Some(system)) => format!("{product} on {system}"),
                (false, None) => product,
                (true, Some(system)) => system.to_owned(),
                (true, None) => "Unknown device".to_owned(),
            }
        }
    }
}

/// The device of a session that has just begun, and how odd the session looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    device: Uuid,
    name: String,
    is_new: bool,
    has_others: bool,
    score: i32,
    reasons: Vec<String>,
    demands_step_up: bool,
}

impl Seen {
    /// Out of the rows of [`SEEN`] and [`DETECT`].
    pub(crate) fn read(device: Option<&Row>, verdict: Option<&Row>) -> Result<Self, DbError> {
        let missing = || DbError::Corrupt("a sign-in without a device".to_owned());
        let (device, verdict) = (device.ok_or_else(missing)?, verdict.ok_or_else(missing)?);
        Ok(Self {
            device: device.try_get("id")?,
            name: device.try_get("name")?,
            is_new: device.try_get("is_new")?,
            has_others: device.try_get("has_others")?,
            score: verdict.try_get("score")?,
            reasons: verdict.try_get("reasons")?,
            demands_step_up: verdict.try_get("demands_step_up")?,
        })
    }

    /// Tells the owner of a device that is new to an account which has others.
    pub(crate) async fn tell_owner(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (keys, user): (&TenantKeys, Uuid),
    ) -> Result<(), DbError> {
        if !(self.is_new && self.has_others) {
            return Ok(());
        }
        let Some((channel, to)) = contact(transaction, keys, user).await? else { return Ok(()) };
        let address = context.request.ip.map(|address| address.to_string());
        let notice = Notice {
            channel,
            to: &to,
            user: Some(user),
            template: Template::NewDevice,
            values: json!({ "device": self.name, "ip_address": address }),
        };
        notify::enqueue(transaction, context, keys, &notice).await.map(drop)
    }

    /// What the record of the sign-in says of it.
    pub(crate) fn details(&self) -> serde_json::Value {
        json!({
            "device_id": self.device, "new_device": self.is_new, "suspicion_score": self.score,
            "suspicion_reasons": self.reasons,
        })
    }

    /// A record of its own where a second factor is owed for it.
    pub(crate) fn suspicion(
        &self,
        context: &OpContext,
        action: &'static str,
        who: (Option<Uuid>, Option<Uuid>),
    ) -> Option<AuditEvent> {
        self.demands_step_up.then(|| {
            about(context, EventType::SecurityViolation, action, who).details(json!({
                "reason": "suspicious_session", "score": self.score, "reasons": self.reasons,
            }))
        })
    }
}

/// How an account knows a device before it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquaintance {
    /// It has been signed in from; or nothing has, and the first device is the owner's.
    Known,
    /// It is new, and there are others that still count.
    NewBesideOthers,
    /// It is new, and every other one was taken back.
    NewAlone,
}

/// How an account knows the device that this comes from.
pub(crate) async fn acquaintance(
    transaction: &TenantTx,
    user: Uuid,
    fingerprint: &[u8; 32],
) -> Result<Acquaintance, DbError> {
    let fingerprint = fingerprint.as_slice();
    let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &user, &fingerprint];
    let Some(row) = transaction.query_opt(IS_NEW, &parameters).await? else {
        return Ok(Acquaintance::Known);
    };
    Ok(match (row.try_get("is_new")?, row.try_get("has_known")?) {
        (false, _) => Acquaintance::Known,
        (true, true) => Acquaintance::NewBesideOthers,
        (true, false) => Acquaintance::NewAlone,
    })
}

/// Where somebody hears from us: by mail, else by phone, else nowhere.
async fn contact(
    transaction: &TenantTx,
    keys: &TenantKeys,
    user: Uuid,
) -> Result<Option<(Channel, String)>, DbError> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &user];
    let Some(row) = transaction.query_opt(CONTACT, &parameters).await? else { return Ok(None) };
    let subject = keys
        .open_subject_key(
            row.try_get("key_id")?,
            row.try_get("kek_epoch")?,
            row.try_get("wrapped_key")?,
        )
        .map_err(key_failure)?;
    for (column, channel) in [("email_sealed", Channel::Email), ("phone_sealed", Channel::Sms)] {
        if let Some(sealed) = row.try_get::<_, Option<Vec<u8>>>(column)? {
            let to = keys.open(&subject, ("users", column, user), sealed).map_err(key_failure)?;
            return Ok(Some((channel, to)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tenancy::RequestInfo;

    use super::{described, name_of};

    #[test]
    fn devices_are_called_what_people_call_them() {
        // user agent, name
        let table = [
            (
                Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
                "Firefox on Linux",
            ),
            (
                Some(
                    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36 Edg/141.0",
                ),
                "Edge on Windows",
            ),
            (
                Some(
                    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                ),
                "Safari on iPhone",
            ),
            (
                Some(
                    "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Mobile Safari/537.36",
                ),
                "Chrome on Android",
            ),
            (Some("curl/8.14.1"), "curl"),
            (Some("BankApp/3.1 (Android 16)"), "BankApp on Android"),
            (Some(""), "Unknown device"),
            (Some("/"), "Unknown device"),
            (None, "Unknown device"),
        ];
        for (agent, name) in table {
            assert_eq!(name_of(agent), name, "{agent:?}");
        }
        assert!(name_of(Some(&"x".repeat(512))).len() <= 64);
    }

    #[test]
    fn what_differs_never_reads_alike() {
        let request = |agent: &str, hints: Option<&str>, device: Option<&str>| RequestInfo {
            user_agent: Some(agent.to_owned()),
            client_hints: hints.map(str::to_owned),
            device_id: device.map(str::to_owned),
            ..RequestInfo::default()
        };
        let distinct = [
            request("a", None, None),
            request("a", Some("b"), None),
            request("a", None, Some("b")),
            request("a", Some("b"), Some("c")),
            request("a", Some("bc"), None),
            request("ab", Some("c"), None),
        ];
        for (at, one) in distinct.iter().enumerate() {
            for other in &distinct[at + 1..] {
                assert_ne!(described(one), described(other));
            }
        }
        assert_eq!(described(&distinct[0]), b"a", "as before there was more to say");
    }
}
