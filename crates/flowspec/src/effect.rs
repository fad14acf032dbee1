//! The combined effect of a rule's actions (RFC 8955 §7.7).

use crate::action::{Action, Rate};
use crate::community::Community;
use std::net::IpAddr;

/// How much of the matching traffic may pass. Both limits may apply at once; a packet passes if it
/// is within each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policing {
    /// No limit.
    None,
    /// Nothing passes: a rate of 0 or below.
    Discard,
    /// Finite positive limits; at least one of them is present.
    Limit {
        /// Bytes a second.
        bytes: Option<f32>,
        /// Packets a second.
        packets: Option<f32>,
    },
}

/// Where packets are sent instead of, or in addition to, their usual destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redirect {
    /// To the VRF that imports this route target (RFC 8955 §7.4, RFC 8956 §6.1): the community in
    /// its canonical form.
    Vrf(Community),
    /// To an address.
    Address {
        /// The target.
        address: IpAddr,
        /// A copy is sent there; the packet itself is forwarded as usual.
        copy: bool,
    },
    /// To the next hop of the announcement, which had none.
    UnknownNextHop {
        /// A copy is sent there; the packet itself is forwarded as usual.
        copy: bool,
    },
}

/// What a rule does to a packet that it matches: the combined effect of its actions.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Effect {
    /// Discard or limit.
    pub policing: Policing,
    /// New DSCP, 6 bits.
    pub mark: Option<u8>,
    /// The redirect target.
    pub redirect: Option<Redirect>,
    /// Sample it.
    pub sample: bool,
    /// Continue with the next rule; otherwise the evaluation ends here.
    pub continues: bool,
}

impl Effect {
    /// No action: accept, and end the evaluation.
    pub const ACCEPT: Effect =
        Effect { policing: Policing::None, mark: None, redirect: None, sample: false, continues: false };

    /// The effect of `actions`: discard over the lowest rate of a unit; of several marks or
    /// redirects the first. `next_hop` is that of the MP_REACH_NLRI.
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
    #[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(rate: f32) -> Action {
        Action::RateBytes { asn: 0, rate: Rate::new(rate).unwrap() }
    }

    fn packets(rate: f32) -> Action {
        Action::RatePackets { asn: 0, rate: Rate::new(rate).unwrap() }
    }

    fn policing(actions: &[Action]) -> Policing {
        Effect::of(actions, None).policing
    }

    #[test]
    fn one_rate() {
        let smallest = f32::from_bits(1);
        let table = [
            (0.0, Policing::Discard),
            (-0.0, Policing::Discard),
            (-9600.0, Policing::Discard),
            (-smallest, Policing::Discard),
            (f32::NEG_INFINITY, Policing::Discard),
            (f32::INFINITY, Policing::None),
            (smallest, Policing::Limit { bytes: Some(smallest), packets: None }),
            (f32::MIN_POSITIVE, Policing::Limit { bytes: Some(f32::MIN_POSITIVE), packets: None }),
            (f32::MAX, Policing::Limit { bytes: Some(f32::MAX), packets: None }),
        ];
        for (rate, expected) in table {
            assert_eq!(policing(&[bytes(rate)]), expected, "{rate:e} bytes/s");
            let in_packets = match expected {
                Policing::Limit { bytes, .. } => Policing::Limit { bytes: None, packets: bytes },
                other => other,
            };
            assert_eq!(policing(&[packets(rate)]), in_packets, "{rate:e} packets/s");
        }
    }

    #[test]
    fn several_rates_are_discard_over_the_lowest_of_each_unit_in_any_order() {
        let limit = |bytes, packets| Policing::Limit { bytes, packets };
        let table: [(&[Action], Policing); 7] = [
            (&[], Policing::None),
            (&[bytes(200.0), bytes(100.0), bytes(300.0)], limit(Some(100.0), None)),
            (&[bytes(200.0), packets(5.0)], limit(Some(200.0), Some(5.0))),
            (&[packets(7.0), bytes(200.0), packets(5.0)], limit(Some(200.0), Some(5.0))),
            (&[bytes(200.0), packets(-1.0)], Policing::Discard),
            (&[bytes(f32::INFINITY), bytes(200.0)], limit(Some(200.0), None)),
            (&[bytes(f32::INFINITY), packets(f32::INFINITY)], Policing::None),
        ];
        for (actions, expected) in table {
            assert_eq!(policing(actions), expected, "{actions:?}");
            let reversed: Vec<_> = actions.iter().rev().copied().collect();
            assert_eq!(policing(&reversed), expected, "{reversed:?}");
        }
    }

    #[test]
    fn no_action_accepts_and_ends_the_search() {
        let unknown = Action::Other(Community::Extended([0, 2, 0xfd, 0xea, 0, 0, 0, 100]));
        assert_eq!(Effect::of(&[], None), Effect::ACCEPT);
        assert_eq!(Effect::of(&[unknown], None), Effect::ACCEPT);
    }

    #[test]
    fn of_several_marks_and_redirects_the_first_and_of_sample_and_continue_any() {
        let as2 = Action::RedirectAs2 { asn: 65000, local: 100 };
        let address = "192.0.2.9".parse().unwrap();
        let actions = [
            Action::Mark(46),
            Action::Mark(0),
            as2,
            Action::RedirectIp { address, copy: true },
            Action::TrafficAction { sample: true, continues: false },
            Action::TrafficAction { sample: false, continues: true },
        ];
        let expected = Effect {
            policing: Policing::None,
            mark: Some(46),
            redirect: Some(Redirect::Vrf(as2.encode())),
            sample: true,
            continues: true,
        };
        assert_eq!(Effect::of(&actions, None), expected);
    }

    #[test]
    fn redirect_to_next_hop_takes_that_of_the_announcement() {
        let next_hop = "2001:db8::9".parse().unwrap();
        let redirect = |copy, next_hop| Effect::of(&[Action::RedirectNextHop { copy }], next_hop).redirect;
        assert_eq!(redirect(true, Some(next_hop)), Some(Redirect::Address { address: next_hop, copy: true }));
        assert_eq!(redirect(false, None), Some(Redirect::UnknownNextHop { copy: false }));
    }

    #[test]
    fn the_old_code_of_rt_redirect_ipv6_names_the_same_vrf() {
        let vrf = |code: [u8; 2]| {
            let mut octets = [0u8; 20];
            octets[..2].copy_from_slice(&code);
            Effect::of(&[Action::decode(Community::Ipv6(octets)).unwrap()], None).redirect
        };
        assert_eq!(vrf([0x80, 0x0b]), vrf([0x00, 0x0d]));
        assert!(matches!(vrf([0x80, 0x0b]), Some(Redirect::Vrf(_))));
    }
}
