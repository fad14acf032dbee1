//! Splitting a space into parts that the entries of a data plane can express.

use super::{Condition, Cube, Fields, FragmentSet, IntervalSet, MAX_PORT, ProtocolSet, Space, TcpFlagSet};
use crate::component::ComponentType;

impl Space {
    /// The packets of `self` that satisfy the condition, too.
    #[must_use]
    pub fn narrowed(mut self, condition: Condition) -> Space {
        let numbers = |had: bool, old: &IntervalSet, new: IntervalSet| if had { old.intersect(&new) } else { new };
        let field = condition.field();
        let had = self.fields.has(field);
        match condition {
            Condition::Protocol(set) => self.protocol = self.protocol.intersect(set),
            Condition::DestinationPort(set) => self.destination_port = numbers(had, &self.destination_port, set),
            Condition::SourcePort(set) => self.source_port = numbers(had, &self.source_port, set),
            Condition::IcmpType(set) => self.icmp_type = numbers(had, &self.icmp_type, set),
            Condition::IcmpCode(set) => self.icmp_code = numbers(had, &self.icmp_code, set),
            Condition::TcpFlags(set) => {
                let both = self.tcp_flags.as_ref().map(|old| old.intersect(&set));
                self.tcp_flags = Some(Box::new(both.unwrap_or(set)));
            }
            Condition::Length(set) => self.length = numbers(had, &self.length, set),
            Condition::Dscp(set) => self.dscp = self.dscp.intersect(set),
            Condition::Fragment(set) => self.fragment = self.fragment.intersect(set),
            Condition::Label(set) => self.label = numbers(had, &self.label, set),
        }
        self.fields = self.fields.and(field);
        self.normalize();
        self
    }

    /// The same packets as at most two disjoint spaces without [`port`](Self::port): those whose
    /// source port is one of its ports, and those of which only the destination port is.
    #[must_use]
    pub fn split_port(&self) -> Vec<Space> {
        let Some(either) = self.port() else { return vec![self.clone()] };
        let others = either.complement(MAX_PORT);
        let [by_source, by_destination] = self.port_halves(either);
        let by_destination = by_destination.narrowed(Condition::SourcePort(others));
        [by_source, by_destination].into_iter().filter(|part| !part.is_empty()).collect()
    }

    /// The same as at most two simpler spaces that may overlap: those whose source port is one of
    /// its ports, and those whose destination port is.
    #[must_use]
    pub fn cover_port(&self) -> Vec<Space> {
        let Some(either) = self.port() else { return vec![self.clone()] };
        let [by_source, by_destination] = self.port_halves(either);
        if by_destination.covers(&by_source) {
            return [by_destination].into_iter().filter(|part| !part.is_empty()).collect();
        }
        let one_is_enough = by_source.covers(&by_destination);
        [by_source, by_destination].into_iter().take(if one_is_enough { 1 } else { 2 }).collect()
    }

    /// All packets that have the same in front of the upper-layer header, and that header: without
    /// the fields of the header itself.
    #[must_use]
    pub fn without_upper_layer_fields(&self) -> Space {
        let mut rest = self.clone();
        rest.fields = rest.fields.without(Fields::L4);
        rest.port = IntervalSet::empty();
        rest.source_port = IntervalSet::empty();
        rest.destination_port = IntervalSet::empty();
        rest.icmp_type = IntervalSet::empty();
        rest.icmp_code = IntervalSet::empty();
        rest.tcp_flags = None;
        rest.normalize();
        rest
    }

    /// All packets that have the same in the fixed header of IPv6, and the same length: whatever
    /// their protocol, kind of fragment and upper-layer header.
    #[must_use]
    pub fn without_fields_behind_fixed_header(&self) -> Space {
        let mut rest = self.without_upper_layer_fields();
        rest.fields = rest.fields.without(Fields::of(ComponentType::Protocol).and(ComponentType::Fragment));
        rest.protocol = ProtocolSet::FULL;
        rest.fragment = FragmentSet::possible(self.version);
        rest.normalize();
        rest
    }

    /// All packets with these addresses.
    #[must_use]
    pub fn without_fields_but_addresses(&self) -> Space {
        let addresses = Fields::of(ComponentType::Destination).and(ComponentType::Source);
        let mut rest = Space::all(self.version);
        rest.destination = self.destination;
        rest.source = self.source;
        rest.fields = self.fields.without(self.fields.without(addresses));
        rest.normalize();
        rest
    }

    /// Without [`port`](Self::port): with one of these as source port, and with one of these as
    /// destination port.
    fn port_halves(&self, either: &IntervalSet) -> [Space; 2] {
        let mut rest = self.clone();
        rest.fields = rest.fields.without(Fields::of(ComponentType::Port));
        rest.port = IntervalSet::empty();
        let by_source = rest.clone().narrowed(Condition::SourcePort(either.clone()));
        [by_source, rest.narrowed(Condition::DestinationPort(either.clone()))]
    }
}

impl From<Cube> for TcpFlagSet {
    fn from(cube: Cube) -> Self {
        TcpFlagSet::tabulate(cube.mask & super::tcp_flags::FIELD, |flags| cube.contains(flags))
    }
}
