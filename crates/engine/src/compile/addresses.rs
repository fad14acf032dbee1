//! Can the data plane compare these addresses? A prefix is one entry or none: it is never split.

use super::refusal::RefusalKind;
use crate::capability::{Ability, Capabilities};
use flowspec::{ComponentType, Prefix, Space};

pub(super) fn check(space: &Space, capabilities: &Capabilities) -> Result<(), RefusalKind> {
    let addresses = [(ComponentType::Destination, space.destination()), (ComponentType::Source, space.source())];
    for (field, prefix) in addresses {
        let Some(prefix) = prefix else { continue };
        let (offset, whole) = match prefix {
            Prefix::V4(net) => (0, net.prefix_len() == 32),
            Prefix::V6(pattern) => (pattern.offset(), pattern.offset() == 0 && pattern.length() == 128),
        };
        match capabilities.field(field) {
            Ability::Unsupported => return Err(RefusalKind::Field(field)),
            Ability::Value if !whole => return Err(RefusalKind::WholeAddress(field)),
            Ability::Value | Ability::Masked | Ability::Range | Ability::Ranges(_) | Ability::Set => {}
        }
        if offset > 0 && !capabilities.ipv6_offset {
            return Err(RefusalKind::Offset(field));
        }
    }
    Ok(())
}
