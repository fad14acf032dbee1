//! Attachments of the program. Each is a BPF link pinned in the BPF file system, so that it
//! outlives the daemon; the next run replaces the program behind it atomically, so filtering has no
//! gap.
//!
//! The names are `native-N` and `generic-N`, N being the interface's index.

use super::{Attach, sys};
use crate::{Attachment, DataplaneError, Interface};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One interface.
#[derive(Debug)]
struct Attached {
    name: String,
    native: bool,
    /// Why it is not in native mode although that was tried.
    fallback: Option<String>,
    link: OwnedFd,
}

/// All interfaces with our program.
#[derive(Debug)]
pub(super) struct Links {
    directory: PathBuf,
    /// By the interface's index.
    attached: BTreeMap<u32, Attached>,
    /// Interfaces that were reported as impossible to filter, and why.
    refused: BTreeMap<u32, String>,
}

impl Links {
    /// Takes over the links of an earlier run in the directory; pins without an interface are
    /// removed.
    pub(super) fn adopt(directory: &Path) -> Result<Self, DataplaneError> {
        let mut links = Links { directory: directory.to_owned(), attached: BTreeMap::new(), refused: BTreeMap::new() };
        for entry in std::fs::read_dir(directory).map_err(|source| io_error("read", directory, source))? {
            let path = entry.map_err(|source| io_error("read", directory, source))?.path();
            let Some((native, interface)) = path.file_name().and_then(|name| parse(name.to_str()?)) else { continue };
            let link = sys::pinned(&path).map_err(|source| io_error("open", &path, source))?;
            let is_there = sys::link_info(link.as_fd()).is_ok_and(|info| info.interface == interface);
            if is_there {
                let there = Attached { name: interface.to_string(), native, fallback: None, link };
                links.attached.insert(interface, there);
            } else {
                std::fs::remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
            }
        }
        Ok(links)
    }

    /// Attaches the program to exactly these interfaces, replacing the previous one if there is
    /// one. Those whose packets the program cannot read are left out, and recorded as refused.
    ///
    /// # Errors
    /// One of them refuses; then none of the others was changed.
    pub(super) fn install(
        &mut self,
        program: BorrowedFd<'_>,
        interfaces: &[(u32, String)],
        mode: Attach,
    ) -> Result<(), DataplaneError> {
        self.drop_vanished(interfaces);
        let (mut added, mut unreadable) = (Vec::new(), BTreeMap::new());
        for (interface, name) in interfaces {
            if let Some(why) = unreadable_link(name) {
                self.remove(*interface);
                if self.refused.get(interface) != Some(&why) {
                    tracing::error!(interface = name, why, "this interface is not filtered");
                }
                unreadable.insert(*interface, why);
                continue;
            }
            if let Some(there) = self.attached.get_mut(interface) {
                there.name.clone_from(name);
                match (mode, there.native) {
                    (Attach::Best, true) | (Attach::Native, true) | (Attach::Generic, false) => continue,
                    (Attach::Best, false) => {
                        there.fallback.get_or_insert_with(|| "found by an earlier run".to_owned());
                        continue;
                    }
                    // The kernel does not allow both modes at once, so this interface has a gap.
                    (Attach::Native, false) | (Attach::Generic, true) => self.remove(*interface),
                }
            }
            if let Err(error) = self.attach(program, *interface, name, mode) {
                for interface in added {
                    self.remove(interface);
                }
                return Err(error);
            }
            added.push(*interface);
        }
        self.refused = unreadable;
        for there in self.attached.values() {
            sys::exchange(there.link.as_fd(), program)
                .map_err(|source| attach_error(&format!("exchange the XDP program of {}", there.name), source))?;
        }
        self.detach_others(interfaces);
        self.pin_all()
    }

    /// Follows interfaces that come and go: attaches to new ones, and detaches from others.
    pub(super) fn follow(&mut self, program: BorrowedFd<'_>, interfaces: &[(u32, String)], mode: Attach) {
        self.drop_vanished(interfaces);
        self.detach_others(interfaces);
        self.refused.retain(|refused, _| interfaces.iter().any(|(interface, _)| interface == refused));
        for (interface, name) in interfaces {
            if self.attached.contains_key(interface) {
                continue;
            }
            let attached = match unreadable_link(name) {
                Some(why) => Err(why),
                None => self.attach(program, *interface, name, mode).map_err(|error| error.to_string()),
            };
            match attached {
                Ok(()) => drop(self.refused.remove(interface)),
                Err(why) => {
                    // Logged once, although it is tried at each check.
                    if self.refused.insert(*interface, why.clone()).as_ref() != Some(&why) {
                        tracing::error!(interface = name, why, "this interface is not filtered");
                    }
                }
            }
        }
    }

