//! Identifiers that must not be mixed up. Each is a `UUIDv7` on the wire and in
//! the database; the types keep a user's id out of a tenant's place.

use uuid::Uuid;

macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

identifier!(
    /// A tenant: one bank, lender or company, isolated from every other.
    TenantId
);
identifier!(
    /// A person (or machine account) of one tenant.
    UserId
);
identifier!(
    /// A signed-in session; `sid` in access tokens and the family of its refresh tokens.
    SessionId
);
