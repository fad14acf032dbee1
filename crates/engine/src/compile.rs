//! The compiler: a rule, for a data plane of given capabilities, as entries that enforce it
//! exactly, or the reason why there are none.
//!
//! The rule's [`Space`] is split along its fields into parts (pairwise disjoint, unless the data
//! plane lets entries overlap), each within what one entry can express. The parts are counted
//! before they are made.

use crate::capability::{Capabilities, Limitations};
use crate::import_policy::InterfaceSets;
use crate::plan::CompiledRule;
use crate::precedence::Exceptions;
use flowspec::{Action, Effect, IpVersion, Nlri, Policing, Redirect, Rule, Space};
use std::sync::Arc;

mod addresses;
mod limitations;
mod parts;
mod refusal;

pub use refusal::{Refusal, RefusalKind, UnsupportedAction};

/// The result of the compiler for a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The data plane enforces it exactly.
    Exact(CompiledRule),
    /// It is not enforced at all.
    Refused(Refusal),
}

/// Compiles one rule on its own. A rule that is limited to a set of interfaces is refused. Rules of
/// a list are compiled with [`compile_list`], because a refused rule may exempt packets from later
/// ones.
pub fn compile(rule: &Rule, capabilities: &Capabilities) -> Verdict {
    compile_rule(&Arc::new(rule.nlri.clone()), rule, capabilities)
}

/// Compiles a list of rules, given in any order; the verdicts are in the order given. A rule that
/// would act on packets which an earlier, refused rule exempts is refused as well
/// ([`RefusalKind::Exception`]).
pub fn compile_list(rules: &[Rule], capabilities: &Capabilities) -> Vec<Verdict> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by(|&a, &b| rules[a].nlri.cmp(&rules[b].nlri));
    let mut exceptions = Exceptions::default();
    let mut verdicts: Vec<Option<Verdict>> = vec![None; rules.len()];
    for at in order {
        let nlri = Arc::new(rules[at].nlri.clone());
        let effect = rules[at].effect();
        let verdict = match (compile_rule(&nlri, &rules[at], capabilities), exceptions.blocking(&nlri, &effect)) {
            (Verdict::Exact(_), Some(by)) => {
                Verdict::Refused(Refusal::new(RefusalKind::Exception { by }, capabilities))
            }
            (verdict, _) => verdict,
        };
        if matches!(verdict, Verdict::Refused(_)) {
            exceptions.insert(&nlri, &effect);
        }
        verdicts[at] = Some(verdict);
    }
    verdicts.into_iter().flatten().collect()
}

