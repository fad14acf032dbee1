//! BGP FlowSpec (RFC 8955, RFC 8956) as values: no I/O, no clock, no unsafe code.
//!
//! # Tour
//! - What a rule is: [`Rule`] = [`Nlri`] (what it matches) + [`Action`]s (what it does; [`Effect`]
//!   is their combined effect).
//! - The wire: [`NlriIter`] iterates over the NLRIs of an UPDATE without copying, [`Communities`]
//!   over its extended communities; [`Nlri`] is the canonical form and the key of a rule;
//!   [`NlriBuilder`] builds one and [`Nlri::encode_to`] encodes it. Errors are typed, have a place,
//!   and say what a receiver must do ([`Disposition`]).
//! - Order: `Ord` of [`Nlri`] is RFC 8955 §5.1; less means enforced earlier.
//! - Text: `FromStr` and `Display` of [`Rule`] and [`Nlri`]; the grammar is in [`text`].
//! - Packets: [`Packet`] has the fields of a packet that rules compare; [`Nlri::matches`] says
//!   whether a rule matches, and why not; [`decide`] and [`explain`] what a list of rules does to a
//!   packet. They are the oracle.
//! - Sets: [`Space`] is the set of packets that a rule matches, canonical and field by field; back
//!   ends compile it.
//!
//! # Features
//! - `serde`: rules, match parts, families, route distinguishers and short names as their text.
//! - `arbitrary`: `Arbitrary` for rules, match parts and actions, for fuzzing.
//! - `testing`: random rules, and random packets that match or nearly match them, for differential
//!   tests of programs that enforce rules. Its interface may change with any release.
//!
//! # Example
//! The second example of RFC 8955 §4.3, with a rate of 0:
//!
//! ```
//! use flowspec::{Action, Communities, Component, Family, NlriIter, Policing, Rule};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let field = b"\x12\x01\x18\xc0\x00\x02\x02\x18\xcb\x00\x71\x04\x03\x89\x45\x8b\x91\x1f\x90";
//! let attribute_16 = [0x80, 0x06, 0, 0, 0, 0, 0, 0];
//!
//! let actions = Communities::extended(&attribute_16)?.map(Action::decode).collect::<Result<Vec<_>, _>>()?;
//! for entry in NlriIter::new(Family::Ipv4, false, field) {
//!     match entry.nlri {
//!         Ok(nlri) => {
//!             let rule = Rule::new(nlri.to_canonical(), actions.clone());
//!             assert_eq!(rule.effect().policing, Policing::Discard);
//!             let kinds: Vec<_> = rule.nlri.components().map(|c| c.component_type().name()).collect();
//!             assert_eq!(kinds, ["dst", "src", "port"]);
//!         }
//!         Err(error) => eprintln!("{error}: {:?}", error.kind.disposition()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Input that broke other implementations
//! | input | elsewhere | here |
//! |---|---|---|
//! | NLRI of length 0 | reads past the end, or a rule that matches everything | [`NlriErrorKind::Empty`], that NLRI is dropped |
//! | length field without its second octet, or beyond the field | reads past the end | [`NlriErrorKind::Truncated`] |
//! | a component that crosses the end of its NLRI | eats the next NLRI | no component sees beyond its NLRI |
//! | prefix length 255, offset not below length | buffer overflow, or a wider rule | [`NlriErrorKind::PrefixLength`], [`NlriErrorKind::PrefixOffset`] |
//! | six or two thousand operators | fixed arrays | borrowed and walked; nothing is allocated while decoding |
//! | 240 octets and more | wrong length field | both forms read, the canonical one sent |
//! | community 800b with 8 octets | read as 20 | attribute 16 and 25 are two types, [`Community`] |
//! | reserved bits set | a withdrawal that misses its rule | cleared before the key is made, [`NlriRef::to_canonical`] |
//! | a rate that is NaN, negative, infinite | undefined conversions | [`Rate`] is never NaN, [`Effect::of`] defines the others |
//!
//! # What it does not do
//! No sessions and no UPDATE parsing, no validation against unicast routes, no policy, no
//! installation: other crates do that.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::must_use_candidate)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
#[cfg(feature = "arbitrary")]
mod arbitrary_impls;
mod builder;
mod community;
mod component;
mod effect;
mod error;
mod family;
pub mod hex;
mod matches;
pub mod names;
mod nlri;
mod op;
mod order;
mod packet;
mod prefix;
pub mod protocol;
mod rule;
mod rule_id;
#[cfg(feature = "serde")]
mod serde_text;
pub mod space;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
mod walk;

pub use action::{Action, Rate};
pub use builder::NlriBuilder;
pub use community::{Communities, Community};
pub use component::{BitmaskOps, Component, ComponentType, NumericOps, ValueKind};
pub use effect::{Effect, Policing, Redirect};
pub use error::{CommunityError, Disposition, NlriError, NlriErrorKind};
pub use family::{Family, InvalidRouteDistinguisher, IpVersion, RouteDistinguisher, UnknownFamily};
pub use matches::{Absence, Decision, Exemption, Found, Mismatch, Scope, decide, explain};
pub use nlri::{Components, MAX_LEN, Nlri, NlriRef};
pub use op::{BitmaskOp, Comparison, NumericOp, Width};
pub use packet::{Packet, PacketError};
pub use prefix::{Ipv6Pattern, Prefix};
pub use protocol::EXTENSION_HEADERS;
pub use rule::Rule;
pub use rule_id::{InvalidRuleId, RuleId};
pub use space::Space;
pub use text::TextError;
pub use walk::{NlriEntry, NlriIter, PathId};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
