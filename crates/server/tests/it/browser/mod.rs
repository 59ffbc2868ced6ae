//! A real Chromium for tests of pages: what a person sees, clicks and types, and
//! everything the browser complains of meanwhile. Owns the browser's process, its
//! `DevTools` wire, the watch over each page, axe and the walk over many pages; knows
//! no page of ours but those in [`pages`].
//!
//! ```text
//! let browser = Browser::start().await;
//! let person = browser.person(&origin).await;           // cookies of their own
//! let page = person.page().await;
//! page.goto("/login").await.expect_status(200);
//! page.type_text("#username", "admin").await;
//! page.press("Enter").await;
//! page.wait_for("h1").await;
//! page.screenshot("after-login").await;
//! // Dropping the page fails the test where anything was complained of: a policy
//! // violation, a console error, an exception, a failed request, a foreign host.
//! ```
//!
//! Without a Chromium the tests fail and say what to install; nothing is skipped.
//! Start few browsers: nextest gives each test a process, and so a browser, of its own.
#![allow(dead_code, reason = "each test uses its own part of it")]

mod accessibility;
mod keyboard;
mod page;
mod pages;
mod passkeys;
mod process;
mod selftest;
mod walker;
mod watch;
mod wire;

pub(crate) use accessibility::assert_accessible;
pub(crate) use page::{Page, Viewport};
pub(crate) use pages::sign_in;
pub(crate) use process::{Browser, Person};
pub(crate) use walker::{Stop, Walker};
pub(crate) use watch::{Finding, Kind};
