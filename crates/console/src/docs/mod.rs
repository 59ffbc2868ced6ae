//! The documentation of the interface, public: guides, a page for each operation, every
//! problem code, Swagger UI. All of it is drawn from the OpenAPI document that the
//! composition root hands in, so that it says what the server does.
//!
//! Refuses to know the API itself, and to need scripts: but for Swagger UI, every page
//! works without.

mod curl;
mod document;
mod pages;
mod schema;
mod swagger;

use axum::{Router, routing::get};

pub use document::Reference;

use crate::state::Console;

/// The routes below `/docs`.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/docs", get(pages::index))
        .route("/docs/operations/{id}", get(pages::operation))
        .route("/docs/guides/{name}", get(pages::guide))
        .route("/docs/errors", get(pages::errors))
        .route("/docs/swagger", get(swagger::show))
}

#[cfg(test)]
mod tests;
