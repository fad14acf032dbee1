//! BGP FlowSpec (RFC 8955, RFC 8956) as values: no I/O, no clock, no unsafe code.
//!
//! # Tour
//! - What a rule is: [`Rule`] = [`Nlri`] (what it matches) + [`Action`]s (what it does; [`Effect`] is all of them together).
//! - The wire: [`NlriIter`] walks the NLRIs of an UPDATE without copying; [`Nlri`] is the canonical form and the key of a rule;
//!   [`NlriBuilder`] makes one. Errors are typed, tell where, and say what a receiver must do ([`Disposition`]).
//! - Order: `Ord` of [`Nlri`] is RFC 8955 §5.1; less means enforced earlier.
//! - Packets: [`Packet`] is what a rule can ask of raw octets; [`Nlri::matches`] says whether it does, and why not; [`decide`] and
//!   [`explain`] what a list of rules does to it. They are the oracle.
//! - Sets: [`Space`] is the set of packets that a rule matches, canonical and field by field; back ends compile it.

#![forbid(unsafe_code)]

mod action;
mod builder;
mod community;
mod component;
mod effect;
mod error;
mod family;
mod matches;
mod nlri;
mod op;
mod order;
mod packet;
mod prefix;
mod rule;
mod rule_id;
pub mod space;
mod walk;

pub use action::{Action, Rate};
pub use builder::NlriBuilder;
pub use community::{Communities, Community};
pub use component::{BitmaskOps, Component, ComponentType, NumericOps, ValueKind};
pub use effect::{Effect, Policing, Redirect};
pub use error::{CommunityError, Disposition, NlriError, NlriErrorKind};
pub use family::{Family, InvalidRouteDistinguisher, IpVersion, RouteDistinguisher, UnknownFamily};
pub use matches::{Absence, Decision, Found, Mismatch, Scope, decide, explain};
pub use nlri::{Components, MAX_LEN, Nlri, NlriRef};
pub use op::{BitmaskOp, Comparison, NumericOp, Width};
pub use packet::{EXTENSION_HEADERS, Packet, PacketError};
pub use prefix::{Ipv6Pattern, Prefix};
pub use rule::Rule;
pub use rule_id::{InvalidRuleId, RuleId};
pub use space::Space;
pub use walk::{NlriEntry, NlriIter, PathId};
