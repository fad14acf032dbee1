//! What a filter compares: the keys of cls_flower that Floodgate uses.

use super::capabilities::{ANY, FIRST, LATER, WHOLE};
use engine::mpls_in_ip::MPLS_IN_IP;
use flowspec::space::{Fields, FragmentSet, MAX_PORT};
use flowspec::{EXTENSION_HEADERS, IpVersion, Prefix, Space};

/// TCP, for its number.
pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// A value under a mask; bits outside of the mask are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Masked<T> {
    pub(super) value: T,
    pub(super) mask: T,
}

/// A kind of fragment, as the flags `frag` and `firstfrag` tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FragmentKind {
    /// No fragment; in IPv6, without a fragment header.
    None,
    /// A first one; in IPv6 also a whole packet with a fragment header.
    First,
    /// One behind the first.
    Later,
    /// Any fragment.
    Any,
}

/// The EtherType that a filter compares. The kernel's classifier finds the one of MPLS in whole IP
/// packets with MPLS inside (protocol 137), of whose IP header it then shows the addresses only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EtherType {
    /// The one of the IP version.
    IpVersion,
    /// None: the IP version follows from the chain, or from the addresses.
    Any,
    /// The one of MPLS: in a chain of rules, these are the IP packets with MPLS inside.
    Mpls,
}

/// What a filter compares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) version: IpVersion,
    pub(super) ether_type: EtherType,
    /// The frame has one VLAN tag, with this EtherType.
    pub(super) tag: Option<u16>,
    /// Addresses; those of IPv4 are the low 32 bits.
    pub(super) destination: Option<Masked<u128>>,
    pub(super) source: Option<Masked<u128>>,
    pub(super) protocol: Option<u8>,
    pub(super) destination_port: Option<Masked<u16>>,
    pub(super) source_port: Option<Masked<u16>>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
    pub(super) tcp_flags: Option<Masked<u16>>,
    pub(super) tos: Option<Masked<u8>>,
    pub(super) ttl: Option<u8>,
    pub(super) fragment: Option<FragmentKind>,
}

