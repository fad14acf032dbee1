//! Errors in an UPDATE: kind, offset and disposition (RFC 7606).

use crate::afi_safi::AfiSafi;
use crate::attribute::AsPathError;
use crate::message::{FamilyNumbers, NotificationCode, UpdateSubcode};
use crate::update::attribute_type::code;
use flowspec::{CommunityError, Disposition, NlriError};

/// An error in an UPDATE, with the place where it was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (octet {offset})")]
#[non_exhaustive]
pub struct UpdateError {
    /// What is wrong.
    pub kind: UpdateErrorKind,
    /// Octets before the place, counted from the start of the message (its marker).
    pub offset: usize,
}

/// What is wrong with an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateErrorKind {
    /// Withdrawn routes length or total attribute length go beyond the message.
    #[error("the lengths of the UPDATE's fields do not add up")]
    FieldLengths,
    /// An attribute is longer than the rest of the attributes, or its header is truncated (RFC 7606
    /// §4).
    #[error("the attributes are cut off at their end")]
    AttributesOverrun,
    /// Optional or transitive bit contradict the attribute's definition (RFC 7606 §3 c).
    #[error("attribute {attribute} has flags {flags:#04x}")]
    Flags {
        /// Type code.
        attribute: u8,
        /// Flags octet.
        flags: u8,
    },
    /// The attribute's length is not valid.
    #[error("attribute {attribute} has {length} octets")]
    Length {
        /// Type code.
        attribute: u8,
        /// Octets of its value.
        length: usize,
    },
    /// An ORIGIN that is not defined.
    #[error("ORIGIN {0} is not defined")]
    Origin(u8),
    /// A malformed AS_PATH.
    #[error("{0}")]
    AsPath(AsPathError),
    /// A malformed AS4_PATH: left out (RFC 6793 §6).
    #[error("AS4_PATH: {0}")]
    As4Path(AsPathError),
    /// AGGREGATOR with AS number 0 (RFC 7607).
    #[error("AGGREGATOR with AS number 0")]
    ZeroAggregator,
    /// Extended communities whose length or rate is wrong.
    #[error("{0}")]
    Community(CommunityError),
    /// A well-known mandatory attribute is missing.
    #[error("attribute {0} is missing")]
    Missing(u8),
    /// An attribute other than MP_REACH_NLRI and MP_UNREACH_NLRI occurs twice: the first is used
    /// (RFC 7606 §3 g).
    #[error("attribute {0} came again")]
    Repeated(u8),
    /// MP_REACH_NLRI or MP_UNREACH_NLRI occurs twice (RFC 7606 §3 g).
    #[error("attribute {0} came again")]
    RepeatedMultiprotocol(u8),
    /// A well-known attribute of unknown type (RFC 4271 §6.3).
    #[error("unrecognized well-known attribute {0}")]
    Unrecognized(u8),
    /// MP_REACH_NLRI or MP_UNREACH_NLRI too short for its fixed part.
    #[error("attribute {attribute} has {length} octets, too few for its fixed part")]
    MultiprotocolLength {
        /// Type code.
        attribute: u8,
        /// Octets of its value.
        length: usize,
    },
    /// A next hop whose length the family does not have, or that is longer than the attribute.
    #[error("a next hop of {length} octets for {family}")]
    NextHop {
        /// The family.
        family: AfiSafi,
        /// Octets announced.
        length: usize,
    },
    /// Routes of a family that was not negotiated: ignored.
    #[error("AFI {} SAFI {} was not negotiated", .0.afi, .0.safi)]
    NotNegotiated(FamilyNumbers),
    /// A malformed FlowSpec NLRI. The offset inside counts from the start of the NLRI field.
    #[error("{family}: {error}")]
    Nlri {
        /// The family.
        family: AfiSafi,
        /// What is wrong with it.
        error: NlriError,
    },
    /// A malformed prefix: too long, or cut off by the end of the field.
    #[error("{family}: malformed prefix")]
    Prefix {
        /// The family.
        family: AfiSafi,
    },
}

