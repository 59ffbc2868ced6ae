//! Whose data this is and under whose name it is touched: tenants, actors, the
//! clock, the context of an operation, and the only two doors to PostgreSQL (a
//! pipelined read and a [`TenantTx`]).
//!
//! It refuses to know what any table means: no domain rule, no permission, no
//! HTTP. A query outside a tenant's transaction does not compile from other
//! crates, and would return no rows if it did: row security is forced.

pub mod blueprint;
pub mod cells;
pub mod clock;
pub mod context;
pub mod database;
pub mod directory;
pub mod error;
mod gather;
pub mod id;
pub mod keyring;
pub mod migrate;
pub mod network;
pub mod policy;
mod reader;
pub mod sql;
pub mod timing;
pub mod tls;
pub mod transaction;

pub use blueprint::Blueprint;
pub use clock::Clock;
pub use context::{Actor, ActorKind, OpContext, Place, RequestInfo, TenantRef};
pub use database::{Database, DatabaseConfig};
pub use error::DbError;
pub use gather::Gathered;
pub use id::{SessionId, TenantId, UserId};
pub use transaction::{Query, TenantTx};
