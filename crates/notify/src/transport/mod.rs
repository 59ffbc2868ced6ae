//! How messages leave the house. A transport sends one message and says what became of
//! it; when to try again, and when to give up, is the worker's.
//!
//! What a server answers may quote the recipient, so no word of it goes further than this
//! module: outcomes carry words of ours with, at most, the server's numbers.

mod folder;
mod gateway;
mod smtp;

use std::{future::Future, pin::Pin, time::Duration};

pub use folder::Folder;
pub use gateway::{Gateway, GatewayConfig, GatewayConfigError};
pub use outward::RootsError;
pub use smtp::{Smtp, SmtpConfig, SmtpConfigError, SmtpSecurity};

use crate::message::Message;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has taken it over.
    Sent,
    /// Not now: to be tried again.
    Later {
        /// Why, as `notices.last_error` takes it.
        error: String,
        /// Not before, where the server said so.
        after: Option<Duration>,
        /// The server was not there, or not ours to use: the next message would fare alike.
        is_outage: bool,
    },
    /// Never: the server will not take it, however often it is asked.
    Never {
        /// Why, as `notices.last_error` takes it.
        error: String,
    },
}

impl Delivery {
    fn outage(error: impl Into<String>) -> Self {
        Self::Later { error: error.into(), after: None, is_outage: true }
    }

    fn later(error: impl Into<String>) -> Self {
        Self::Later { error: error.into(), after: None, is_outage: false }
    }

    fn never(error: impl Into<String>) -> Self {
        Self::Never { error: error.into() }
    }
}

/// A pending answer of a transport.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends messages of one channel.
pub trait Transport: Send + Sync {
    /// Sends one. Bounded in time; one that is dropped half-way sends nothing over the
    /// connection that it leaves behind.
    fn send<'a>(&'a self, message: &'a Message) -> Pending<'a, Delivery>;

    /// Nothing more for now: connections may close.
    fn rest(&self) -> Pending<'_, ()>;
}
