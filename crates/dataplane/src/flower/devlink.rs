//! Asks a switch's driver, through devlink, how many of its flow counters are in use: on mlxsw each
//! filter takes two.

use crate::netlink::{Attributes, Netlink, push, u16_at, u64_at};
use std::io;

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const DEVLINK_CMD_RESOURCE_DUMP: u8 = 36;
const DEVLINK_ATTR_BUS_NAME: u16 = 1;
const DEVLINK_ATTR_DEV_NAME: u16 = 2;
const DEVLINK_ATTR_RESOURCE_LIST: u16 = 63;
const DEVLINK_ATTR_RESOURCE: u16 = 64;
const DEVLINK_ATTR_RESOURCE_NAME: u16 = 65;
const DEVLINK_ATTR_RESOURCE_SIZE: u16 = 67;
const DEVLINK_ATTR_RESOURCE_OCC: u16 = 74;
/// Octets of `struct genlmsghdr`.
const GENLMSGHDR: usize = 4;

/// How much of a resource is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Occupancy {
    pub(super) size: u64,
    pub(super) used: u64,
}

/// The flow counters of a device; `None` if its driver does not tell.
pub(super) fn flow_counters(bus: &str, device: &str) -> io::Result<Option<Occupancy>> {
    let mut socket = Netlink::open(libc::NETLINK_GENERIC)?;
    let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    push(&mut body, CTRL_ATTR_FAMILY_NAME, b"devlink\0");
    let answer = socket.ask(GENL_ID_CTRL, 0, &body)?;
    let family = answer
        .first()
        .and_then(|message| u16_at(Attributes(message.body.get(GENLMSGHDR..)?).find(CTRL_ATTR_FAMILY_ID)?, 0));
    let Some(family) = family else { return Ok(None) };
    let mut body = vec![DEVLINK_CMD_RESOURCE_DUMP, 1, 0, 0];
    for (kind, name) in [(DEVLINK_ATTR_BUS_NAME, bus), (DEVLINK_ATTR_DEV_NAME, device)] {
        push(&mut body, kind, &[name.as_bytes(), &[0]].concat());
    }
    let answer = socket.ask(family, 0, &body)?;
    Ok(answer.iter().find_map(|message| {
        let resources = Attributes(message.body.get(GENLMSGHDR..)?).inside(DEVLINK_ATTR_RESOURCE_LIST)?;
        find(resources, &["counters", "flow"])
    }))
}

/// The resource at this path of names.
fn find(resources: Attributes<'_>, path: &[&str]) -> Option<Occupancy> {
    let (name, rest) = path.split_first()?;
    let mut named = resources.filter(|(kind, _)| *kind == DEVLINK_ATTR_RESOURCE).map(|(_, value)| Attributes(value));
    let resource = named.find(|resource| {
        let value = resource.find(DEVLINK_ATTR_RESOURCE_NAME).unwrap_or_default();
        value.strip_suffix(&[0]).unwrap_or(value) == name.as_bytes()
    })?;
    if !rest.is_empty() {
        return find(resource.inside(DEVLINK_ATTR_RESOURCE_LIST)?, rest);
    }
    let number = |kind| resource.find(kind).and_then(|value| u64_at(value, 0));
    Some(Occupancy { size: number(DEVLINK_ATTR_RESOURCE_SIZE)?, used: number(DEVLINK_ATTR_RESOURCE_OCC)? })
}

#[cfg(test)]
mod tests {
    use super::super::encode::nest;
    use super::*;

    fn resource(body: &mut Vec<u8>, name: &[u8], numbers: Option<(u64, u64)>, inside: &[(&[u8], (u64, u64))]) {
        nest(body, DEVLINK_ATTR_RESOURCE, |body| {
            push(body, DEVLINK_ATTR_RESOURCE_NAME, name);
            if let Some((size, used)) = numbers {
                push(body, DEVLINK_ATTR_RESOURCE_SIZE, &size.to_ne_bytes());
                push(body, DEVLINK_ATTR_RESOURCE_OCC, &used.to_ne_bytes());
            }
            if !inside.is_empty() {
                nest(body, DEVLINK_ATTR_RESOURCE_LIST, |body| {
                    inside.iter().for_each(|(name, numbers)| resource(body, name, Some(*numbers), &[]));
                });
            }
        });
    }

    #[test]
    fn flow_counters_are_found_among_the_resources() {
        let mut body = Vec::new();
        resource(&mut body, b"kvd\0", Some((258_048, 0)), &[(b"linear\0", (98_304, 10))]);
        let counters: &[(&[u8], (u64, u64))] = &[(b"rif\0", (3072, 4)), (b"flow\0", (18_432, 240))];
        resource(&mut body, b"counters\0", Some((21_504, 0)), counters);
        resource(&mut body, b"flow\0", Some((1, 1)), &[]);
        let found = |path: &[&str]| find(Attributes(&body), path);
        assert_eq!(found(&["counters", "flow"]), Some(Occupancy { size: 18_432, used: 240 }));
        assert_eq!(found(&["counters", "others"]), None);
        assert_eq!(found(&["kvd", "flow"]), None);
        assert_eq!(find(Attributes(&body[..20]), &["counters", "flow"]), None, "cut off");
    }

    #[test]
    fn a_device_that_is_none_is_reported_as_an_error_or_as_nothing() {
        assert!(!matches!(flow_counters("pci", "9999:00:00.0"), Ok(Some(_))));
    }
}
