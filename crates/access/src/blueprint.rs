//! The blueprints are `tenancy`'s; policies refer to the roles that each one knows.

pub use tenancy::Blueprint;
