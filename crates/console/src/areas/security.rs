//! A person's own security: their password, and where they are signed in.
//!
//! Everything here is the person's own, whatever their role; identity sees to that, so
//! nothing asks policy. What is typed into a password field is never drawn again.

use askama::Template;
use axum::extract::Path;
use http::{HeaderValue, StatusCode, header};
use identity::{PasswordChange, PasswordRules, SessionRecord};
use jiff::{Timestamp, tz::TimeZone};
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{fault::Answer, form::Form, kit, page::Page, params::Params, visitor::Visitor};

const PATH: &str = "/security";

#[derive(Template)]
#[template(path = "areas/security.html")]
struct Security {
    page: Page,
    username: String,
    form: Form,
    rules: Vec<Rule>,
    /// When the password was last changed, and when it has to be.
    age: String,
    sessions: Vec<Line>,
    has_others: bool,
    first: Option<String>,
    next: Option<String>,
}

/// A rule in words, and how a script checks it while one types.
struct Rule {
    text: String,
    /// Empty where only the server can tell.
    check: &'static str,
    value: u32,
}

/// A session as it is listed.
struct Line {
    id: Uuid,
    device: &'static str,
    agent: String,
    address: String,
    is_current: bool,
    began: kit::Markup,
    used: kit::Markup,
    ends: kit::Markup,
}

/// `GET /security`.
pub(crate) async fn show(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, Form::default(), StatusCode::OK).await
}

/// `GET` of what only a form is sent to: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /security/password`.
pub(crate) async fn change_password(visitor: Visitor, form: Params) -> Answer {
    let typed = |name| Zeroizing::new(form.raw(name).unwrap_or_default().to_owned());
    let change = PasswordChange { current: typed("current_password"), new: typed("new_password") };
    let refusal = match visitor.console.identity.change_password(visitor.context(), change).await {
        Ok(()) => {
            let said = "Password changed. Everywhere else you are signed out";
            return visitor.redirect_saying(PATH, said);
        }
        Err(OperationError::Refused(refusal)) => refusal,
        Err(error) => return Err(error.into()),
    };
    let (refusal, status) = match refusal.kind {
        RefusalKind::Rule => (refusal, StatusCode::UNPROCESSABLE_ENTITY),
        RefusalKind::Conflict => (refusal, StatusCode::CONFLICT),
        RefusalKind::Unavailable => (busy(refusal), StatusCode::SERVICE_UNAVAILABLE),
        _ => return Err(refusal.into()),
    };
    let drawn = Form::refused(&Params::default(), &refusal);
    let mut response = draw(&visitor, &Params::default(), drawn, status).await?;
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
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

async fn draw(visitor: &Visitor, params: &Params, form: Form, status: StatusCode) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let zone = visitor.zone();
    let me = identity.me(context).await?;
    let policy = identity.policy(context).await?.password;
    let wanted = visitor.page_request(PATH, params).await?;
    let found = identity.sessions(context, &wanted).await?;
    let next = visitor.next_page(PATH, params, found.next.as_deref()).await?;
    let first = params.get("cursor").map(|_| PATH.to_owned());
    let sessions: Vec<_> = found.data.into_iter().map(|session| line(session, &zone)).collect();
    let page = visitor.page("Security").lead("Your password, and where you are signed in.");
    let template = Security {
        page: page.api("/v1/auth/sessions"),
        username: me.username,
        form,
        age: age(me.password_changed_at, policy.maximum_age_days, &zone),
        rules: rules(&PasswordRules::from(&policy)),
        has_others: sessions.iter().any(|session| !session.is_current) || next.is_some(),
        sessions,
        first,
        next,
    };
    visitor.show_as(status, &template)
}

/// The hashing queue is full: nothing was compared, nothing was charged.
fn busy(refusal: Refusal) -> Refusal {
    let detail = "We are very busy at the moment. Try again in a few seconds.".to_owned();
    Refusal { detail, ..refusal }
}

fn age(changed_at: Option<Timestamp>, maximum_days: Option<u32>, zone: &TimeZone) -> String {
    let day = |moment: Timestamp| moment.to_zoned(zone.clone()).strftime("%-d %B %Y");
    let Some(changed_at) = changed_at else { return "It was never changed.".to_owned() };
    let lasts = maximum_days.map(|days| jiff::SignedDuration::from_hours(i64::from(days) * 24));
    let until = lasts.and_then(|lasts| changed_at.checked_add(lasts).ok());
    match until {
        Some(until) => {
            format!("Last changed on {}; has to be changed by {}.", day(changed_at), day(until))
        }
        None => format!("Last changed on {}.", day(changed_at)),
    }
}

fn rules(rules: &PasswordRules) -> Vec<Rule> {
    let rule = |text: String, check, value| Rule { text, check, value };
    let mut list = vec![rule(
        format!("At least {} characters", rules.minimum_length),
        "length",
        rules.minimum_length,
    )];
    if rules.all_four_classes {
        list.push(rule("An upper-case letter".to_owned(), "upper", 0));
        list.push(rule("A lower-case letter".to_owned(), "lower", 0));
        list.push(rule("A digit".to_owned(), "digit", 0));
        list.push(rule("A special character".to_owned(), "special", 0));
    }
    if rules.refuse_common {
        list.push(rule("Not one of the most common passwords".to_owned(), "", 0));
    }
    list.push(rule("Without your name or e-mail address".to_owned(), "", 0));
    if rules.history > 0 {
        let text = match rules.history {
            1 => "Not your last password".to_owned(),
            many => format!("None of your last {many} passwords"),
        };
        list.push(rule(text, "", 0));
    }
    list
}

fn line(session: SessionRecord, zone: &TimeZone) -> Line {
    let agent = session.user_agent.unwrap_or_default();
    Line {
        id: session.id,
        device: device(&agent),
        agent,
        address: session.ip_address.unwrap_or_else(|| "Unknown".to_owned()),
        is_current: session.current,
        began: kit::time(session.created_at, zone),
        used: kit::time(session.last_activity_at, zone),
        ends: kit::time(session.expires_at, zone),
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
