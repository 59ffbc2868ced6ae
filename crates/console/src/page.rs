//! Owns what the layout needs of every page: who, where, which files, which tokens.
//!
//! Refuses content: that is the page's own template.

use std::fmt::Write as _;

use crate::{
    assets::{self, Addresses},
    flash::Flash,
    frame::Visit,
    guard, kit, nav,
    state::Console,
};

/// How the page is lit; the system's choice where nobody made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub(crate) fn read(text: &str) -> Option<Self> {
        match text {
            "light" => Some(Self::Light),
            "dark" => Some(Self::Dark),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The person in the corner.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) role: String,
    pub(crate) initial: String,
}

/// The request to the API that gives what the page shows.
#[derive(Clone, Debug)]
pub(crate) struct ApiCall {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<String>,
}

/// A step above this page.
#[derive(Clone, Debug)]
pub(crate) struct Crumb {
    pub(crate) label: String,
    pub(crate) href: String,
}

/// What the layout draws around a page.
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) lead: Option<String>,
    pub(crate) nonce: String,
    pub(crate) csrf: String,
    pub(crate) theme: Option<Theme>,
    pub(crate) path: String,
    pub(crate) tenant: String,
    pub(crate) person: Option<Person>,
    pub(crate) navigation: Vec<nav::Link>,
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) api: Option<ApiCall>,
    pub(crate) flash: Option<Flash>,
    pub(crate) public_url: String,
    pub(crate) assets: &'static Addresses,
    pub(crate) request_id: String,
}

impl Page {
    pub(crate) fn of(console: &Console, visit: &Visit, title: impl Into<String>) -> Self {
        let session = visit.session.as_ref();
        let person = session.map(|session| Person {
            username: session.username.clone(),
            role: session.context.actor.roles.first().cloned().unwrap_or_default(),
            initial: session.username.chars().take(1).flat_map(char::to_uppercase).collect(),
        });
        Self {
            title: kit::plain(&title.into()),
            lead: None,
            nonce: visit.nonce.clone(),
            csrf: session
                .map_or_else(|| visit.before.clone(), identity::ConsoleSession::form_token),
            theme: visit.theme,
            path: visit.path.clone(),
            tenant: session.map(|session| session.context.tenant.slug.clone()).unwrap_or_default(),
            person,
            navigation: session
                .map(|session| nav::of(&console.operations, &session.context, &visit.path))
                .unwrap_or_default(),
            crumbs: Vec::new(),
            api: None,
            flash: visit.flash.clone(),
            public_url: visited(
                &console.public_url,
                &console.allowed_hosts,
                visit.host.as_deref().unwrap_or_default(),
            ),
            assets: assets::addresses(),
            request_id: visit.source.id.clone(),
        }
    }

    /// The sentence under the title.
    #[must_use]
    pub(crate) fn lead(mut self, lead: impl Into<String>) -> Self {
        self.lead = Some(lead.into());
        self
    }

    /// A step above, the outermost first.
    #[must_use]
    pub(crate) fn crumb(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.crumbs.push(Crumb { label: kit::plain(&label.into()), href: href.into() });
        self
    }

    /// What "View as API" shows: a GET of this path.
    #[must_use]
    pub(crate) fn api(self, path: impl Into<String>) -> Self {
        self.api_call("GET", path, None)
    }

    /// What "View as API" shows: any request, its body as JSON.
    #[must_use]
    pub(crate) fn api_call(
        mut self,
        method: &'static str,
        path: impl Into<String>,
        body: Option<String>,
    ) -> Self {
        self.api = Some(ApiCall { method, path: path.into(), body });
        self
    }

    /// The name of the hidden field that carries [`Page::csrf`].
    pub(crate) fn csrf_field(&self) -> &'static str {
        let _ = self;
        guard::FIELD
    }

    /// `light`, `dark` or nothing.
    pub(crate) fn theme_name(&self) -> &'static str {
        self.theme.map_or("", Theme::as_str)
    }

    /// The curl that gives what the page shows.
    pub(crate) fn curl(&self) -> Option<String> {
        let call = self.api.as_ref()?;
        let address = format!("{}{}", self.public_url, call.path);
        let mut text = format!("curl {} \\\n", shell_quoted(&address));
        if call.method != "GET" {
            let _ = writeln!(text, "  -X {} \\", call.method);
        }
        text.push_str("  -H \"Authorization: Bearer $TOKEN\"");
        if let Some(body) = &call.body {
            let body = body.replace('\'', "'\\''");
            text.push_str(" \\\n  -H \"Content-Type: application/json\"");
            if call.method == "POST" {
                text.push_str(" \\\n  -H \"Idempotency-Key: $(uuidgen)\"");
            }
            let _ = write!(text, " \\\n  -d '{body}'");
        }
        Some(text)
    }
}

/// The address that examples show: the one visited where it is surely ours (an allowed
/// host, or a loopback while our public address is one), else the public one. What a
/// stranger wrote into `Host` is never repeated.
fn visited(public_url: &str, allowed_hosts: &[String], host: &str) -> String {
    let (scheme, public) = public_url.split_once("://").unwrap_or(("https", public_url));
    let name = name_of(host);
    let is_loopback = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let is_ours = allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        || (is_loopback(name) && is_loopback(name_of(public)));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    if is_ours && host.bytes().all(is_plain) {
        format!("{scheme}://{host}")
    } else {
        public_url.to_owned()
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// An address as a shell takes it: quoted where it holds more than a plain one does.
fn shell_quoted(address: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.:".contains(&byte);
    if address.bytes().all(plain) {
        address.to_owned()
    } else {
        format!("'{}'", address.replace('\'', "%27"))
    }
}

#[cfg(test)]
mod tests {
    use super::visited;

    #[test]
    fn examples_name_the_address_visited_only_where_it_is_ours() {
        let allowed = ["bank.example".to_owned(), "www.bank.example".to_owned()];
        let public = "https://bank.example";
        for (public, host, shown) in [
            (public, "bank.example", public),
            (public, "WWW.bank.example:8443", "https://WWW.bank.example:8443"),
            (public, "evil.example", public),
            (public, "bank.example.evil.example", public),
            (public, "localhost:8080", public),
            (public, "", public),
            (public, "bank.example:80$(reboot)", public),
            ("http://localhost:8080", "127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://localhost:8080", "[::1]:9000", "http://[::1]:9000"),
            ("http://localhost:8080", "localhost.evil.example", "http://localhost:8080"),
        ] {
            assert_eq!(visited(public, &allowed, host), shown, "{host}");
        }
        assert_eq!(visited("https://b.example", &[], "evil.example"), "https://b.example");
    }
}
