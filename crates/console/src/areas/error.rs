//! The page for what went wrong, within the layout where somebody is signed in.

use askama::Template;

use crate::{fault::Fault, frame::Visit, kit, page::Page, state::Console, visitor::own_path};

#[derive(Template)]
#[template(path = "areas/error.html")]
struct ErrorPage<'a> {
    page: Page,
    fault: &'a Fault,
    /// Where another try would go.
    back: Option<String>,
}

pub(crate) fn draw(
    console: &Console,
    visit: &Visit,
    fault: &Fault,
) -> Result<String, askama::Error> {
    let page = Page::of(console, visit, fault.title);
    ErrorPage { page, fault, back: back(visit) }.render()
}

/// What trying again means: the page that was asked for. A form's address cannot be
/// opened; the browser's own way back leads to the form.
fn back(visit: &Visit) -> Option<String> {
    let query = if visit.query.is_empty() { "" } else { "?" };
    visit.is_read.then(|| format!("{}{query}{}", visit.path, visit.query))
}

impl ErrorPage<'_> {
    fn icon(&self) -> kit::Markup {
        kit::icon(match self.fault.status.as_u16() {
            403 => "lock",
            404 => "search",
            429 | 503 => "clock",
            _ => "alert",
        })
    }

    /// Address, label and class of each way on, the likeliest first. A refusal that the
    /// same address would meet again offers no second try.
    fn ways_on(&self) -> Vec<(&str, &'static str, &'static str)> {
        let home = match self.page.person {
            Some(_) => ("/", "Go to the overview"),
            None if self.page.path.starts_with("/docs") => ("/docs", "Go to the reference"),
            None => ("/", "Go to the start"),
        };
        let may_pass = self.fault.retry_after_s.is_some() || self.fault.status.is_server_error();
        match self.back.as_deref().and_then(own_path) {
            Some(back) if may_pass => {
                vec![(back, "Try again", " button--primary"), (home.0, home.1, "")]
            }
            _ if self.asks_why() => {
                vec![(home.0, home.1, " button--primary"), ("/access", "What may I do?", "")]
            }
            _ => vec![(home.0, home.1, " button--primary")],
        }
    }

    /// Whether a decision kept somebody out, who can have it explained.
    fn asks_why(&self) -> bool {
        self.fault.is_denied && self.page.person.is_some()
    }
}
