//! Errors of FlowSpec on the wire: what, where, and what a receiver must do (RFC 7606, RFC 8955
//! §10).

use crate::component::ComponentType;

/// What the receiver does about an error; from mildest to most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Leave out this path attribute and continue as if it had been absent (RFC 7606 §2).
    DiscardAttribute,
    /// Leave out this NLRI (and withdraw its rule, if that is known); continue with the next.
    DropNlri,
    /// Treat every NLRI of the UPDATE as withdrawn (RFC 7606 §2).
    TreatAsWithdraw,
    /// The framing of the NLRIs is lost: ignore this AFI/SAFI for the rest of the session (RFC 7606
    /// §2, RFC 4760 §7).
    DisableFamily,
    /// Close the session with this NOTIFICATION.
    Notification {
        /// Error code (RFC 4271 §4.5).
        code: u8,
        /// Error subcode.
        subcode: u8,
    },
}

/// An error in an NLRI, with the place where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (octet {offset})")]
#[non_exhaustive]
pub struct NlriError {
    /// What is wrong.
    pub kind: NlriErrorKind,
    /// Octets before the place, counted from the start of the NLRI field that was given to the
    /// decoder.
    pub offset: usize,
}

/// What is wrong with an NLRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NlriErrorKind {
    /// The length goes beyond the field, or its second octet is missing.
    #[error("the NLRI is cut off: {needed} more octets were announced")]
    Truncated {
        /// Octets missing.
        needed: usize,
    },
    /// The add-path identifier (RFC 7911) is cut off.
    #[error("the 4-octet path identifier is cut off")]
    TruncatedPathId,
    /// Length zero: a rule without any component would match everything.
    #[error("the NLRI is empty; a rule needs at least one component")]
    Empty,
    /// A VPN NLRI shorter than its route distinguisher.
    #[error("the VPN NLRI is too short for its 8-octet route distinguisher")]
    TruncatedRouteDistinguisher,
    /// A component type that this family does not define.
    #[error("unknown component type {0}")]
    UnknownComponent(u8),
    /// A type that is not higher than the one before it.
    #[error("component type {found} after type {previous}; types must strictly increase")]
    ComponentOrder {
        /// The type before.
        previous: u8,
        /// The type found.
        found: u8,
    },
    /// A component crosses the end of the NLRI.
    #[error("the {0} component is cut off by the end of the NLRI")]
    TruncatedComponent(ComponentType),
    /// A list without an end-of-list bit.
    #[error("the {0} component has no end-of-list operator")]
    NoEndOfList(ComponentType),
    /// A prefix longer than an address.
    #[error("prefix length {length} is more than {max}")]
    PrefixLength {
        /// The length found.
        length: u8,
        /// 32 or 128.
        max: u8,
    },
    /// An IPv6 prefix offset that is not below the length (RFC 8956 §3.1).
    #[error("prefix offset {offset} is not below prefix length {length}")]
    PrefixOffset {
        /// The offset found.
        offset: u8,
        /// The length found.
        length: u8,
    },
    /// A value wider than the RFC allows for this type.
    #[error("a {octets}-octet value in the {component} component; the most allowed is {max}")]
    ValueWidth {
        /// The component.
        component: ComponentType,
        /// Octets found.
        octets: u8,
        /// Octets allowed.
        max: u8,
    },
    /// More octets than an NLRI can hold; only when encoding.
    #[error("the rule takes {0} octets; an NLRI holds at most 4095")]
    TooLong(usize),
    /// Values that the component's octets cannot express: of another kind, of the other IP version,
    /// larger than their width, or none at all; only when building.
    #[error("the {0} component cannot be written with the values given")]
    Unencodable(ComponentType),
}