fn compile_rule(nlri: &Arc<Nlri>, rule: &Rule, capabilities: &Capabilities) -> Verdict {
    if let Err(kind) = check_interface_sets(&rule.actions, || InterfaceSets::Refuse) {
        return Verdict::Refused(Refusal::new(kind, capabilities));
    }
    let effect = enforced(rule.effect());
    match entries(nlri, Space::of(nlri), &effect, capabilities) {
        Ok(entries) => Verdict::Exact(CompiledRule { nlri: nlri.clone(), id: nlri.id(), effect, entries }),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// Whether a rule with these actions may be enforced on every filtered interface.
pub(crate) fn check_interface_sets(
    actions: &[Action],
    policy: impl FnOnce() -> InterfaceSets,
) -> Result<(), RefusalKind> {
    let set = actions.iter().find(|action| matches!(action, Action::InterfaceSet { .. }));
    match set {
        Some(set) if policy() == InterfaceSets::Refuse => Err(RefusalKind::InterfaceSet(*set)),
        Some(_) | None => Ok(()),
    }
}

/// The part of an effect that is enforced: a packet that is discarded is neither marked nor
/// redirected (RFC 8955 §7.7), but may be sampled or copied.
pub fn enforced(effect: Effect) -> Effect {
    match effect.policing {
        Policing::Discard => Effect {
            mark: None,
            redirect: effect.redirect.filter(|to| {
                matches!(to, Redirect::Address { copy: true, .. } | Redirect::UnknownNextHop { copy: true })
            }),
            ..effect
        },
        Policing::None | Policing::Limit { .. } => effect,
    }
}

/// The packets of a rule, `space`, in parts that entries of the data plane can express. `effect` is
/// one that [`enforced`] gave.
pub(crate) fn entries(
    nlri: &Nlri,
    space: Space,
    effect: &Effect,
    capabilities: &Capabilities,
) -> Result<Vec<Space>, Refusal> {
    let refuse = |kind| Refusal::new(kind, capabilities);
    if nlri.family().is_vpn() {
        return Err(refuse(RefusalKind::Vpn));
    }
    if nlri.family().version() == IpVersion::V6 && !capabilities.ipv6 {
        return Err(refuse(RefusalKind::Ipv6));
    }
    check_actions(effect, capabilities).map_err(refuse)?;
    let limitations = &capabilities.limitations;
    if let (true, Some(which)) = (limitations.strict, limitations.lets_through)
        && *effect != Effect::ACCEPT
        && which.meets(&space)
    {
        return Err(refuse(RefusalKind::LetThrough(which)));
    }
    let limited = matches!(effect.policing, Policing::Limit { .. });
    let entries = if limited && !capabilities.actions.shared_policer && capabilities.limitations.short_ranges > 0 {
        // A policer belongs to one entry: only a range of its own is possible.
        let limitations = Limitations { short_ranges: 0, ..capabilities.limitations.clone() };
        split_into_entries(space, &Capabilities { limitations, ..capabilities.clone() })
    } else {
        split_into_entries(space, capabilities)
    }
    .map_err(refuse)?;
    if limited && entries.len() > 1 && !capabilities.actions.shared_policer {
        return Err(refuse(RefusalKind::SharedPolicer { entries: entries.len() as u64 }));
    }
    let (needed, limit) = (capabilities.cost.of(&entries, effect), capabilities.max_entries_per_rule);
    if needed > limit {
        return Err(refuse(RefusalKind::TooManyEntries { needed, limit }));
    }
    Ok(entries)
}

/// A space in parts that entries of the data plane can express; none for the empty space.
///
/// # Errors
/// Why that is not possible.
pub fn split_into_entries(space: Space, capabilities: &Capabilities) -> Result<Vec<Space>, RefusalKind> {
    if space.is_empty() {
        return Ok(Vec::new());
    }
    addresses::check(&space, capabilities)?;
    parts::split(limitations::check(space, capabilities)?, capabilities)
}

fn check_actions(effect: &Effect, capabilities: &Capabilities) -> Result<(), RefusalKind> {
    let can = &capabilities.actions;
    let (bytes, packets) = match effect.policing {
        Policing::Limit { bytes, packets } => (bytes.is_some(), packets.is_some()),
        Policing::None | Policing::Discard => (false, false),
    };
    let (mut address, mut copy, mut vrf) = (false, false, false);
    match effect.redirect {
        None => {}
        Some(Redirect::Address { copy: c, .. }) => (address, copy) = (!c, c),
        Some(Redirect::Vrf(_)) => vrf = true,
        Some(Redirect::UnknownNextHop { .. }) => return Err(RefusalKind::UnknownNextHop),
    }
    let wanted = [
        (matches!(effect.policing, Policing::Discard), can.discard, UnsupportedAction::Discard),
        (bytes, can.rate_bytes, UnsupportedAction::RateBytes),
        (packets, can.rate_packets, UnsupportedAction::RatePackets),
        (effect.mark.is_some(), can.mark, UnsupportedAction::Mark),
        (effect.sample, can.sample, UnsupportedAction::Sample),
        (address, can.redirect_address, UnsupportedAction::RedirectAddress),
        (copy, can.copy_address, UnsupportedAction::CopyAddress),
        (vrf, can.redirect_vrf, UnsupportedAction::RedirectVrf),
        (effect.continues, can.continues, UnsupportedAction::Continue),
        (effect.continues && effect.mark.is_some(), can.mark_continues, UnsupportedAction::MarkContinue),
    ];
    match wanted.into_iter().find(|&(wanted, can, _)| wanted && !can) {
        Some((_, _, kind)) => Err(RefusalKind::Action(kind)),
        None if capabilities.limitations.one_action
            && [bytes, packets, effect.mark.is_some()].map(usize::from).iter().sum::<usize>() > 1 =>
        {
            Err(RefusalKind::SeveralActions)
        }
        None => match (effect.policing, capabilities.limitations.byte_rate_unit) {
            (Policing::Limit { bytes: Some(rate), .. }, Some(unit)) if rate < unit => {
                Err(RefusalKind::LowRate(unit as u64))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
