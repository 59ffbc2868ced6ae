//! The one HTTP client that leaves the house: a destination is parsed, its name is resolved
//! by us, a guard judges every address, and the connection goes to an address that was
//! judged. It follows no redirect, reads no more of an answer than its bound, and waits for
//! nothing without an end.
//!
//! Refuses to know what is sent, when it is tried again, and who asked for it.

mod client;
mod destination;
mod guard;
mod tls;

pub use client::{Answer, Client, Connection, Found, Unreached};
pub use destination::{Destination, DestinationFault};
pub use guard::{Guard, is_public};
pub use tls::{RootsError, certificates};
