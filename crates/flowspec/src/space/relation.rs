//! How two spaces relate. Exact on the sets: fields are independent of each other, but for the
//! ports, which `port` couples.

use super::{Fields, FragmentSet, IntervalSet, MAX_PORT, ProtocolSet, Space};
use crate::component::ComponentType;
use crate::prefix::Prefix;

impl Space {
    /// Whether every packet of `other` is in `self`. True only if surely so; false may be wrong
    /// only where the length of a packet follows from its other fields.
    #[must_use]
    pub fn covers(&self, other: &Space) -> bool {
        if other.is_empty() {
            return true;
        }
        if self.is_empty() || self.version != other.version {
            return false;
        }
        let number = |field, own: &IntervalSet, others: &IntervalSet, implied: bool| {
            !self.fields.has(field) || if other.fields.has(field) { own.covers(others) } else { implied }
        };
        let possible = ProtocolSet::possible(self.version);
        let kinds = FragmentSet::possible(self.version);
        let full_icmp = |set: &IntervalSet| other.fields.has_any(Fields::ICMP) && set.is_full(super::MAX_ICMP);
        let flags = match (self.tcp_flags(), other.tcp_flags()) {
            (None, _) => true,
            (Some(own), Some(others)) => own.covers(others),
            (Some(_), None) => false,
        };
        flags
            && prefix_covers(self.destination(), other.destination())
            && prefix_covers(self.source(), other.source())
            && self
                .protocol()
                .is_none_or(|set| other.protocol().is_some_and(|others| set.covers(others.intersect(possible))))
            && self.dscp.covers(other.dscp)
            && self.fragment.covers(other.fragment.intersect(kinds))
            && number(ComponentType::IcmpType, &self.icmp_type, &other.icmp_type, full_icmp(&self.icmp_type))
            && number(ComponentType::IcmpCode, &self.icmp_code, &other.icmp_code, full_icmp(&self.icmp_code))
            && number(ComponentType::FlowLabel, &self.label, &other.label, false)
            && self.length().is_none_or(|set| {
                let lengths = IntervalSet::range(other.min_length(), super::max_length(other.version));
                set.covers(&other.length().map_or(lengths.clone(), |others| others.intersect(&lengths)))
            })
            && self.covers_ports(other)
    }

    /// Whether some packet is in both. False only if surely none is; true may be wrong only where
    /// the length of a packet follows from its other fields.
    #[must_use]
    pub fn overlaps(&self, other: &Space) -> bool {
        if self.is_empty() || other.is_empty() || self.version != other.version {
            return false;
        }
        let number = |a: Option<&IntervalSet>, b: Option<&IntervalSet>| match (a, b) {
            (Some(a), Some(b)) => a.overlaps(b),
            _ => true,
        };
        let flags = match (self.tcp_flags(), other.tcp_flags()) {
            (Some(a), Some(b)) => a.overlaps(b),
            _ => true,
        };
        let protocols = self.protocol.intersect(other.protocol).intersect(ProtocolSet::possible(self.version));
        flags
            && prefixes_overlap(self.destination(), other.destination())
            && prefixes_overlap(self.source(), other.source())
            && !protocols.is_empty()
            && !self.dscp.intersect(other.dscp).is_empty()
            && !self.fragment.intersect(other.fragment).is_empty()
            && number(self.icmp_type(), other.icmp_type())
            && number(self.icmp_code(), other.icmp_code())
            && number(self.label(), other.label())
            && number(self.length(), other.length())
            && self.ports_overlap(other)
    }

    /// Whether no pair of ports satisfies the port fields.
    pub(super) fn ports_are_empty(&self) -> bool {
        let (source, destination) = self.port_ranges();
        source.is_empty()
            || destination.is_empty()
            || self.port().is_some_and(|either| !either.overlaps(&source) && !either.overlaps(&destination))
    }

