//! UPDATE messages: routes, and the handling of errors (RFC 4271 §4.3, RFC 4760, RFC 7606).

mod announcement;
mod attribute_type;
mod attributes;
mod cache;
mod decode;
mod encode;
mod error;
mod field;
mod view;

pub use announcement::{Announced, Update};
pub use error::{UpdateError, UpdateErrorKind};
pub use view::{DecodeOptions, DecodedNlri, DecodedUpdate, NotAnUpdate, decode_update};

pub(crate) use attributes::Context;
pub(crate) use cache::AttributeCache;
pub(crate) use decode::{Decoded, decode};
pub(crate) use encode::{Encoding, encode_announcements, encode_end_of_rib, encode_withdrawals};

#[cfg(test)]
mod tests;
