//! Keeps the hardware addresses of redirect neighbours resolved. The program can use one only while
//! the kernel knows it, and redirected packets do not trigger resolution. So those neighbours are
//! made *managed* (Linux 5.16): the kernel keeps them resolved, also after the daemon has ended.
//! Entries of ours have our protocol number and are released when no rule needs them.

use crate::netlink::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Netlink, attributes, push, u16_at, u32_at};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NDA_DST: u16 = 1;
const NDA_PROTOCOL: u16 = 12;
const NDA_FLAGS_EXT: u16 = 15;
const NTF_USE: u8 = 1;
const NTF_EXT_MANAGED: u32 = 1;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
/// The protocol of our entries, as routing daemons mark their routes; no other program uses this
/// number.
const OURS: u8 = 0xf6;

/// A neighbour: the interface's index, and its address.
pub(super) type Neighbour = (u32, IpAddr);

/// Neighbours that are kept resolved.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    kept: BTreeSet<Neighbour>,
    /// Neighbours of an earlier run were searched for.
    adopted: bool,
    /// The kernel cannot manage neighbours: resolution is requested at each check.
    by_hand: bool,
}

impl Neighbours {
    /// Keeps exactly these resolved; `unresolved` are those whose address the kernel does not know
    /// now.
    pub(super) fn keep(&mut self, wanted: BTreeSet<Neighbour>, unresolved: &BTreeSet<Neighbour>) -> io::Result<()> {
        if wanted.is_empty() && self.kept.is_empty() && self.adopted {
            return Ok(());
        }
        let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
        if !self.adopted {
            self.kept = ours(&mut route)?;
            self.adopted = true;
        }
        for neighbour in self.kept.difference(&wanted) {
            // Perhaps gone with its interface.
            let _ = set_entry(&mut route, *neighbour, NTF_USE, None);
        }
        for neighbour in &wanted {
            if self.kept.contains(neighbour) && !unresolved.contains(neighbour) && !self.by_hand {
                continue;
            }
            if is_fixed(&mut route, *neighbour) {
                continue;
            }
            if !self.by_hand && set_entry(&mut route, *neighbour, 0, Some(NTF_EXT_MANAGED)).is_ok() {
                continue;
            }
            self.by_hand = true;
            set_entry(&mut route, *neighbour, NTF_USE, None)?;
        }
        self.kept = wanted;
        Ok(())
    }
}

/// Releases all neighbours that we manage, also those of an earlier run.
pub(super) fn release_all() {
    if let Err(error) = Neighbours::default().keep(BTreeSet::new(), &BTreeSet::new()) {
        tracing::warn!(%error, "cannot release the neighbours that were kept resolved for redirects");
    }
}

/// Whether the neighbour's address is static, or none is needed: such an entry is not ours to
/// change.
fn is_fixed(route: &mut Netlink, neighbour: Neighbour) -> bool {
    let entry = route.ask(RTM_GETNEIGH, 0, &body(neighbour, 0));
    let state = entry.ok().and_then(|found| u16_at(&found.first()?.body, 8));
    state.is_some_and(|state| state & (NUD_PERMANENT | NUD_NOARP) != 0)
}

/// The neighbours that we manage.
fn ours(route: &mut Netlink) -> io::Result<BTreeSet<Neighbour>> {
    let mut found = BTreeSet::new();
    for message in route.ask(RTM_GETNEIGH, NLM_F_DUMP, &[0; 12])? {
        let attributes = attributes(&message.body, 12);
        let of = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        let is_managed =
            of(NDA_FLAGS_EXT).and_then(|value| u32_at(value, 0)).is_some_and(|flags| flags & NTF_EXT_MANAGED != 0);
        let address = of(NDA_DST).and_then(|octets| {
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
        });
        if let (true, Some(&[OURS]), Some(address), Some(interface)) =
            (is_managed, of(NDA_PROTOCOL), address, u32_at(&message.body, 4))
        {
            found.insert((interface, address));
        }
    }
    Ok(found)
}

/// Creates an entry, or changes the existing one; its state and hardware address stay.
fn set_entry(route: &mut Netlink, neighbour: Neighbour, flags: u8, more: Option<u32>) -> io::Result<()> {
    let mut body = body(neighbour, flags);
    if let Some(more) = more {
        push(&mut body, NDA_FLAGS_EXT, &more.to_ne_bytes());
    }
    push(&mut body, NDA_PROTOCOL, &[if more.is_some() { OURS } else { 0 }]);
    route.ask(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body).map(drop)
}

/// family, padding, interface, state (none), flags, type, and the address
fn body((interface, address): Neighbour, flags: u8) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![family as u8, 0, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend([0, 0, flags, 0]);
    match address {
        IpAddr::V4(address) => push(&mut body, NDA_DST, &address.octets()),
        IpAddr::V6(address) => push(&mut body, NDA_DST, &address.octets()),
    }
    body
}
