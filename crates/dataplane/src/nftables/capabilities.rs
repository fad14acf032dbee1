//! What nftables can match and do.

use super::limit::{MAX_BYTES, MAX_PACKETS};
use crate::RuleFailure;
use engine::capability::{Ability, ActionAbility, Capabilities};
use engine::plan::CompiledRule;
use flowspec::{ComponentType, Effect, Policing};

/// Most nf_tables rules, or elements, for one rule.
pub(super) const MAX_MEMBERS: usize = 4096;

/// What nftables can match and do.
pub fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::everything("nftables");
    capabilities.fields = [Ability::Range; 13];
    capabilities.max_entries_per_rule = MAX_MEMBERS as u64;
    capabilities.limitations.highest_rates = Some((MAX_BYTES, MAX_PACKETS));
    capabilities.actions = ActionAbility {
        redirect_address: false,
        copy_address: false,
        redirect_vrf: false,
        // Later rules would see the new DSCP.
        mark_continues: false,
        ..capabilities.actions
    };
    capabilities
        .with_field(ComponentType::Destination, Ability::Masked)
        .with_field(ComponentType::Source, Ability::Masked)
        .with_field(ComponentType::TcpFlags, Ability::Masked)
        .with_field(ComponentType::Fragment, Ability::Set)
}

/// Why a rule cannot be enforced exactly, if so, apart from the capabilities.
pub(super) fn refuse(rule: &CompiledRule) -> Option<RuleFailure> {
    let Effect { policing, mark, redirect, continues, .. } = rule.effect;
    let reason = if rule.nlri.family().is_vpn() {
        "nftables filters packets before they belong to a VRF, so a VPN rule cannot be distinguished from another"
    } else if redirect.is_some() {
        "nftables cannot redirect before the routing decision"
    } else if continues && mark.is_some() && policing != Policing::Discard {
        "nftables would show the new DSCP to the rules that follow, so a mark must end the evaluation"
    } else {
        return None;
    };
    Some(RuleFailure::Failed(reason.to_owned()))
}
