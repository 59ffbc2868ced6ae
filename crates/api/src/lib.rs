//! The JSON interface: one route table, wire types, problems, OpenAPI, and the
//! middleware that every request passes.
//!
//! It refuses to know SQL and rules: a handler turns a request into one operation
//! of a domain and its outcome into an answer. Beside the composition root it is
//! the only crate that knows axum.

mod areas;
mod client;
mod config;
mod cursor;
mod extract;
mod floods;
#[cfg(test)]
mod golden;
mod health;
mod json;
mod middleware;
mod nul;
mod openapi;
mod openapi_parts;
mod problem;
mod route;
mod routes;
mod state;
mod wire;

pub use client::{ClientCertificate, Network, NetworkError};
pub use config::{ApiConfig, MAXIMUM_BATCH_BYTES, MAXIMUM_BODY_BYTES};
pub use health::{HealthState, health_router, probe_router};
pub use openapi::openapi;
pub use problem::Problem;
pub use route::{Access, Class, SignatureDemand};
pub use routes::{RouteFacts, route_facts, router, router_with_pages};
pub use state::{ApiParts, ApiState, Shared};