    /// The interfaces with our program, and those that cannot have it.
    pub(super) fn interfaces(&self, names: &[(u32, String)]) -> Vec<Interface> {
        let state = |(interface, name): &(u32, String)| {
            let attachment = match (self.attached.get(interface), self.refused.get(interface)) {
                (Some(there), _) if there.native => Attachment::Native,
                (Some(_), _) => Attachment::Generic,
                (None, Some(why)) => Attachment::None(why.clone()),
                (None, None) => Attachment::None("it is new: it is filtered within a second".to_owned()),
            };
            Interface { name: name.clone(), attachment }
        };
        names.iter().map(state).collect()
    }

    /// Whether our program is in native mode there; `None` if it is not attached.
    pub(super) fn is_native(&self, interface: u32) -> Option<bool> {
        self.attached.get(&interface).map(|there| there.native)
    }

    /// Whether it is known that our program cannot be there.
    pub(super) fn is_refused(&self, interface: u32) -> bool {
        self.refused.contains_key(&interface)
    }

    /// Interfaces that should be in native mode and are not.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = String> {
        self.attached.values().filter_map(|there| {
            let (name, why) = (&there.name, there.fallback.as_ref()?);
            Some(format!(
                "{name} is filtered in generic mode, which is slower: its driver does not take XDP programs ({why})"
            ))
        })
    }

    /// How another program changed our attachments, for people.
    pub(super) fn external_change(&self, program: u32) -> Option<String> {
        self.attached.iter().find_map(|(&interface, there)| {
            let name = &there.name;
            match sys::link_info(there.link.as_fd()) {
                Ok(info) if info.interface != interface => Some(format!("our XDP program was detached from {name}")),
                Ok(info) if info.program != program => Some(format!("another XDP program uses our link of {name}")),
                Ok(_) if !self.path(interface, there.native).exists() => {
                    Some(format!("the pin of our XDP program on {name} was removed"))
                }
                Ok(_) => None,
                Err(error) => Some(format!("the link of our XDP program on {name} cannot be read: {error}")),
            }
        })
    }

    /// Detaches the program from every interface.
    pub(super) fn clear(&mut self) -> Result<(), DataplaneError> {
        for (interface, there) in std::mem::take(&mut self.attached) {
            let path = self.path(interface, there.native);
            // The link of a removed interface is gone with it.
            let _ = sys::detach(there.link.as_fd());
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn attach(
        &mut self,
        program: BorrowedFd<'_>,
        interface: u32,
        name: &str,
        mode: Attach,
    ) -> Result<(), DataplaneError> {
        let doing = || format!("attach the XDP program to {name}");
        let attach = |native| sys::attach(program, interface, native).map_err(|error| attach_error(&doing(), error));
        let (native, fallback, link) = match mode {
            Attach::Native => (true, None, attach(true)?),
            Attach::Generic => (false, None, attach(false)?),
            Attach::Best => match sys::attach(program, interface, true) {
                Ok(link) => (true, None, link),
                Err(error) if is_taken(&error) => return Err(attach_error(&doing(), error)),
                Err(error) => {
                    let link = attach(false)?;
                    tracing::warn!(
                        interface = name, %error,
                        "its driver does not support XDP; generic mode is used, which filters the same and is slower"
                    );
                    (false, Some(error.to_string()), link)
                }
            },
        };
        let path = self.path(interface, native);
        // An old name of the interface with this index.
        let _ = std::fs::remove_file(&path);
        sys::pin(link.as_fd(), &path).map_err(|source| io_error("pin", &path, source))?;
        tracing::info!(interface = name, mode = if native { "native" } else { "generic" }, "XDP attached");
        self.attached.insert(interface, Attached { name: name.to_owned(), native, fallback, link });
        Ok(())
    }

    fn pin_all(&self) -> Result<(), DataplaneError> {
        for (&interface, there) in &self.attached {
            let path = self.path(interface, there.native);
            if !path.exists() {
                sys::pin(there.link.as_fd(), &path).map_err(|source| io_error("pin", &path, source))?;
            }
        }
        Ok(())
    }

    /// Drops dead links: the interface is gone, or somebody detached it.
    fn drop_vanished(&mut self, interfaces: &[(u32, String)]) {
        let dead = |(&interface, there): (&u32, &Attached)| {
            let gone = interfaces.iter().all(|(there, _)| *there != interface);
            let detached = sys::link_info(there.link.as_fd()).is_ok_and(|info| info.interface != interface);
            (gone && detached).then_some(interface)
        };
        let dead: Vec<u32> = self.attached.iter().filter_map(dead).collect();
        dead.into_iter().for_each(|interface| self.remove(interface));
    }

    fn detach_others(&mut self, interfaces: &[(u32, String)]) {
        let wanted: BTreeSet<u32> = interfaces.iter().map(|(interface, _)| *interface).collect();
        let unwanted: Vec<u32> = self.attached.keys().filter(|there| !wanted.contains(there)).copied().collect();
        unwanted.into_iter().for_each(|interface| self.remove(interface));
    }

    /// Drops links that somebody detached although the interface exists, so that they are made
    /// again.
    pub(super) fn forget_detached(&mut self) {
        let detached = |(&interface, there): (&u32, &Attached)| {
            sys::link_info(there.link.as_fd()).is_ok_and(|info| info.interface != interface).then_some(interface)
        };
        let detached: Vec<u32> = self.attached.iter().filter_map(detached).collect();
        detached.into_iter().for_each(|interface| self.remove(interface));
    }

    fn remove(&mut self, interface: u32) {
        let Some(there) = self.attached.remove(&interface) else { return };
        let _ = sys::detach(there.link.as_fd());
        let _ = std::fs::remove_file(self.path(interface, there.native));
        tracing::info!(interface = there.name, "XDP detached");
    }

    fn path(&self, interface: u32, native: bool) -> PathBuf {
        self.directory.join(format!("{}-{interface}", if native { "native" } else { "generic" }))
    }
}

/// Mode and interface index of a pin's name.
fn parse(name: &str) -> Option<(bool, u32)> {
    let (mode, interface) = name.split_once('-')?;
    let native = match mode {
        "native" => true,
        "generic" => false,
        _ => return None,
    };
    Some((native, interface.parse().ok()?))
}

/// Why the program cannot read the packets of a link: it expects the IP header after an Ethernet
/// header, and on a link without one it would read other octets. What generic mode shows of such a
/// link differs by kind: a tun device's packets begin with the IP header, those of a GRE tunnel
/// with the header of the outer packet. A missing interface is reported elsewhere.
fn unreadable_link(name: &str) -> Option<String> {
    // The loopback interface's packets have an Ethernet header of zeros.
    const READABLE: [u16; 2] = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK];
    let kind = sys::hardware_type(name).ok().filter(|kind| !READABLE.contains(kind))?;
    const IP6GRE: u16 = 823;
    let kind = match kind {
        libc::ARPHRD_NONE => "as of tun or WireGuard".to_owned(),
        libc::ARPHRD_PPP => "as of PPP".to_owned(),
        libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT | libc::ARPHRD_IPGRE | IP6GRE => {
            "as of an IP tunnel".to_owned()
        }
        other => format!("hardware type {other}"),
    };
    Some(format!(
        "its packets have no Ethernet header ({kind}), which XDP filters need; filter where they come from or go to, or use backend = \"nftables\""
    ))
}

/// Whether the error means that the interface has another program.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

fn attach_error(doing: &str, error: io::Error) -> DataplaneError {
    if is_taken(&error) {
        return DataplaneError::Refused(format!(
            "{doing}: another XDP program is there; take it off (`ip link show` names it) or leave the interface out"
        ));
    }
    DataplaneError::Refused(format!("{doing}: {error}"))
}

pub(super) fn io_error(doing: &str, path: &Path, source: io::Error) -> DataplaneError {
    DataplaneError::Io { context: format!("{doing} {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins() {
        assert_eq!(parse("native-12"), Some((true, 12)));
        assert_eq!(parse("generic-3"), Some((false, 3)));
        assert_eq!([parse("ids"), parse("native-x"), parse("other-1")], [None, None, None]);
    }
}
