//! What nftables can match and do.

use super::limit::{MAX_BYTES, MAX_PACKETS};
use engine::capability::{Ability, ActionAbility, Capabilities};
use flowspec::ComponentType;

/// Most rules of nf_tables, or elements, that one rule may become.
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
        // The rules that follow would see the new DSCP.
        mark_continues: false,
        ..capabilities.actions
    };
    capabilities
        .with_field(ComponentType::Destination, Ability::Masked)
        .with_field(ComponentType::Source, Ability::Masked)
        .with_field(ComponentType::TcpFlags, Ability::Masked)
        .with_field(ComponentType::Fragment, Ability::Set)
}
