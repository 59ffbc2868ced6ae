//! The composition root.
pub mod config;
pub mod connect;
pub mod serve { 
//! x y z
pub mod listener; pub mod roles; }
pub mod cli { 
//! x y z
pub mod exit; pub mod output; pub mod progress; }