impl NlriErrorKind {
    /// A short stable name for JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NlriErrorKind::Truncated { .. } => "truncated",
            NlriErrorKind::TruncatedPathId => "truncated-path-id",
            NlriErrorKind::Empty => "empty",
            NlriErrorKind::TruncatedRouteDistinguisher => "truncated-rd",
            NlriErrorKind::UnknownComponent(_) => "unknown-component",
            NlriErrorKind::ComponentOrder { .. } => "component-order",
            NlriErrorKind::TruncatedComponent(_) => "truncated-component",
            NlriErrorKind::NoEndOfList(_) => "no-end-of-list",
            NlriErrorKind::PrefixLength { .. } => "prefix-length",
            NlriErrorKind::PrefixOffset { .. } => "prefix-offset",
            NlriErrorKind::ValueWidth { .. } => "value-width",
            NlriErrorKind::TooLong(_) => "too-long",
            NlriErrorKind::Unencodable(_) => "unencodable",
        }
    }

    /// What the receiver of an UPDATE does about it: where the NLRI's end is known, only that NLRI
    /// is lost.
    #[must_use]
    pub const fn disposition(self) -> Disposition {
        match self {
            NlriErrorKind::Truncated { .. } | NlriErrorKind::TruncatedPathId => Disposition::DisableFamily,
            NlriErrorKind::Empty
            | NlriErrorKind::TruncatedRouteDistinguisher
            | NlriErrorKind::UnknownComponent(_)
            | NlriErrorKind::ComponentOrder { .. }
            | NlriErrorKind::TruncatedComponent(_)
            | NlriErrorKind::NoEndOfList(_)
            | NlriErrorKind::PrefixLength { .. }
            | NlriErrorKind::PrefixOffset { .. }
            | NlriErrorKind::ValueWidth { .. }
            | NlriErrorKind::TooLong(_)
            | NlriErrorKind::Unencodable(_) => Disposition::DropNlri,
        }
    }
}

/// An error in an extended community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CommunityError {
    /// The rate is not a number, so the action is unknown (RFC 8955 §10).
    #[error("the traffic rate is not a number (NaN)")]
    RateNotANumber,
    /// Attribute 16 not a non-zero multiple of 8 octets, or attribute 25 of 20 (RFC 7606 §7.14).
    #[error("{found} octets of extended communities; expected a non-zero multiple of {unit}")]
    Length {
        /// Octets found.
        found: usize,
        /// 8 or 20.
        unit: usize,
    },
}

impl CommunityError {
    /// A short stable name for JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CommunityError::RateNotANumber => "rate-not-a-number",
            CommunityError::Length { .. } => "community-length",
        }
    }

    /// What the receiver of an UPDATE does about it.
    #[must_use]
    pub const fn disposition(self) -> Disposition {
        match self {
            CommunityError::RateNotANumber | CommunityError::Length { .. } => Disposition::TreatAsWithdraw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7606 §5.3: while the ends of the NLRIs are known, one malformed NLRI does not affect the
    /// others.
    #[test]
    fn only_lost_framing_costs_the_family() {
        use NlriErrorKind::*;
        let lost = [Truncated { needed: 1 }, TruncatedPathId];
        let kind = ComponentType::Port;
        let framed = [
            Empty,
            TruncatedRouteDistinguisher,
            UnknownComponent(14),
            ComponentOrder { previous: 4, found: 4 },
            TruncatedComponent(kind),
            NoEndOfList(kind),
            PrefixLength { length: 33, max: 32 },
            PrefixOffset { offset: 64, length: 64 },
            ValueWidth { component: kind, octets: 4, max: 2 },
            TooLong(4096),
            Unencodable(kind),
        ];
        assert!(lost.iter().all(|kind| kind.disposition() == Disposition::DisableFamily));
        assert!(framed.iter().all(|kind| kind.disposition() == Disposition::DropNlri));
        let mut names: Vec<_> = lost.iter().chain(&framed).map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), lost.len() + framed.len(), "each has its own name");
    }

    #[test]
    fn an_error_says_what_and_where() {
        let error = NlriError { kind: NlriErrorKind::ComponentOrder { previous: 5, found: 3 }, offset: 7 };
        assert_eq!(error.to_string(), "component type 3 after type 5; types must strictly increase (octet 7)");
    }
}
