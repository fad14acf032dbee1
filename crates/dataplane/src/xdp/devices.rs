//! The interfaces that the program may redirect to.
//!
//! A packet received in native mode can be sent by another driver only if that has `ndo_xdp_xmit`,
//! by some only while they have a program themselves (a veth: while its peer has one, or generic
//! receive offload). On any other interface the kernel drops a redirected packet. Since Linux 6.3
//! it reports each interface's abilities (generic netlink family `netdev`); the program reads them
//! from a table, which a thread updates on the kernel's notifications. In generic mode the kernel
//! sends on any interface whose frames are Ethernet.

use super::sys;
use crate::netlink::{NLM_F_DUMP, Netlink, attributes, push, u16_at, u32_at, u64_at};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Values of the program's table `devices`, as in `bpf/maps.h`.
const TAKES_XDP_FRAMES: u32 = 1;
const TAKES_ETHERNET: u32 = 2;
const IS_GENERIC: u32 = 4;

const RTM_GETLINK: u16 = 18;
const RTNLGRP_LINK: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const ARPHRD_ETHER: u16 = 1;
const IFF_UP: u32 = 1;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const XDP_ACT_BASIC: u64 = 1;
const XDP_ACT_NDO_XMIT: u64 = 4;
/// The header of a generic netlink message.
const GENL_HEADER: usize = 4;

/// The properties of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    ethernet: bool,
    up: bool,
    features: u64,
}

impl Device {
    /// Whether its driver takes programs.
    pub(super) fn takes_programs(&self) -> bool {
        self.features & XDP_ACT_BASIC != 0
    }

    /// Why packets received in native or in generic mode cannot be sent there.
    pub(super) fn cannot_send(&self, native: bool) -> Option<&'static str> {
        match (self.up, native, self.ethernet, self.features & XDP_ACT_NDO_XMIT != 0) {
            (false, ..) => Some("is down"),
            (true, _, false, _) => Some("is not Ethernet"),
            (true, true, true, false) => Some(
                "cannot send what another driver received (its driver does not, or not without an XDP program of its own)",
            ),
            (true, false, true, _) | (true, true, true, true) => None,
        }
    }

    fn line(&self, is_generic: bool) -> u32 {
        let flag = |when: bool, flag: u32| if when { flag } else { 0 };
        flag(self.cannot_send(true).is_none(), TAKES_XDP_FRAMES)
            | flag(self.cannot_send(false).is_none(), TAKES_ETHERNET)
            | flag(is_generic, IS_GENERIC)
    }
}

/// Reads the interfaces of this network namespace, by index.
pub(super) fn devices() -> io::Result<BTreeMap<u32, Device>> {
    let mut found = BTreeMap::new();
    // family, padding, type (16 bits), index, flags, change
    for link in Netlink::open(libc::NETLINK_ROUTE)?.ask(RTM_GETLINK, NLM_F_DUMP, &[0; 16])? {
        let (Some(kind), Some(index), Some(flags)) =
            (u16_at(&link.body, 2), u32_at(&link.body, 4), u32_at(&link.body, 8))
        else {
            continue;
        };
        let attributes = attributes(&link.body, 16);
        let name = attributes.iter().find(|(kind, _)| *kind == IFLA_IFNAME);
        let name = name.and_then(|(_, name)| CStr::from_bytes_until_nul(name).ok());
        let name = name.map_or_else(|| index.to_string(), |name| name.to_string_lossy().into_owned());
        let device = Device { name, ethernet: kind == ARPHRD_ETHER, up: flags & IFF_UP != 0, features: 0 };
        found.insert(index, device);
    }
    let mut generic = Netlink::open(libc::NETLINK_GENERIC)?;
    // Before Linux 6.3 the abilities of drivers are not known.
    let Ok((family, _)) = netdev_family(&mut generic) else { return Ok(found) };
    for device in generic.ask(family, NLM_F_DUMP, &[NETDEV_CMD_DEV_GET, 1, 0, 0])? {
        let attributes = attributes(&device.body, GENL_HEADER);
        let of = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        let index = of(NETDEV_A_DEV_IFINDEX).and_then(|value| u32_at(value, 0));
        let features = of(NETDEV_A_DEV_XDP_FEATURES).and_then(|value| u64_at(value, 0));
        if let (Some(device), Some(features)) = (index.and_then(|index| found.get_mut(&index)), features) {
            device.features = features;
        }
    }
    Ok(found)
}

