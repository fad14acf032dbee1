//! Encodes a rule's effect for the program.

use super::layout::{RuleLine, Target, flag};
use flowspec::{Effect, Policing, Redirect};
use std::net::IpAddr;

/// Ticks of the policers' clock in a second: 2^-8 ns each.
const TICKS: f64 = 256e9;
/// The time that the program treats as "never again": about 26 days.
const COST_MAX: f64 = (1u64 << 59) as f64;

/// The flags, the DSCP and the policers of a rule; label, extra and target are filled in later.
pub(super) fn line(effect: &Effect) -> RuleLine {
    let mut line = RuleLine::ZERO;
    let mut set = |when: bool, bit: u32| line.flags |= if when { bit } else { 0 };
    set(effect.policing == Policing::Discard, flag::DISCARD);
    set(effect.continues, flag::CONTINUE);
    set(effect.mark.is_some(), flag::MARK);
    set(effect.sample, flag::SAMPLE);
    set(matches!(effect.redirect, Some(Redirect::Address { .. })), flag::REDIRECT);
    line.dscp = u32::from(effect.mark.unwrap_or(0));
    if let Policing::Limit { bytes, packets } = effect.policing {
        if let Some(rate) = bytes
            && let Some((cost, shift)) = scaled(TICKS / f64::from(rate))
        {
            line.flags |= flag::RATE_BYTES;
            (line.byte_cost, line.byte_shift) = (cost, shift);
        }
        if let Some(rate) = packets {
            let cost = (TICKS / f64::from(rate)).min(COST_MAX).round();
            if cost >= 1.0 {
                line.flags |= flag::RATE_PACKETS;
                line.packet_cost = cost as u64;
            }
        }
    }
    line
}

/// Whether the rule does nothing but drop.
pub(super) fn only_drops(line: &RuleLine) -> bool {
    line.flags & !(flag::MARK | flag::REDIRECT) == flag::DISCARD
}

/// `cost` as a mantissa of at most 32 bits and a power of two. `None` for a rate of 100 Tbit/s and
/// more, which needs no policer.
fn scaled(cost: f64) -> Option<(u32, i32)> {
    if cost < TICKS / 1.25e13 {
        return None;
    }
    let cost = cost.min(COST_MAX);
    // 24 bits of mantissa, as many as the rate has; their product with a packet's 17 bits of length
    // fits into a word.
    let shift = cost.log2().floor() as i32 - 23;
    let mantissa = (cost / f64::from(shift).exp2()).round();
    Some((mantissa as u32, shift))
}

/// The target of a rule's redirect.
pub(super) fn target(effect: &Effect) -> Option<Target> {
    let Some(Redirect::Address { address, copy: false }) = effect.redirect else { return None };
    let (family, address) = address_words(address);
    Some(Target { family, address, ..Target::ZERO })
}

/// The address that packets are really sent to: none if the rule drops them all.
pub(super) fn effective_redirect(effect: &Effect) -> Option<IpAddr> {
    match (effect.redirect, effect.policing) {
        (Some(Redirect::Address { address, copy: false }), Policing::None | Policing::Limit { .. }) => Some(address),
        _ => None,
    }
}

/// Family and words of an address, in network order.
pub(super) fn address_words(address: IpAddr) -> (u32, [u32; 4]) {
    let mut words = [0; 4];
    match address {
        IpAddr::V4(address) => {
            words[0] = u32::from_ne_bytes(address.octets());
            (libc::AF_INET as u32, words)
        }
        IpAddr::V6(address) => {
            for (word, octets) in words.iter_mut().zip(address.octets().chunks_exact(4)) {
                *word = u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]);
            }
            (libc::AF_INET6 as u32, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: Option<f32>, packets: Option<f32>) -> RuleLine {
        line(&Effect { policing: Policing::Limit { bytes, packets }, ..Effect::ACCEPT })
    }

    /// The same computation as in the program.
    fn cost(line: &RuleLine, octets: u64) -> f64 {
        let cost = u64::from(line.byte_cost) * octets;
        if line.byte_shift < 0 {
            let right = -line.byte_shift as u32;
            ((cost + (1 << (right - 1))) >> right) as f64
        } else {
            cost as f64 * f64::from(line.byte_shift).exp2()
        }
    }

    #[test]
    fn costs_are_within_a_hundredth() {
        for rate in [0.01f32, 1.0, 1234.5, 125e3, 1.25e6, 1.25e8, 1.25e9, 1.25e10, 5e10] {
            let line = limit(Some(rate), None);
            for octets in [64u64, 576, 1500, 9000, 65575] {
                let wanted = octets as f64 * TICKS / f64::from(rate);
                if wanted < COST_MAX {
                    assert!((cost(&line, octets) / wanted - 1.0).abs() < 0.01, "{rate} {octets}");
                }
            }
        }
    }

    #[test]
    fn rates_beyond_any_network_need_no_policer_and_tiny_ones_do() {
        assert_eq!(limit(Some(f32::MAX), Some(f32::MAX)).flags, 0);
        let tiny = limit(Some(f32::from_bits(1)), Some(f32::from_bits(1)));
        assert_eq!(tiny.flags, flag::RATE_BYTES | flag::RATE_PACKETS);
        assert_eq!(tiny.packet_cost, 1 << 59);
        assert!(cost(&tiny, 64) >= COST_MAX);
    }

    #[test]
    fn only_a_plain_discard_only_drops() {
        let discard = Effect { policing: Policing::Discard, ..Effect::ACCEPT };
        assert!(only_drops(&line(&discard)));
        assert!(only_drops(&line(&Effect { mark: Some(1), ..discard })));
        assert!(!only_drops(&line(&Effect { sample: true, ..discard })));
        assert!(!only_drops(&line(&Effect { continues: true, ..discard })));
        assert!(!only_drops(&line(&Effect::ACCEPT)));
    }
}
