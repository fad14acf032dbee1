//! What a rule's actions do together (RFC 8955 §7.7).

use crate::action::{Action, Rate};
use crate::community::Community;
use std::net::IpAddr;

/// How much of the matching traffic may pass. Both limits may apply at once; a packet passes when it is within each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policing {
    /// No limit.
    None,
    /// Nothing passes: a rate of 0 or below was asked for.
    Discard,
    /// Finite positive limits; at least one is there.
    Limit {
        /// Bytes a second.
        bytes: Option<f32>,
        /// Packets a second.
        packets: Option<f32>,
    },
}

/// Where packets are sent instead of, or besides, their usual way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redirect {
    /// To the VRF that imports this route target (RFC 8955 §7.4, RFC 8956 §6.1): the community as it was sent.
    Vrf(Community),
    /// To an address.
    Address {
        /// Where to.
        address: IpAddr,
        /// A copy goes there, the packet itself its usual way.
        copy: bool,
    },
    /// To the next hop of the announcement, which had none.
    UnknownNextHop {
        /// A copy goes there, the packet itself its usual way.
        copy: bool,
    },
}

/// What a rule does to a packet that it matches: its actions taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Discard or limit.
    pub policing: Policing,
    /// New DSCP, 6 bits.
    pub mark: Option<u8>,
    /// Where to send it.
    pub redirect: Option<Redirect>,
    /// Sample it.
    pub sample: bool,
    /// Go on with the next rule; otherwise the search ends here.
    pub continues: bool,
}

impl Effect {
    /// No action at all: accept, and the search ends.
    pub const ACCEPT: Effect =
        Effect { policing: Policing::None, mark: None, redirect: None, sample: false, continues: false };

    /// The effect of `actions`: discard over the lowest rate of a unit; of several marks or redirects the first. `next_hop` is that of
    /// the MP_REACH_NLRI.
    pub fn of(actions: &[Action], next_hop: Option<IpAddr>) -> Self {
        let mut effect = Effect::ACCEPT;
        for &action in actions {
            match action {
                Action::RateBytes { rate, .. } => effect.policing = effect.policing.and(Policing::bytes(rate)),
                Action::RatePackets { rate, .. } => effect.policing = effect.policing.and(Policing::packets(rate)),
                Action::TrafficAction { sample, continues } => {
                    effect.sample |= sample;
                    effect.continues |= continues;
                }
                Action::Mark(dscp) => effect.mark = effect.mark.or(Some(dscp)),
                Action::RedirectAs2 { .. }
                | Action::RedirectIpv4 { .. }
                | Action::RedirectAs4 { .. }
                | Action::RedirectIpv6 { .. } => {
                    effect.redirect = effect.redirect.or(Some(Redirect::Vrf(action.encode())));
                }
                Action::RedirectNextHop { copy } => {
                    let to = match next_hop {
                        Some(address) => Redirect::Address { address, copy },
                        None => Redirect::UnknownNextHop { copy },
                    };
                    effect.redirect = effect.redirect.or(Some(to));
                }
                Action::RedirectIp { address, copy } => {
                    effect.redirect = effect.redirect.or(Some(Redirect::Address { address, copy }));
                }
                Action::InterfaceSet { .. } | Action::Other(_) => {}
            }
        }
        effect
    }
}

impl Policing {
    fn bytes(rate: Rate) -> Self {
        Self::limit(rate, |rate| Policing::Limit { bytes: Some(rate), packets: None })
    }

    fn packets(rate: Rate) -> Self {
        Self::limit(rate, |rate| Policing::Limit { bytes: None, packets: Some(rate) })
    }

    fn limit(rate: Rate, finite: impl Fn(f32) -> Policing) -> Self {
        let rate = rate.as_f32();
        if rate <= 0.0 {
            Policing::Discard
        } else if rate.is_infinite() {
            Policing::None
        } else {
            finite(rate)
        }
    }

    /// Both at once: discard over the lowest rate of each unit.
    pub fn and(self, other: Self) -> Self {
        let lowest = |a: Option<f32>, b: Option<f32>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match (self, other) {
            (Policing::Discard, _) | (_, Policing::Discard) => Policing::Discard,
            (Policing::None, limit) | (limit, Policing::None) => limit,
            (Policing::Limit { bytes: a, packets: p }, Policing::Limit { bytes: b, packets: q }) => {
                Policing::Limit { bytes: lowest(a, b), packets: lowest(p, q) }
            }
        }
    }
}
