//! An UPDATE decoded for display: every NLRI, valid or not, every attribute, every error with its
//! offset. Independent of any session.

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::PathAttributes;
use crate::message::{Framer, MAX_EXTENDED_MESSAGE, MessageType, Notification};
use crate::route::Destination;
use crate::update::attributes::{Context, split_update};
use crate::update::error::{UpdateError, UpdateErrorKind};
use crate::update::field::NlriField;
use flowspec::{Disposition, PathId};
use std::net::IpAddr;

/// What an UPDATE does not contain and a session has negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct DecodeOptions {
    /// Whether AS numbers have four octets; `None`: four, or two where the AS_PATH is malformed
    /// with four.
    pub four_octet_as: Option<bool>,
    /// Families whose NLRIs have path identifiers (RFC 7911).
    pub add_path: FamilySet,
}

/// The whole content of an UPDATE.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecodedUpdate {
    /// Every NLRI in the order of the message: IPv4 withdrawals, MP_UNREACH_NLRI, MP_REACH_NLRI,
    /// IPv4 announcements.
    pub nlris: Vec<DecodedNlri>,
    /// The attributes; a malformed one is missing.
    pub attributes: PathAttributes,
    /// The End-of-RIB marker of this family, and nothing else.
    pub end_of_rib: Option<AfiSafi>,
    /// Everything wrong with the message, malformed NLRIs included, by place.
    pub errors: Vec<UpdateError>,
    /// Whether the AS_PATH was read with 4-octet numbers.
    pub four_octet_as: bool,
}

impl DecodedUpdate {
    /// The most severe disposition of the errors; `None` if there is none.
    #[must_use]
    pub fn disposition(&self) -> Option<Disposition> {
        self.errors.iter().map(UpdateError::disposition).max()
    }
}

/// One NLRI of the message.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecodedNlri {
    /// Announced; otherwise withdrawn.
    pub announced: bool,
    /// Family.
    pub family: AfiSafi,
    /// Next hop of the announcement.
    pub next_hop: Option<IpAddr>,
    /// Path identifier.
    pub path_id: Option<PathId>,
    /// Path identifier, length and value as received.
    pub octets: Vec<u8>,
    /// Where `octets` starts, counted from the start of the message.
    pub offset: usize,
    /// The rule or prefix, or why it is malformed.
    pub destination: Result<Destination, UpdateError>,
}

/// Octets that are not exactly one UPDATE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnUpdate {
    /// The header is wrong.
    #[error("{0}")]
    Header(Notification),
    /// Another message.
    #[error("a message of type {}, not an UPDATE", .0.number())]
    Type(MessageType),
    /// The message is longer than the octets given.
    #[error("the message is cut off after {0} octets")]
    Truncated(usize),
    /// There are octets after the message.
    #[error("{0} octets after the message")]
    Trailing(usize),
}

/// Decodes one UPDATE, from its marker on.
///
/// # Errors
/// Only what makes it no UPDATE at all; errors inside are part of the result.
pub fn decode_update(message: &[u8], options: &DecodeOptions) -> Result<DecodedUpdate, NotAnUpdate> {
    let mut framer = Framer::new();
    framer.set_max(MAX_EXTENDED_MESSAGE);
    framer.push(message);
    let frame = framer.next_frame().map_err(NotAnUpdate::Header)?.ok_or(NotAnUpdate::Truncated(message.len()))?;
    if frame.message_type != MessageType::Update {
        return Err(NotAnUpdate::Type(frame.message_type));
    }
    if frame.octets.len() < message.len() {
        return Err(NotAnUpdate::Trailing(message.len() - frame.octets.len()));
    }
    Ok(match options.four_octet_as {
        Some(four) => decode_body(frame.body(), four, options.add_path),
        None => {
            let four = decode_body(frame.body(), true, options.add_path);
            let two = decode_body(frame.body(), false, options.add_path);
            if has_as_path_error(&four) && !has_as_path_error(&two) { two } else { four }
        }
    })
}

fn has_as_path_error(update: &DecodedUpdate) -> bool {
    update.errors.iter().any(|error| matches!(error.kind, UpdateErrorKind::AsPath(_)))
}

fn decode_body(body: &[u8], four_octet_as: bool, add_path: FamilySet) -> DecodedUpdate {
    let context = Context {
        four_octet_as,
        families: FamilySet::ALL,
        add_path,
        external: false,
        internal: false,
        refuse_confed: false,
    };
    let parts = split_update(body, &context);
    let mut errors = parts.errors;
    let mut nlris = Vec::new();
    let mut add = |field: &NlriField<'_>, announced: bool| {
        field.walk(add_path.contains(field.family), |entry| {
            errors.extend(entry.destination.as_ref().err().cloned());
            nlris.push(DecodedNlri {
                announced,
                family: field.family,
                next_hop: field.next_hop,
                path_id: entry.path_id,
                octets: entry.raw.to_vec(),
                offset: entry.offset,
                destination: entry.destination,
            });
        });
    };
    add(&parts.withdrawn, false);
    parts.unreach.iter().for_each(|field| add(field, false));
    parts.reach.iter().for_each(|field| add(field, true));
    add(&parts.announced, true);
    errors.sort_by_key(|error| error.offset);
    DecodedUpdate { nlris, attributes: parts.attributes, end_of_rib: parts.end_of_rib, errors, four_octet_as }
}