    /// The source ports and the destination ports that are accepted, `port` aside.
    fn port_ranges(&self) -> (IntervalSet, IntervalSet) {
        let or_full = |set: Option<&IntervalSet>| set.cloned().unwrap_or_else(|| IntervalSet::full(MAX_PORT));
        (or_full(self.source_port()), or_full(self.destination_port()))
    }

    /// Whether the ports of every packet of `other`, which is not empty, satisfy the port fields of
    /// `self`. With S and D the source and destination ports of `other`, its packets have the pairs
    /// (s, d) of S x D, where s or d is in `other.port`. A field of `self` fails to cover them when
    /// some such pair has an s in a set of refused source ports and a d in one of refused
    /// destination ports.
    fn covers_ports(&self, other: &Space) -> bool {
        if !self.fields.has_any(Fields::PORTS) {
            return true;
        }
        // Who looks at TCP flags sees the ports, too: they stand before.
        if !other.fields.has_any(Fields::PORTS.and(ComponentType::TcpFlags)) {
            return false;
        }
        let (source, destination) = other.port_ranges();
        let some_pair = |s: &IntervalSet, d: &IntervalSet| {
            !s.is_empty() && !d.is_empty() && other.port().is_none_or(|either| either.overlaps(s) || either.overlaps(d))
        };
        self.source_port().is_none_or(|set| !some_pair(&source.difference(set), &destination))
            && self.destination_port().is_none_or(|set| !some_pair(&source, &destination.difference(set)))
            && self.port().is_none_or(|set| !some_pair(&source.difference(set), &destination.difference(set)))
    }

    /// Whether some pair of ports satisfies the port fields of both, which are not empty.
    fn ports_overlap(&self, other: &Space) -> bool {
        if !self.fields.has_any(Fields::PORTS) || !other.fields.has_any(Fields::PORTS) {
            return true;
        }
        let ((own_source, own_destination), (source, destination)) = (self.port_ranges(), other.port_ranges());
        let (source, destination) = (source.intersect(&own_source), destination.intersect(&own_destination));
        if source.is_empty() || destination.is_empty() {
            return false;
        }
        match (self.port(), other.port()) {
            (None, None) => true,
            (Some(either), None) | (None, Some(either)) => either.overlaps(&source) || either.overlaps(&destination),
            (Some(a), Some(b)) => {
                let both = a.intersect(b);
                both.overlaps(&source)
                    || both.overlaps(&destination)
                    || (a.overlaps(&source) && b.overlaps(&destination))
                    || (b.overlaps(&source) && a.overlaps(&destination))
            }
        }
    }
}

fn prefix_covers(own: Option<Prefix>, other: Option<Prefix>) -> bool {
    own.is_none_or(|own| other.is_some_and(|other| own.covers(&other)))
}

fn prefixes_overlap(a: Option<Prefix>, b: Option<Prefix>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.overlaps(&b),
        _ => true,
    }
}

impl Prefix {
    /// Whether `address` has this prefix; never for an address of the other IP version.
    #[must_use]
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        match (self, address) {
            (Prefix::V4(net), std::net::IpAddr::V4(address)) => net.contains(&address),
            (Prefix::V6(pattern), std::net::IpAddr::V6(address)) => pattern.contains(address),
            _ => false,
        }
    }

    /// Whether every address with prefix `other` has this prefix.
    #[must_use]
    pub fn covers(&self, other: &Prefix) -> bool {
        match (self, other) {
            (Prefix::V4(own), Prefix::V4(other)) => own.contains(other),
            (Prefix::V6(own), Prefix::V6(other)) => {
                own.mask() & !other.mask() == 0 && other.bits() & own.mask() == own.bits()
            }
            _ => false,
        }
    }

    /// Whether some address has both prefixes.
    #[must_use]
    pub fn overlaps(&self, other: &Prefix) -> bool {
        match (self, other) {
            (Prefix::V4(a), Prefix::V4(b)) => a.contains(b) || b.contains(a),
            (Prefix::V6(a), Prefix::V6(b)) => (a.bits() ^ b.bits()) & a.mask() & b.mask() == 0,
            _ => false,
        }
    }
}
