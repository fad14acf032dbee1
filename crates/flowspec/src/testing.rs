//! Random rules, and random packets that hit or just miss them: for differential tests of whatever
//! claims to enforce rules.
//!
//! Everything follows from a [`Seed`], so a failure can be had again by its seed alone. Feature
//! `testing`.

mod draft;
mod packet;
mod rule;
mod seed;

pub use draft::{Draft, Extension};
pub use packet::{PacketShape, random_draft_for, random_packet_for};
pub use rule::{Shape, random_nlri, random_rule, random_rules};
pub use seed::Seed;
