//! The program around the pure crates.
//!
//! # Tour
//! - [`cli`]: the command line; offline commands answer from their arguments, live ones ask the running daemon.
//! - [`daemon`]: `floodgate run`: who does what on which thread.
//! - [`net`] and [`peers`]: TCP for BGP, one task a peer. [`apply`]: the thread that owns the data plane.
//! - `exabgp_input`: `floodgate exabgp`: ExaBGP's lines in the place of sessions.
//! - [`http`], [`metrics`], [`events`], [`logging`], `samples`: what is shown. [`state_file`]: what is remembered. [`interfaces`]: what this
//!   machine has.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic when the reader went away.

pub mod apply;
pub mod cli;
pub mod daemon;
mod descriptors;
pub mod events;
mod exabgp_input;
pub mod http;
pub mod interfaces;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod peers;
mod samples;
pub mod state_file;