/// An entry that the compiler let through and no filter can say: a mistake in Floodgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be written as a filter")]
pub(super) struct Unwritable(pub(super) &'static str);

impl Key {
    /// All packets of an IP version.
    pub(super) fn all(version: IpVersion) -> Self {
        Key {
            version,
            ether_type: EtherType::IpVersion,
            tag: None,
            destination: None,
            source: None,
            protocol: None,
            destination_port: None,
            source_port: None,
            icmp_type: None,
            icmp_code: None,
            tcp_flags: None,
            tos: None,
            ttl: None,
            fragment: None,
        }
    }

    /// The keys for the packets of an entry: one, or two where the entry is for whole packets and
    /// first fragments, or for protocol 137. `software`: the kernel compares kinds of fragment, and
    /// sees of a fragment zeros in the place of the upper-layer header, and of packets with MPLS
    /// inside nothing but addresses.
    pub(super) fn of(entry: &Space, software: bool) -> Result<Vec<Key>, Unwritable> {
        let keys = Key::of_fields(entry)?.with_fragments(entry, software)?;
        Ok(if software { keys.into_iter().flat_map(Key::with_mpls_inside).collect() } else { keys })
    }

    /// The same, also for packets with MPLS inside, where all that is asked for is seen of them.
    fn with_mpls_inside(self) -> Vec<Key> {
        let inside = Key { ether_type: EtherType::Mpls, protocol: None, ..self.clone() };
        match (self.protocol, self.tos, self.fragment) {
            (Some(MPLS_IN_IP), None, None) => vec![self, inside],
            (Some(MPLS_IN_IP), None, Some(FragmentKind::None)) => vec![inside],
            _ => vec![self.of_any_ether_type()],
        }
    }

    /// Without the EtherType, unless it is needed to compare something else.
    fn of_any_ether_type(self) -> Key {
        let needed = self.protocol.is_some() || self.tos.is_some() || self.ttl.is_some();
        Key { ether_type: if needed { self.ether_type } else { EtherType::Any }, ..self }
    }

    /// All but the kind of fragment.
    fn of_fields(entry: &Space) -> Result<Key, Unwritable> {
        let mut key = Key::all(entry.version());
        key.destination = entry.destination().map(address);
        key.source = entry.source().map(address);
        if let Some(set) = entry.protocol() {
            key.protocol = Some(set.single().ok_or(Unwritable("a set of protocols"))?);
        }
        let port = |set: Option<&flowspec::space::IntervalSet>| match set {
            None => Ok(None),
            Some(set) if set.is_full(MAX_PORT) => Ok(None),
            Some(set) => block_of(set.bounds(), set.len()).map(Some),
        };
        key.destination_port = port(entry.destination_port())?;
        key.source_port = port(entry.source_port())?;
        let octet = |set: Option<&flowspec::space::IntervalSet>| match set {
            None => Ok(None),
            Some(set) => {
                let single = set.single().and_then(|value| u8::try_from(value).ok());
                single.map(Some).ok_or(Unwritable("a set of ICMP values"))
            }
        };
        key.icmp_type = octet(entry.icmp_type())?;
        key.icmp_code = octet(entry.icmp_code())?;
        if let Some(set) = entry.tcp_flags() {
            let cubes = set.cubes();
            let [cube] = cubes[..] else { return Err(Unwritable("a set of TCP flags")) };
            key.tcp_flags = (cube.mask != 0).then_some(Masked { value: cube.value, mask: cube.mask });
        }
        if let Some(set) = entry.dscp() {
            let set = set.to_intervals();
            let dscp = block_of(set.bounds(), set.len())?;
            // The six bits stand above the two of ECN.
            let tos = Masked { value: (dscp.value << 2) as u8, mask: ((dscp.mask & 0x3f) << 2) as u8 };
            key.tos = (tos.mask != 0).then_some(tos);
        }
        let unseen =
            [flowspec::ComponentType::PacketLength, flowspec::ComponentType::FlowLabel, flowspec::ComponentType::Port];
        if unseen.into_iter().any(|field| entry.fields().has(field)) {
            return Err(Unwritable("a field that flower does not have"));
        }
        Ok(key)
    }

    fn with_fragments(mut self, entry: &Space, has_fragments: bool) -> Result<Vec<Key>, Unwritable> {
        let possible = FragmentSet::possible(entry.version());
        let is = |set: FragmentSet, kinds: FragmentSet| set == kinds.intersect(possible);
        let upper = entry.fields().has_any(Fields::L4);
        let kinds = match entry.fragment() {
            _ if upper && entry.fragment_is_implied() => {
                // A fragment shows zeros: it matches where all of them are accepted.
                let kind = (has_fragments && self.accepts_zeros()).then_some(FragmentKind::None);
                self.fragment = kind;
                return Ok(vec![self]);
            }
            None => {
                return Ok(vec![self]);
            }
            Some(_) if !has_fragments => return Err(Unwritable("a kind of fragment")),
            Some(set) if is(set, FragmentSet::WITH_L4_HEADER) => vec![FragmentKind::None, FragmentKind::First],
            Some(set) if is(set, LATER) => vec![FragmentKind::Later],
            // In IPv6 the kernel takes some whole packets for first fragments.
            Some(set) if entry.version() == IpVersion::V4 && set == WHOLE => vec![FragmentKind::None],
            Some(set) if entry.version() == IpVersion::V4 && set == FIRST => vec![FragmentKind::First],
            Some(set) if entry.version() == IpVersion::V4 && set == ANY => vec![FragmentKind::Any],
            Some(_) => return Err(Unwritable("a set of kinds of fragment")),
        };
        Ok(kinds.into_iter().map(|kind| Key { fragment: Some(kind), ..self.clone() }).collect())
    }

    /// The key for these first fragments, which has no upper-layer field. In IPv6 it takes whole
    /// packets with a fragment header along.
    pub(super) fn of_first_fragments(entry: &Space) -> Result<Key, Unwritable> {
        let mut key = Key::of_fields(entry)?;
        key.fragment = Some(FragmentKind::First);
        Ok(key.of_any_ether_type())
    }

    /// The key for these packets, which all have MPLS inside.
    pub(super) fn of_mpls(packets: &Space) -> Result<Key, Unwritable> {
        Ok(Key { ether_type: EtherType::Mpls, protocol: None, ..Key::of_fields(packets)? })
    }

    /// The keys for these packets where the kernel ends its walk along the extension headers at one
    /// of them, and takes it for the protocol.
    pub(super) fn of_hidden(packets: &Space) -> Result<Vec<Key>, Unwritable> {
        let key = Key::of_fields(packets)?;
        Ok(EXTENSION_HEADERS.into_iter().map(|header| Key { protocol: Some(header), ..key.clone() }).collect())
    }

    /// The same packets for a place where the chain does not tell the IP version: then something
    /// that is compared has to.
    pub(super) fn with_known_version(self) -> Vec<Key> {
        if self.ether_type == EtherType::IpVersion || self.source.is_some() || self.destination.is_some() {
            return vec![self];
        }
        let highest = match self.version {
            IpVersion::V4 => 1 << 31,
            IpVersion::V6 => 1 << 127,
        };
        let half = |value| Key { destination: Some(Masked { value, mask: highest }), ..self.clone() };
        vec![half(0), half(highest)]
    }

    /// Whether a packet whose upper-layer header is zeros matches.
    fn accepts_zeros(&self) -> bool {
        self.destination_port.is_none_or(|port| port.value == 0)
            && self.source_port.is_none_or(|port| port.value == 0)
            && self.icmp_type.is_none_or(|value| value == 0)
            && self.icmp_code.is_none_or(|value| value == 0)
            && self.tcp_flags.is_none_or(|flags| flags.value == 0)
    }

    /// Why the kernel would not compare some of it, although it takes it without an error.
    pub(super) fn ignored(&self) -> Option<Unwritable> {
        let has_ports = matches!(self.protocol, Some(TCP | UDP | SCTP));
        let icmp = match self.version {
            IpVersion::V4 => 1,
            IpVersion::V6 => 58,
        };
        if (self.destination_port.is_some() || self.source_port.is_some()) && !has_ports {
            return Some(Unwritable("a port without its protocol"));
        }
        if self.tcp_flags.is_some() && self.protocol != Some(TCP) {
            return Some(Unwritable("TCP flags without the protocol TCP"));
        }
        if (self.icmp_type.is_some() || self.icmp_code.is_some()) && self.protocol != Some(icmp) {
            return Some(Unwritable("an ICMP type or code without its protocol"));
        }
        None
    }
}

fn address(prefix: Prefix) -> Masked<u128> {
    match prefix {
        Prefix::V4(net) => {
            let mask = u128::from(u32::from(net.netmask()));
            Masked { value: u128::from(u32::from(net.network())), mask }
        }
        Prefix::V6(pattern) => Masked { value: pattern.bits(), mask: pattern.mask() },
    }
}

/// A block of a power of two numbers, which begins at a multiple of it, as a value under a mask.
fn block_of(bounds: Option<(u32, u32)>, intervals: usize) -> Result<Masked<u16>, Unwritable> {
    let wrong = Unwritable("a range");
    let (first, last) = bounds.filter(|_| intervals == 1).ok_or(wrong)?;
    let free = last - first;
    let (first, free) = (u16::try_from(first).map_err(|_| wrong)?, u16::try_from(free).map_err(|_| wrong)?);
    let is_block = free & free.wrapping_add(1) == 0 && first & free == 0;
    if is_block { Ok(Masked { value: first, mask: !free }) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<Key> {
        let rule: flowspec::Rule = text.parse().expect(text);
        Key::of(&Space::of(&rule.nlri), true).expect(text)
    }

    #[test]
    fn fragments_are_left_out_where_zeros_would_match() {
        for (rule, kind) in [
            ("dst 192.0.2.1/32 proto udp dport 53", None),
            ("dst 192.0.2.1/32 proto udp dport 0", Some(FragmentKind::None)),
            ("dst 192.0.2.1/32 proto udp dport 0-1023", Some(FragmentKind::None)),
            ("dst 192.0.2.1/32 proto udp dport 0 sport 1", None),
            ("dst 192.0.2.1/32 icmp-type 0", Some(FragmentKind::None)),
            ("dst 192.0.2.1/32 icmp-type 8", None),
            ("dst 192.0.2.1/32 icmp-type 8 icmp-code 0", None),
            ("dst 192.0.2.1/32 tcp-flags !syn", Some(FragmentKind::None)),
            ("dst 192.0.2.1/32 tcp-flags syn", None),
            ("dst 192.0.2.1/32 proto udp", None),
        ] {
            assert_eq!(keys(rule)[0].fragment, kind, "{rule}");
        }
    }

    #[test]
    fn packets_with_mpls_inside_are_not_left_out() {
        use EtherType::{Any, IpVersion as Version, Mpls};
        for (rule, expected) in [
            ("dst 192.0.2.1/32", &[Any][..]),
            ("dst 0.0.0.0/0", &[Any]),
            ("dst 192.0.2.1/32 fragment is-fragment", &[Any]),
            ("dst 192.0.2.1/32 fragment !is-fragment", &[Any, Any]),
            ("dst 192.0.2.1/32 proto udp", &[Version]),
            ("dst 192.0.2.1/32 proto 137", &[Version, Mpls]),
            ("dst 2001:db8::1/128 proto 137", &[Version, Mpls]),
            ("dst 192.0.2.1/32 proto 137 fragment is-fragment", &[Version]),
            // Without the DSCP it would match more than the rule does.
            ("dst 192.0.2.1/32 proto 137 dscp 46", &[Version]),
            ("dst 192.0.2.1/32 dscp 46", &[Version]),
        ] {
            let types: Vec<EtherType> = keys(rule).iter().map(|key| key.ether_type).collect();
            assert_eq!(types, expected, "{rule}");
            assert!(keys(rule).iter().all(|key| key.ether_type == Version || key.protocol.is_none()), "{rule}");
        }
        let all = Key::of(&Space::all(IpVersion::V6), true).unwrap().remove(0);
        let halves = all.with_known_version();
        assert!(halves.len() == 2 && halves[0].destination != halves[1].destination, "{halves:?}");
        let rule: flowspec::Rule = "dst 192.0.2.1/32".parse().unwrap();
        assert_eq!(Key::of(&Space::of(&rule.nlri), false).unwrap()[0].ether_type, Version, "drivers want it");
    }

    #[test]
    fn values_and_masks() {
        let key = keys("dst 192.0.2.0/24 proto tcp dport 1024-2047 tcp-flags syn&!ack dscp 8-15").remove(0);
        assert_eq!(key.destination, Some(Masked { value: 0xc000_0200, mask: 0xffff_ff00 }));
        assert_eq!(key.destination_port, Some(Masked { value: 1024, mask: 0xfc00 }));
        assert_eq!(key.tcp_flags, Some(Masked { value: 0x02, mask: 0x12 }));
        assert_eq!(key.tos, Some(Masked { value: 0x20, mask: 0xe0 }));
        assert_eq!(key.ignored(), None);
        assert!(Key { protocol: None, ..key.clone() }.ignored().is_some());
        assert!(Key { protocol: Some(UDP), ..key }.ignored().is_some(), "flags");
    }

    #[test]
    fn what_no_key_can_say_is_an_error() {
        for rule in
            ["dst 192.0.2.1/32 proto 6,17", "dst 192.0.2.1/32 proto udp dport 1-2", "dst 192.0.2.1/32 length 100"]
        {
            let rule: flowspec::Rule = rule.parse().unwrap();
            assert!(Key::of(&Space::of(&rule.nlri), true).is_err(), "{}", rule.nlri);
        }
    }
}
