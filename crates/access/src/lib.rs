//! Access control: who may do what to which object.
//!
//! Owns the closed list of permissions, the Cedar policies of `policies/` (one set for each
//! blueprint) and the decision. Refuses to know SQL, HTTP and time: a caller gathers the
//! facts about actor and object (in SQL, with the row) and asks here.
//!
//! - [`Policies::scope`] answers "on which objects at all?" before an object is looked up:
//!   [`Scope::NONE`] is 403 whatever the id, and a list turns the scope into its `WHERE`.
//! - [`Policies::decide`] answers for one object. Anything but a clean allow is a deny; an
//!   evaluation error denies too and is flagged, because Cedar by itself skips a `forbid`
//!   that fails to evaluate.
//!
//! The scope is read off the policies by deciding on probe objects, so the two cannot
//! drift apart; a property test holds them together.

mod blueprint;
mod conditions;
mod custom;
mod decision;
mod diff;
mod engine;
mod explain;
mod grant;
mod load;
mod matrix;
mod permission;
mod scope;
#[cfg(test)]
mod tests;

pub use blueprint::Blueprint;
pub use conditions::{AmountMax, BusinessHours, Conditions, Day, Fault, Situation};
pub use custom::CustomRoles;
pub use decision::{Decision, Effect, Principal, Resource};
pub use diff::{Difference, NamesSomething, differences};
pub use engine::Policies;
pub use explain::{Explanation, Missing};
pub use grant::{CustomRole, RoleDefinition, RolePermission};
pub use load::PolicyError;
pub use matrix::MatrixRow;
pub use permission::{Permission, ResourceKind, UnknownPermission};
pub use scope::Scope;
