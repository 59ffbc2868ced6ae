//! The page for what went wrong, within the layout where somebody is signed in.

use askama::Template;

use crate::{fault::Fault, frame::Visit, kit, page::Page, state::Console};

#[derive(Template)]
#[template(path = "areas/error.html")]
struct ErrorPage<'a> {
    page: Page,
    fault: &'a Fault,
}

pub(crate) fn draw(
    console: &Console,
    visit: &Visit,
    fault: &Fault,
) -> Result<String, askama::Error> {
    let page = Page::of(console, visit, fault.title);
    ErrorPage { page, fault }.render()
}

impl ErrorPage<'_> {
    fn icon(&self) -> kit::Markup {
        kit::icon(match self.fault.status.as_u16() {
            403 => "lock",
            404 => "search",
            _ => "alert",
        })
    }
}
