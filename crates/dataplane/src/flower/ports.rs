//! The interfaces whose packets meet the filters: each has a queueing discipline `clsact` with our
//! block.

use super::counts::told;
use super::driver::Driver;
use super::encode::tcmsg;
use super::kernel::{Kernel, Refusal, Request};
use super::numbers::FIRST_CHAIN;
use super::pkt_cls::*;
use super::settings::Settings;
use crate::interface_names::patterns_match;
use crate::netlink::{Attributes, NLM_F_CREATE, NLM_F_EXCL, push, u32_at};
use crate::{Attachment, DataplaneError, Interface};
use std::collections::{BTreeMap, BTreeSet};

/// The interfaces that are meant, and how each is filtered.
#[derive(Debug, Default)]
pub(super) struct Ports {
    interfaces: Vec<Interface>,
    /// Numbers of those that are filtered.
    attached: Vec<u32>,
}

/// Why packets of an interface do not meet the filters.
#[derive(Debug, thiserror::Error)]
enum NotAttached {
    #[error("it has a clsact or ingress qdisc of another program; remove that, or leave the interface out")]
    OfSomebodyElse,
    #[error("its driver is {other}, and not {driver}")]
    OtherDriver { other: String, driver: Driver },
    #[error("it is not a port of a switch with the driver {driver}")]
    NoSwitchPort { driver: Driver },
    #[error("a clsact qdisc cannot be added: {0}")]
    Refused(Refusal),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A `clsact` or `ingress` of an interface.
struct Discipline {
    block: Option<u32>,
}

impl Ports {
    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Numbers of those that are filtered.
    pub(super) fn attached(&self) -> &[u32] {
        &self.attached
    }

