//! The pages, an area each: handlers and the structs of their templates.

pub(crate) mod account;
pub(crate) mod account_settings;
pub(crate) mod accounts;
pub(crate) mod approvals;
pub(crate) mod as_api;
pub(crate) mod audit;
pub(crate) mod customer_forms;
pub(crate) mod customers;
pub(crate) mod error;
pub(crate) mod export;
pub(crate) mod hold_new;
pub(crate) mod holds;
pub(crate) mod moving;
pub(crate) mod overview;
pub(crate) mod palette;
pub(crate) mod password;
pub(crate) mod preferences;
pub(crate) mod recovery;
pub(crate) mod second_step;
pub(crate) mod security;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod teller;
pub(crate) mod transfers;
pub(crate) mod under_way;