/// The ids of the family `netdev` and of its group for notifications of changes.
fn netdev_family(generic: &mut Netlink) -> io::Result<(u16, u32)> {
    let mut body = vec![CTRL_CMD_GETFAMILY, 2, 0, 0];
    push(&mut body, CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    let answer = generic.ask(GENL_ID_CTRL, 0, &body)?;
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the kernel has no netlink family netdev");
    let attributes_of = answer.first().map(|message| attributes(&message.body, GENL_HEADER)).ok_or_else(unknown)?;
    let of = |wanted: u16| attributes_of.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let family = of(CTRL_ATTR_FAMILY_ID).and_then(|value| u16_at(value, 0)).ok_or_else(unknown)?;
    let groups = attributes(of(CTRL_ATTR_MCAST_GROUPS).unwrap_or_default(), 0);
    let group = groups.into_iter().map(|(_, group)| attributes(group, 0)).find(|group| {
        group.iter().any(|(kind, value)| *kind == CTRL_ATTR_MCAST_GRP_NAME && value.starts_with(b"mgmt\0"))
    });
    let group = group.and_then(|group| {
        group.iter().find(|(kind, _)| *kind == CTRL_ATTR_MCAST_GRP_ID).and_then(|(_, value)| u32_at(value, 0))
    });
    Ok((family, group.ok_or_else(unknown)?))
}

/// The program's table of interfaces, updated by a thread as long as this value lives.
#[derive(Debug)]
pub(super) struct Devices {
    state: Arc<Mutex<State>>,
    /// Any write to it ends the thread.
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    table: Option<OwnedFd>,
    /// Interfaces on which the program is in generic mode.
    generic: BTreeSet<u32>,
    written: BTreeMap<u32, u32>,
    known: BTreeMap<u32, Device>,
}

impl Devices {
    /// Fills the table, and starts the thread.
    pub(super) fn follow(table: BorrowedFd<'_>) -> io::Result<Self> {
        let news = news()?;
        let state = Arc::new(Mutex::new(State { table: Some(table.try_clone_to_owned()?), ..State::default() }));
        lock(&state).refresh()?;
        let stop = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        let (seen, ended) = (state.clone(), stop.try_clone()?);
        let hear = move || {
            while wait(&news, ended.as_fd()) {
                news.iter().for_each(Netlink::drain);
                if let Err(error) = lock(&seen).refresh() {
                    tracing::warn!(%error, "cannot read which interfaces packets can be redirected to");
                }
            }
        };
        let thread = std::thread::Builder::new().name("xdp devices".to_owned()).spawn(hear)?;
        Ok(Devices { state, stop, thread: Some(thread) })
    }

    /// Reads all interfaces; `generic` are those on which the program is in generic mode.
    pub(super) fn refresh(&self, generic: BTreeSet<u32>) -> io::Result<BTreeMap<u32, Device>> {
        let mut state = lock(&self.state);
        state.generic = generic;
        state.refresh()?;
        Ok(state.known.clone())
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    /// Updates the table.
    fn refresh(&mut self) -> io::Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        self.known = devices()?;
        let wanted: BTreeMap<u32, u32> = self
            .known
            .iter()
            .map(|(&index, device)| (index, device.line(self.generic.contains(&index))))
            .filter(|(_, line)| *line != 0)
            .collect();
        for (&index, &line) in &wanted {
            if self.written.get(&index) != Some(&line) {
                sys::put(table.as_fd(), index, line)?;
                self.written.insert(index, line);
            }
        }
        let gone: Vec<u32> = self.written.keys().filter(|index| !wanted.contains_key(index)).copied().collect();
        for index in gone {
            sys::map_delete(table.as_fd(), index)?;
            self.written.remove(&index);
        }
        Ok(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each refresh begins with the kernel's state, so whatever a panic left is corrected.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sockets for the kernel's notifications of changed interfaces.
fn news() -> io::Result<Vec<Netlink>> {
    let links = Netlink::open(libc::NETLINK_ROUTE)?;
    links.join(RTNLGRP_LINK)?;
    let mut generic = Netlink::open(libc::NETLINK_GENERIC)?;
    match netdev_family(&mut generic) {
        Ok((_, group)) => generic.join(group)?,
        Err(_) => return Ok(vec![links]),
    }
    Ok(vec![links, generic])
}

/// Waits for a notification; false at the end.
fn wait(news: &[Netlink], stop: BorrowedFd<'_>) -> bool {
    let mut fds: Vec<PollFd<'_>> = news.iter().map(|news| PollFd::new(news, PollFlags::IN)).collect();
    fds.push(PollFd::from_borrowed_fd(stop, PollFlags::IN));
    loop {
        match poll(&mut fds, None) {
            Ok(_) => return fds.last().is_some_and(|stop| stop.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_sent_where() {
        let device = |ethernet, up, features| Device { name: String::new(), ethernet, up, features };
        let line = |device: Device| device.line(false);
        assert_eq!(line(device(true, true, XDP_ACT_BASIC | XDP_ACT_NDO_XMIT)), TAKES_XDP_FRAMES | TAKES_ETHERNET);
        assert_eq!(line(device(true, true, XDP_ACT_BASIC)), TAKES_ETHERNET);
        assert_eq!(line(device(false, true, XDP_ACT_NDO_XMIT)), 0, "frames of another kind");
        assert_eq!(line(device(true, false, XDP_ACT_NDO_XMIT)), 0, "down");
        assert_eq!(device(true, false, 0).line(true), IS_GENERIC);
    }

    /// A change that the kernel makes by itself, or that comes by /sys, was requested by no socket.
    #[test]
    fn changes_that_nobody_asked_for_over_netlink_are_heard() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let heard = std::thread::spawn(|| {
            // SAFETY: this thread alone enters a network namespace of its own, and ends in it.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            let news = news().unwrap();
            let change = "mount -t sysfs none /sys && echo 1400 > /sys/class/net/lo/mtu";
            let changed = std::process::Command::new("unshare").args(["-m", "sh", "-c", change]).status().unwrap();
            assert!(changed.success());
            let mut fds = [PollFd::new(&news[0], PollFlags::IN)];
            let time = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            poll(&mut fds, Some(&time)).unwrap()
        });
        assert_eq!(heard.join().unwrap(), 1);
    }

    #[test]
    fn the_loopback_interface_is_known() {
        let devices = devices().unwrap();
        let (_, loopback) = devices.iter().find(|(_, device)| device.name == "lo").unwrap();
        assert!(!loopback.ethernet && loopback.cannot_send(false).is_some(), "{loopback:?}");
    }
}