    /// Whether packets of one interface at least meet the filters.
    pub(super) fn is_filtering(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Looks at all interfaces, and gives our block to those that are meant and have none. A
    /// discipline of somebody else stays as it is. Returns whether one that had our block has lost
    /// it.
    pub(super) fn attach(&mut self, kernel: &mut dyn Kernel, settings: &Settings) -> Result<bool, DataplaneError> {
        let links = kernel.links().map_err(io("listing interfaces"))?;
        let disciplines = disciplines(kernel)?;
        let before = std::mem::take(self);
        let patterns = || settings.interfaces.iter().map(String::as_str);
        let mut lost = false;
        // A VRF's packets were filtered where they came in.
        let meant =
            links.iter().filter(|link| patterns_match(patterns(), &link.name) && link.kind.as_deref() != Some("vrf"));
        for link in meant {
            let attached = match disciplines.get(&link.index) {
                Some(Discipline { block: Some(block) }) if *block == settings.block => Ok(()),
                Some(Discipline { .. }) => Err(NotAttached::OfSomebodyElse),
                None => {
                    lost |= before.attached.contains(&link.index);
                    fits(kernel, &link.name, settings.driver).and_then(|()| add(kernel, link.index, settings.block))
                }
            };
            let attachment = match attached {
                Ok(()) => {
                    self.attached.push(link.index);
                    if settings.driver.is_hardware() { Attachment::Native } else { Attachment::Generic }
                }
                Err(why) => Attachment::None(why.to_string()),
            };
            self.interfaces.push(Interface { name: link.name.clone(), attachment });
        }
        for pattern in patterns().filter(|pattern| !pattern.starts_with('!')) {
            if !links.iter().any(|link| patterns_match([pattern], &link.name)) {
                let attachment = Attachment::None("no interface has this name".to_owned());
                self.interfaces.push(Interface { name: pattern.to_owned(), attachment });
            }
        }
        Ok(lost)
    }
}

/// Takes our block from all interfaces but these. One whose discipline has filters of others, for
/// packets that go out, keeps it, without ours.
pub(super) fn detach(kernel: &mut dyn Kernel, block: u32, but: &[u32]) -> Result<(), DataplaneError> {
    for (index, discipline) in disciplines(kernel)? {
        if discipline.block != Some(block) || but.contains(&index) || has_others(kernel, index)? {
            continue;
        }
        let mut body = tcmsg(index, 0xffff_0000, TC_H_CLSACT, 0);
        push(&mut body, TCA_KIND, b"clsact\0");
        let outcome = kernel.execute(&[Request { kind: RTM_DELQDISC, flags: 0, body }]).map_err(io("talking to tc"))?;
        if let Some(Err(refusal)) = outcome.first()
            && !matches!(refusal.errno, libc::ENOENT | libc::ENODEV | libc::EINVAL)
        {
            return Err(DataplaneError::Refused(format!("a clsact qdisc cannot be removed: {refusal}")));
        }
    }
    Ok(())
}

/// Takes blocks that an earlier run of Floodgate filled, under another number, from the interfaces:
/// they keep the block that they have. They are then without filters until ours is filled.
pub(super) fn leave_other_blocks(kernel: &mut dyn Kernel, block: u32) -> Result<(), DataplaneError> {
    let others: BTreeSet<u32> = disciplines(kernel)?.into_values().filter_map(|discipline| discipline.block).collect();
    for other in others.into_iter().filter(|other| *other != block) {
        let first = told(kernel, FIRST_CHAIN, other).map_err(io("listing filters"))?;
        if !first.is_empty() && first.iter().all(|filter| filter.purpose.is_some()) {
            detach(kernel, other, &[])?;
        }
    }
    Ok(())
}

fn has_others(kernel: &mut dyn Kernel, index: u32) -> Result<bool, DataplaneError> {
    let filters = kernel.dump(RTM_GETTFILTER, &tcmsg(index, 0, TC_H_EGRESS, 0)).map_err(io("listing filters"))?;
    Ok(!filters.is_empty())
}

fn disciplines(kernel: &mut dyn Kernel) -> Result<BTreeMap<u32, Discipline>, DataplaneError> {
    let mut found = BTreeMap::new();
    for body in kernel.dump(RTM_GETQDISC, &tcmsg(0, 0, 0, 0)).map_err(io("listing qdiscs"))? {
        let (Some(index), Some(TC_H_CLSACT)) = (u32_at(&body, 4), u32_at(&body, 12)) else { continue };
        let attributes = Attributes(body.get(TCMSG..).unwrap_or_default());
        let block = attributes.find(TCA_INGRESS_BLOCK).and_then(|value| u32_at(value, 0)).filter(|block| *block != 0);
        found.insert(index, Discipline { block });
    }
    Ok(found)
}

/// Whether the port is one of the driver that its filters are made for.
fn fits(kernel: &mut dyn Kernel, interface: &str, driver: Driver) -> Result<(), NotAttached> {
    let expected = driver.port_drivers();
    if expected.is_empty() {
        return Ok(());
    }
    match kernel.driver(interface) {
        Some(name) if expected.iter().any(|start| name.to_lowercase().starts_with(start)) => Ok(()),
        Some(other) => Err(NotAttached::OtherDriver { other, driver }),
        None => Err(NotAttached::NoSwitchPort { driver }),
    }
}

fn add(kernel: &mut dyn Kernel, index: u32, block: u32) -> Result<(), NotAttached> {
    let mut body = tcmsg(index, 0xffff_0000, TC_H_CLSACT, 0);
    push(&mut body, TCA_KIND, b"clsact\0");
    push(&mut body, TCA_INGRESS_BLOCK, &block.to_ne_bytes());
    let request = Request { kind: RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_EXCL, body };
    match kernel.execute(&[request])?.pop() {
        Some(Err(refusal)) => Err(NotAttached::Refused(refusal)),
        Some(Ok(())) | None => Ok(()),
    }
}

/// For an error of the operating system: what was being done.
pub(super) fn io(context: &'static str) -> impl Fn(std::io::Error) -> DataplaneError {
    move |source| match source.raw_os_error() {
        Some(libc::EPERM) => {
            DataplaneError::Unavailable("changing tc filters needs the right CAP_NET_ADMIN".to_owned())
        }
        _ => DataplaneError::Io { context: context.to_owned(), source },
    }
}
