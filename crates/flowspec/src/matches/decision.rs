//! What a list of rules does to a packet (RFC 8955 §5.1, §7.3, §7.7).
//!
//! The one deviation from the RFC is made here, for the oracle and everything compared with it:
//! messages of IPv6 neighbour discovery are not filtered (`docs/decisions/0032`).

use super::Mismatch;
use crate::effect::Effect;
use crate::packet::Packet;
use crate::rule::Rule;

/// Which rules apply to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The packet is in no VRF: VPN rules do not apply.
    Global,
    /// The packet is in the VRF to which the given rules belong: VPN rules apply, too.
    Vrf,
}

/// What a list of rules does to a packet.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decision {
    /// The rule that matched and ended the evaluation, by its position in the list.
    pub ended_by: Option<usize>,
    /// The rules before it that matched and continued (T bit), in order.
    pub continued: Vec<usize>,
    /// The combined effect of all of these: discard over the lowest rate of each unit; of several
    /// marks or redirects the first; sampled if one of them samples. [`Effect::ACCEPT`] if no rule
    /// matched. [`Effect::continues`] means that some rule matched and the evaluation still reached
    /// the end of the list.
    ///
    /// A limit of this effect is the lowest that applies. Each rule keeps its own policer.
    pub effect: Effect,
    /// The packet is one that no rule may filter, and why; no rule was evaluated.
    pub exempt: Option<Exemption>,
}

/// Packets that no rule may filter, whoever announces it and whatever is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exemption {
    /// [`Packet::is_neighbor_discovery`]: without these messages IPv6 stops working on the link,
    /// and with it the session that could withdraw the rule.
    NeighborDiscovery,
}

impl Exemption {
    /// Why no rule may filter the packet, if so.
    #[must_use]
    pub const fn of(packet: &Packet) -> Option<Self> {
        if packet.is_neighbor_discovery() { Some(Exemption::NeighborDiscovery) } else { None }
    }
}

impl std::fmt::Display for Exemption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exemption::NeighborDiscovery => {
                f.write_str("IPv6 neighbour discovery (ICMPv6 133-137, code 0, hop limit 255), which no rule filters")
            }
        }
    }
}

impl Decision {
    /// The rule to name as the deciding one: that which ended the evaluation, otherwise the last
    /// that matched and continued.
    #[must_use]
    pub fn rule(&self) -> Option<usize> {
        self.ended_by.or(self.continued.last().copied())
    }

    /// Every rule that matched, in order.
    pub fn matched(&self) -> impl Iterator<Item = usize> + '_ {
        self.continued.iter().copied().chain(self.ended_by)
    }
}

/// What `rules`, given in their order, do to `packet`: the first that matches ends the evaluation
/// unless its T bit says to continue.
pub fn decide<'a>(rules: impl IntoIterator<Item = &'a Rule>, packet: &Packet, scope: Scope) -> Decision {
    search(rules, packet, scope, |_, _| {})
}

/// As [`decide`], and why each earlier rule did not match.
pub fn explain<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    packet: &Packet,
    scope: Scope,
) -> (Decision, Vec<(usize, Mismatch<'a>)>) {
    let mut passed = Vec::new();
    let decision = search(rules, packet, scope, |index, mismatch| passed.push((index, mismatch)));
    (decision, passed)
}

fn search<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    packet: &Packet,
    scope: Scope,
    mut passed: impl FnMut(usize, Mismatch<'a>),
) -> Decision {
    let exempt = Exemption::of(packet);
    let mut decision = Decision { ended_by: None, continued: Vec::new(), effect: Effect::ACCEPT, exempt };
    if exempt.is_some() {
        return decision;
    }
    for (index, rule) in rules.into_iter().enumerate() {
        if scope == Scope::Global && rule.nlri.family().is_vpn() {
            passed(index, Mismatch::Vpn);
            continue;
        }
        if let Err(mismatch) = rule.nlri.matches(packet) {
            passed(index, mismatch);
            continue;
        }
        let effect = rule.effect();
        decision.effect = accumulate(decision.effect, effect);
        if !effect.continues {
            decision.ended_by = Some(index);
            break;
        }
        decision.continued.push(index);
    }
    decision
}

/// The effect of two rules that both match, `first` earlier than `second`.
fn accumulate(first: Effect, second: Effect) -> Effect {
    Effect {
        policing: first.policing.and(second.policing),
        mark: first.mark.or(second.mark),
        redirect: first.redirect.or(second.redirect),
        sample: first.sample || second.sample,
        continues: second.continues,
    }
}
