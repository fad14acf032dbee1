//! A filter: where it stands, what it compares, what it does.

use super::key::Key;
use flowspec::RuleId;

/// The EtherType that stands for all in a filter's place.
pub(super) const ALL_PROTOCOLS: u16 = 3;

/// A limit: so much a second, and so much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limit {
    /// Of bytes, otherwise of packets.
    pub(super) bytes: bool,
    /// A second.
    pub(super) rate: u64,
    /// At once: as the time that the rate takes for it, in the kernel's ticks of 64 ns.
    pub(super) burst: u64,
}

/// What a filter does to a packet, one action after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The packet goes on, past all filters.
    Pass,
    /// The packet is dropped.
    Drop,
    /// The filters of another chain decide.
    Goto(u32),
    /// What is more than the limit is dropped. Filters that name the same policer share it.
    Police {
        /// The policer's number in the network namespace.
        index: u32,
        /// The limit.
        limit: Limit,
        /// What is within the limit passes; otherwise the next action follows.
        ends: bool,
    },
    /// Sets the DSCP of an IPv4 or IPv6 packet.
    Mark(u8),
    /// Puts the checksum of the IPv4 header right.
    Checksum,
    /// Gives a copy of the beginning to a group of psample.
    Sample {
        /// The group.
        group: u32,
        /// Octets.
        octets: u32,
    },
}

/// What a filter is for, which the kernel keeps with its actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Of a rule: what it counts are packets of the rule.
    Rule(RuleId),
    /// Of a rule, for packets that are not counted as those of the rule: they may be its packets,
    /// and the kernel does not see enough of them.
    Exemption(RuleId),
    /// Packets that are never filtered.
    Protected,
    /// Sends packets to the chain of their IP version.
    Dispatch,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) chain: u32,
    /// The lowest decides.
    pub(super) priority: u16,
    /// Its number among those of its chain and priority.
    pub(super) handle: u32,
    /// The EtherType of the frames that are compared with it at all.
    pub(super) protocol: u16,
    pub(super) key: Key,
    pub(super) actions: Vec<Action>,
    pub(super) purpose: Purpose,
    /// The switch filters, and not the kernel; otherwise the other way round.
    pub(super) hardware: bool,
}

/// Where a filter stands: chain, priority, number.
pub(super) type Place = (u32, u16, u32);

impl Filter {
    pub(super) const fn place(&self) -> Place {
        (self.chain, self.priority, self.handle)
    }
}

const COOKIE: &[u8; 8] = b"floodgat";

impl Purpose {
    /// As the kernel keeps it.
    pub(super) fn cookie(self) -> [u8; 16] {
        let (kind, id) = match self {
            Purpose::Rule(id) => (1u64, id.as_u64()),
            Purpose::Exemption(id) => (2, id.as_u64()),
            Purpose::Protected => (3, 0),
            Purpose::Dispatch => (4, 0),
        };
        let mut cookie = [0; 16];
        cookie[..8].copy_from_slice(COOKIE);
        cookie[8..].copy_from_slice(&(kind << 48 | id).to_be_bytes());
        cookie
    }

    /// Reads what the kernel kept; `None` for a filter of somebody else.
    pub(super) fn of_cookie(cookie: &[u8]) -> Option<Purpose> {
        let number = u64::from_be_bytes(cookie.strip_prefix(COOKIE)?.try_into().ok()?);
        let id = || format!("{:012x}", number & 0xffff_ffff_ffff).parse().ok();
        match number >> 48 {
            1 => Some(Purpose::Rule(id()?)),
            2 => Some(Purpose::Exemption(id()?)),
            3 => Some(Purpose::Protected),
            4 => Some(Purpose::Dispatch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_reads_back() {
        let id = "dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id();
        for purpose in [Purpose::Rule(id), Purpose::Exemption(id), Purpose::Protected, Purpose::Dispatch] {
            assert_eq!(Purpose::of_cookie(&purpose.cookie()), Some(purpose));
        }
        assert_eq!(Purpose::of_cookie(b"somebody"), None);
        assert_eq!(Purpose::of_cookie(&[0; 16]), None);
    }
}
