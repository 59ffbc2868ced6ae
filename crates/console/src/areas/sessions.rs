//! Where a person is signed in, and ending that: here their own sessions, and the lines
//! in which somebody else's are listed for staff (`user`).

use askama::Template;
use axum::extract::Path;
use identity::SessionRecord;
use jiff::tz::TimeZone;
use operation::{OperationError, RefusalKind};
use uuid::Uuid;

use super::security::{self, Tab};
use crate::{fault::Answer, kit, page::Page, params::Params, visitor::Visitor};

const PATH: &str = "/security/sessions";

#[derive(Template)]
#[template(path = "areas/sessions.html")]
struct SessionsPage {
    page: Page,
    tabs: Vec<Tab>,
    sessions: Vec<Line>,
    has_others: bool,
    first: Option<String>,
    next: Option<String>,
}

/// A session as it is listed.
pub(crate) struct Line {
    pub(crate) id: Uuid,
    pub(crate) device: &'static str,
    pub(crate) agent: String,
    pub(crate) address: String,
    pub(crate) is_current: bool,
    /// Why it looks odd, in words; empty where it does not.
    pub(crate) odd: String,
    pub(crate) began: kit::Markup,
    pub(crate) used: kit::Markup,
    pub(crate) ends: kit::Markup,
}

/// `GET /security/sessions`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let zone = visitor.zone();
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = visitor.console.identity.sessions(visitor.context(), &wanted).await?;
    let next = visitor.next_page(PATH, &params, found.next.as_deref()).await?;
    let sessions: Vec<_> = found.data.into_iter().map(|one| Line::of(one, &zone)).collect();
    let page = visitor
        .page("Security")
        .lead("Where you are signed in. End whatever you do not know.")
        .api("/v1/auth/sessions");
    visitor.show(&SessionsPage {
        page,
        tabs: security::tabs(PATH),
        has_others: sessions.iter().any(|session| !session.is_current) || next.is_some(),
        sessions,
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    })
}

/// `POST /security/sessions/{id}/end`.
pub(crate) async fn end(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    match visitor.console.identity.revoke_session(visitor.context(), id).await {
        Ok(()) => visitor.redirect_saying(PATH, "Signed out there"),
        // It ended by itself meanwhile, or was never theirs: both are not there.
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
            visitor.redirect_saying(PATH, "That session had ended already")
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /security/sessions/end`: everywhere but here.
pub(crate) async fn end_others(visitor: Visitor) -> Answer {
    // The present one is kept and not counted.
    let ended = visitor.console.identity.logout_everywhere(visitor.context(), true).await?;
    let said = match ended {
        0 => "You were signed in nowhere else".to_owned(),
        1 => "Signed out of one other session".to_owned(),
        more => format!("Signed out of {more} other sessions"),
    };
    visitor.redirect_saying(PATH, said)
}

impl Line {
    pub(crate) fn of(session: SessionRecord, zone: &TimeZone) -> Self {
        let agent = session.user_agent.unwrap_or_default();
        let odd: Vec<String> =
            session.suspicion_reasons.iter().map(|code| kit::words(code)).collect();
        Self {
            id: session.id,
            device: device(&agent),
            agent,
            address: session.ip_address.unwrap_or_else(|| "Unknown".to_owned()),
            is_current: session.current,
            odd: odd.join(", "),
            began: kit::time(session.created_at, zone),
            used: kit::time(session.last_activity_at, zone),
            ends: kit::time(session.expires_at, zone),
        }
    }
}

/// What a user agent most likely is, in two words: enough to tell one's telephone from
/// one's desk. Order matters: everybody calls themselves Safari, most Chrome as well.
fn device(agent: &str) -> &'static str {
    const KINDS: [(&str, &str); 12] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android device"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("python", "Python program"),
        ("okhttp", "Android app"),
        ("Go-http", "Go program"),
    ];
    let found = KINDS.iter().find(|(part, _)| agent.contains(part));
    found.map_or("Unknown device", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::device;

    #[test]
    fn a_telephone_is_told_from_a_desk() {
        let table = [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
                "Edge",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
                "iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
                "Safari",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox"),
            ("curl/8.14.1", "curl"),
            ("<script>", "Unknown device"),
            ("", "Unknown device"),
        ];
        for (agent, words) in table {
            assert_eq!(device(agent), words, "{agent}");
        }
    }
}
