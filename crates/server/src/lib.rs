//! The composition root: configuration, the command line, listeners, workers and
//! the development installation. The only crate that knows all the others.
//!
//! It refuses to hold rules of any domain: it hands parts to each other.

pub mod cli;
pub mod compose;
pub mod config;
pub mod connect;
pub mod dev;
pub mod serve;
pub mod witness;