impl UpdateErrorKind {
    /// A short stable name for JSON and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            UpdateErrorKind::FieldLengths => "field-lengths",
            UpdateErrorKind::AttributesOverrun => "attributes-overrun",
            UpdateErrorKind::Flags { .. } => "attribute-flags",
            UpdateErrorKind::Length { .. } => "attribute-length",
            UpdateErrorKind::Origin(_) => "origin",
            UpdateErrorKind::AsPath(_) => "as-path",
            UpdateErrorKind::As4Path(_) => "as4-path",
            UpdateErrorKind::ZeroAggregator => "aggregator",
            UpdateErrorKind::Community(error) => error.name(),
            UpdateErrorKind::Missing(_) => "missing-attribute",
            UpdateErrorKind::Repeated(_) => "repeated-attribute",
            UpdateErrorKind::RepeatedMultiprotocol(_) => "repeated-multiprotocol",
            UpdateErrorKind::Unrecognized(_) => "unrecognized-attribute",
            UpdateErrorKind::MultiprotocolLength { .. } => "multiprotocol-length",
            UpdateErrorKind::NextHop { .. } => "next-hop",
            UpdateErrorKind::NotNegotiated(_) => "family-not-negotiated",
            UpdateErrorKind::Nlri { error, .. } => error.kind.name(),
            UpdateErrorKind::Prefix { .. } => "prefix",
        }
    }

    /// The subcode of a NOTIFICATION that closes the session for this error (RFC 4271 §6.3);
    /// usually another reaction suffices, see [`disposition`](Self::disposition).
    #[must_use]
    pub const fn subcode(&self) -> UpdateSubcode {
        match self {
            UpdateErrorKind::Flags { .. } => UpdateSubcode::AttributeFlags,
            UpdateErrorKind::Length { attribute: code::NEXT_HOP, .. } => UpdateSubcode::InvalidNextHop,
            UpdateErrorKind::Length { .. } => UpdateSubcode::AttributeLength,
            UpdateErrorKind::Origin(_) => UpdateSubcode::InvalidOrigin,
            UpdateErrorKind::AsPath(_) => UpdateSubcode::MalformedAsPath,
            UpdateErrorKind::Missing(_) => UpdateSubcode::MissingAttribute,
            UpdateErrorKind::Unrecognized(_) => UpdateSubcode::UnrecognizedAttribute,
            UpdateErrorKind::Community(_) | UpdateErrorKind::MultiprotocolLength { .. } => {
                UpdateSubcode::OptionalAttribute
            }
            UpdateErrorKind::Prefix { .. } => UpdateSubcode::InvalidNetworkField,
            UpdateErrorKind::FieldLengths
            | UpdateErrorKind::AttributesOverrun
            | UpdateErrorKind::As4Path(_)
            | UpdateErrorKind::ZeroAggregator
            | UpdateErrorKind::Repeated(_)
            | UpdateErrorKind::RepeatedMultiprotocol(_)
            | UpdateErrorKind::NextHop { .. }
            | UpdateErrorKind::NotNegotiated(_)
            | UpdateErrorKind::Nlri { .. } => UpdateSubcode::MalformedAttributeList,
        }
    }

    /// What the receiver does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            UpdateErrorKind::FieldLengths
            | UpdateErrorKind::RepeatedMultiprotocol(_)
            | UpdateErrorKind::Unrecognized(_)
            | UpdateErrorKind::MultiprotocolLength { .. }
            | UpdateErrorKind::Prefix { family: AfiSafi::Ipv4Unicast | AfiSafi::Flow(_) } => {
                let (code, subcode) = NotificationCode::UpdateMessage(self.subcode()).numbers();
                Disposition::Notification { code, subcode }
            }
            UpdateErrorKind::NextHop { .. } | UpdateErrorKind::Prefix { family: AfiSafi::Ipv6Unicast } => {
                Disposition::DisableFamily
            }
            UpdateErrorKind::Nlri { error, .. } => error.kind.disposition(),
            UpdateErrorKind::Community(error) => error.disposition(),
            // RFC 7606 §7.6 and §7.7, RFC 6793 §6: these do not affect route selection.
            UpdateErrorKind::Length { attribute: 6 | 7 | 17 | 18, .. }
            | UpdateErrorKind::Flags { attribute: 17 | 18, .. }
            | UpdateErrorKind::As4Path(_)
            | UpdateErrorKind::ZeroAggregator
            | UpdateErrorKind::Repeated(_)
            | UpdateErrorKind::NotNegotiated(_) => Disposition::DiscardAttribute,
            UpdateErrorKind::AttributesOverrun
            | UpdateErrorKind::Flags { .. }
            | UpdateErrorKind::Length { .. }
            | UpdateErrorKind::Origin(_)
            | UpdateErrorKind::AsPath(_)
            | UpdateErrorKind::Missing(_) => Disposition::TreatAsWithdraw,
        }
    }
}

impl UpdateError {
    /// What the receiver does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.kind.disposition()
    }
}
