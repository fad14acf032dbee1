//! Floodgate's decisions: pure functions over values, without socket, clock or process.
//!
//! # Tour
//! - What a data plane can do: [`capability`].
//! - What crosses the border to it: [`plan`].

#![forbid(unsafe_code)]

pub mod capability;
pub mod plan;
