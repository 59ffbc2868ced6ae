//! Owns the shapes on the wire, one module an area, each converted from a domain
//! type. Clients rely on every name here: they change only by addition.
//!
//! It refuses to compute: what is not in the domain type is not on the wire.
#![allow(clippy::struct_field_names, reason = "the names are the specification's")]
#![allow(
    clippy::option_option,
    reason = "a field is absent, null or given: three different wishes"
)]

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod activity;
pub(crate) mod api_keys;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod batch;
pub(crate) mod client_keys;
pub(crate) mod customers;
pub(crate) mod data_keys;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod holds;
pub(crate) mod keys;
pub(crate) mod mfa;
pub(crate) mod passkeys;
pub(crate) mod postings;
pub(crate) mod problem;
pub(crate) mod published;
pub(crate) mod recovery;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod transfers;
pub(crate) mod users;
pub(crate) mod webhooks;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi_parts::Example;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T: ToSchema> {
    /// The objects, newest first unless the list says otherwise.
    pub(crate) data: Vec<T>,
    /// Pass it as `cursor` for the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

impl<T: Example> Example for List<T> {
    fn example() -> Self {
        Self { data: vec![T::example()], next_cursor: None }
    }

    // One component for every kind of list: they would overwrite each other under one name.
    fn component_name() -> String {
        format!("{}List", T::component_name())
    }

    fn arguments(schemas: &mut Vec<crate::openapi_parts::NamedSchema>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

/// An instant on the wire: RFC 3339, UTC, microseconds.
pub(crate) fn instant(at: jiff::Timestamp) -> String {
    format!("{at:.6}")
}

/// Tells a field that is null (`Some(None)`) from one that is absent (`None`, by
/// `#[serde(default)]`).
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Values that examples share.
pub(crate) const EXAMPLE_ID: Uuid = Uuid::from_u128(0x0192_e4c8_7f3a_7c1e_9b1f_3f1d_2c4b_5a69);
pub(crate) const OTHER_ID: Uuid = Uuid::from_u128(0x0192_e4c8_80aa_7d02_8c3e_5b6a_7d8e_9f01);
pub(crate) const EXAMPLE_INSTANT: &str = "2026-11-21T09:30:00.000000Z";
pub(crate) const EXAMPLE_DATE: &str = "2026-11-21";
