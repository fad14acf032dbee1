//! Which fields of a packet a space constrains.

use crate::component::ComponentType;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of packet fields, named by the component types that ask for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields(u16);

impl Fields {
    /// No field.
    pub const NONE: Fields = Fields(0);
    /// The TCP or UDP ports: `port`, `dport` and `sport`.
    pub const PORTS: Fields =
        Fields::of(ComponentType::Port).and(ComponentType::DestinationPort).and(ComponentType::SourcePort);
    /// ICMP type and code.
    pub const ICMP: Fields = Fields::of(ComponentType::IcmpType).and(ComponentType::IcmpCode);
    /// Everything behind the IP header: ports, ICMP type and code, TCP flags.
    pub const L4: Fields = Fields(Fields::PORTS.0 | Fields::ICMP.0).and(ComponentType::TcpFlags);

    /// This one field.
    #[must_use]
    pub const fn of(field: ComponentType) -> Self {
        Fields(1 << field as u16)
    }

    /// With one more field.
    #[must_use]
    pub const fn and(self, field: ComponentType) -> Self {
        Fields(self.0 | Fields::of(field).0)
    }

    /// Whether the field is there.
    #[must_use]
    pub const fn has(self, field: ComponentType) -> bool {
        self.0 & Fields::of(field).0 != 0
    }

    /// Whether some field of `other` is there.
    #[must_use]
    pub const fn has_any(self, other: Fields) -> bool {
        self.0 & other.0 != 0
    }

    /// Fields of `self` that `other` has not.
    #[must_use]
    pub const fn without(self, other: Fields) -> Self {
        Fields(self.0 & !other.0)
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields, in the order of component types.
    pub fn iter(self) -> impl Iterator<Item = ComponentType> {
        ComponentType::ALL.into_iter().filter(move |&field| self.has(field))
    }
}

impl BitOr for Fields {
    type Output = Fields;

    fn bitor(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }
}

impl BitOrAssign for Fields {
    fn bitor_assign(&mut self, other: Fields) {
        self.0 |= other.0;
    }
}

impl FromIterator<ComponentType> for Fields {
    fn from_iter<I: IntoIterator<Item = ComponentType>>(fields: I) -> Self {
        fields.into_iter().fold(Fields::NONE, Fields::and)
    }
}

/// `proto, dport`.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(n, field)| write!(f, "{}{field}", if n == 0 { "" } else { ", " }))
    }
}
