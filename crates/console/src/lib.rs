//! The console: server-rendered pages for people, over the same operations as the API.
//!
//! Owns pages, their look, their sessions' cookies, their forms and the headers that
//! guard them. Refuses to know SQL and rules: a handler reads a view or runs a command
//! as the person signed in, and draws the outcome. The API is not used and not known.
//!
//! # A page in five steps
//! 1. A template in `templates/areas/`, beginning with `{% extends "layout.html" %}` and
//!    `{% import "kit.html" as kit %}`; it fills the block `content`.
//! 2. A handler in `src/areas/`: takes a `visitor::Visitor` (signed in, or the request
//!    never arrives) and `params::Params`, returns an `fault::Answer`.
//! 3. A struct with `#[derive(askama::Template)]` and a field `page: Page`, made by
//!    `visitor.page("Title")`; shown by `visitor.show(&template)`.
//! 4. A line in `routes` with its module; every route there is for the signed-in of
//!    tenants that have the module.
//! 5. A line in `nav::ITEMS` with module and permission, where it is to be found.
//!
//! `crates/console/README.md` shows each component.

mod areas;
mod assets;
mod cookies;
mod device;
mod docs;
mod fault;
mod flash;
mod form;
mod frame;
mod guard;
mod kit;
mod nav;
mod onward;
mod page;
mod paging;
mod params;
mod routes;
mod security;
mod state;
mod visitor;

pub use docs::Reference;
pub use routes::{PagePath, page_paths, router};
pub use state::{Console, ConsoleParts};
