//! From a notice to what is sent: both bodies of an e-mail, or the text of an SMS. Refuses
//! to know how it travels.
//!
//! Nothing in it leads anywhere but to our own origin, and nothing is loaded: no picture,
//! no style sheet, no counter of who has read it.

use askama::Template as _;
use jiff::{Timestamp, tz::TimeZone};
use uuid::Uuid;

use crate::{
    branding::Look,
    notice::{Channel, Template, Values},
    wording::{Told, Words, words},
};

/// A message, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Of the notice: the same at every attempt, so that receivers can tell a repetition.
    pub id: Uuid,
    /// The e-mail address or phone number.
    pub to: String,
    /// When it was written.
    pub written_at: Timestamp,
    /// What is sent.
    pub content: Content,
}

/// What is sent, by channel.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// An e-mail.
    Email {
        /// The name it comes from.
        from_name: String,
        /// Where answers go, where the tenant has such an address.
        reply_to: Option<String>,
        /// The subject.
        subject: String,
        /// For whoever reads text.
        text: String,
        /// For everybody else.
        html: String,
    },
    /// An SMS.
    Sms {
        /// All of it.
        text: String,
    },
}

impl std::fmt::Debug for Message {
    /// Without recipient and content: both are secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Message").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a message is made of beside its values.
pub(crate) struct Frame<'a> {
    pub(crate) look: &'a Look,
    /// `PUBLIC_URL`, without a slash at its end.
    pub(crate) origin: &'a str,
    pub(crate) time_zone: &'a TimeZone,
}

/// Why there is no message; a word of ours for `last_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// The link leads elsewhere.
    ForeignLink,
    /// The template could not be filled.
    Template,
}

impl Unwritten {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ForeignLink => "foreign_link",
            Self::Template => "not_renderable",
        }
    }
}

#[derive(askama::Template)]
#[template(path = "message.html")]
struct Html<'a> {
    look: &'a Look,
    words: &'a Words,
    name: Option<&'a str>,
    code: Option<&'a str>,
    link: &'a str,
    facts: &'a [(&'static str, String)],
}

#[derive(askama::Template)]
#[template(path = "message.txt")]
struct Text<'a> {
    look: &'a Look,
    words: &'a Words,
    name: Option<&'a str>,
    code: Option<&'a str>,
    link: &'a str,
    facts: &'a [(&'static str, String)],
}

/// Writes what a notice says.
pub(crate) fn write(
    channel: Channel,
    template: Template,
    values: &Values,
    frame: &Frame<'_>,
) -> Result<Content, Unwritten> {
    let look = frame.look;
    let link = own_link(frame.origin, values.link.as_deref())?;
    let end = values.expires_at.or(values.until);
    let until = end.map(|end| readable(end, frame.time_zone)).unwrap_or_default();
    let contact = look.contact();
    let told = Told { brand: &look.name, contact: &contact, link: &link, until: &until, values };
    let words = words(template, &told);
    if channel == Channel::Sms {
        return Ok(Content::Sms { text: words.sms });
    }
    let facts = if is_news(template) { facts(values, frame.time_zone) } else { Vec::new() };
    let name = values.name.as_deref();
    let code = values.code.as_deref().filter(|_| template == Template::SignInCode);
    let (words, link, facts) = (&words, link.as_str(), facts.as_slice());
    let html = Html { look, words, name, code, link, facts }.render();
    let text = Text { look, words, name, code, link, facts }.render();
    Ok(Content::Email {
        from_name: look.name.clone(),
        reply_to: look.support.clone().filter(|address| address.contains('@')),
        subject: words.subject.clone(),
        text: text.map_err(|_| Unwritten::Template)?,
        html: html.map_err(|_| Unwritten::Template)?,
    })
}

/// Whether it tells of something done, whose circumstances are worth knowing.
fn is_news(template: Template) -> bool {
    !matches!(
        template,
        Template::PasswordReset | Template::Invite | Template::VerifyEmail | Template::SignInCode
    )
}

fn facts(values: &Values, time_zone: &TimeZone) -> Vec<(&'static str, String)> {
    let when = values.occurred_at.map(|at| readable(at, time_zone));
    [
        ("When", when),
        ("Device", values.device.clone()),
        ("Network address", values.ip_address.clone()),
    ]
    .into_iter()
    .filter_map(|(label, fact)| Some((label, fact?)))
    .collect()
}

/// A link of ours, whole; empty where there is none. A path is put behind our origin, and
/// an address must lie below it: `https://bank.example.evil` does not.
fn own_link(origin: &str, link: Option<&str>) -> Result<String, Unwritten> {
    let Some(link) = link else { return Ok(String::new()) };
    let path = link.strip_prefix(origin).unwrap_or(link);
    // `//host` and `/\host` are other hosts to a browser.
    let is_path = path.starts_with('/') && !path[1..].starts_with(['/', '\\']);
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain { Ok(format!("{origin}{path}")) } else { Err(Unwritten::ForeignLink) }
}

fn readable(at: Timestamp, time_zone: &TimeZone) -> String {
    let local = at.to_zoned(time_zone.clone());
    local.strftime("%-d %B %Y, %H:%M %Z").to_string()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
