//! The network interfaces of this namespace, with their kinds and masters.

use crate::netlink::{NLM_F_DUMP, Netlink, attributes, u32_at};
use std::ffi::CStr;
use std::io;

const RTM_GETLINK: u16 = 18;
/// Octets of a link's message before its attributes: family, padding, type, index, flags, change.
const HEADER: usize = 16;
const INDEX: usize = 4;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind: `vrf`, `bridge`, `vlan`, `veth` and so on; `None` for a network card.
    pub kind: Option<String>,
    /// The index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
}

/// The interfaces of the network namespace of this thread.
///
/// # Errors
/// The kernel did not list them.
pub fn links() -> io::Result<Vec<Link>> {
    links_of(&mut Netlink::open(libc::NETLINK_ROUTE)?)
}

/// The interfaces of the network namespace of a socket of `NETLINK_ROUTE`.
pub(crate) fn links_of(socket: &mut Netlink) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    for message in socket.ask(RTM_GETLINK, NLM_F_DUMP, &[0; HEADER])? {
        let Some(index) = u32_at(&message.body, INDEX) else { continue };
        let mut link = Link { index, name: String::new(), kind: None, master: None };
        for (kind, value) in attributes(&message.body, HEADER) {
            match kind {
                IFLA_IFNAME => link.name = text(value),
                IFLA_MASTER => link.master = u32_at(value, 0),
                IFLA_LINKINFO => {
                    let kinds = attributes(value, 0);
                    link.kind = kinds.iter().find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, value)| text(value));
                }
                _ => {}
            }
        }
        links.push(link);
    }
    Ok(links)
}

fn text(value: &[u8]) -> String {
    // A name ends with a NUL, a kind may.
    let value = CStr::from_bytes_until_nul(value).map_or(value, CStr::to_bytes);
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_a_loopback_interface_of_no_kind() {
        let links = super::links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("loopback");
        assert_eq!((lo.index, lo.kind.as_deref(), lo.master), (1, None, None));
    }
}
