//! The pages, an area each: handlers and the structs of their templates.

pub(crate) mod error;
pub(crate) mod overview;
pub(crate) mod palette;
pub(crate) mod preferences;
pub(crate) mod sign_in;
