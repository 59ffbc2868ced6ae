//! Owns what the layout needs of every page: who, where, which files, which tokens.
//!
//! Refuses content: that is the page's own template.

use crate::{
    assets::{self, Addresses},
    flash::Flash,
    frame::Visit,
    guard, nav,
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
            title: title.into(),
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
            public_url: console.public_url.clone(),
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
        self.crumbs.push(Crumb { label: label.into(), href: href.into() });
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
        let mut text = format!("curl {}{} \\\n", self.public_url, shell_quoted(&call.path));
        if call.method != "GET" {
            text.push_str(&format!("  -X {} \\\n", call.method));
        }
        text.push_str("  -H \"Authorization: Bearer $TOKEN\"");
        if let Some(body) = &call.body {
            let body = body.replace('\'', "'\\''");
            text.push_str(" \\\n  -H \"Content-Type: application/json\"");
            if call.method == "POST" {
                text.push_str(" \\\n  -H \"Idempotency-Key: $(uuidgen)\"");
            }
            text.push_str(&format!(" \\\n  -d '{body}'"));
        }
        Some(text)
    }
}

/// A path as a shell takes it: quoted where it holds more than a plain path does.
fn shell_quoted(path: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
    if path.bytes().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "%27"))
    }
}
