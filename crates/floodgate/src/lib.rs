//! The program around the pure crates.
//!
//! # Tour
//! - [`cli`]: the command line; offline commands answer from their arguments, live ones ask the running daemon.

pub mod cli;
pub mod config;
pub mod net;
