//! Dumps of our tables: before a full load, to remove the old contents; between changes, to detect
//! changes by other programs; and the counters.

use super::changes::CounterTransfer;
use super::counts::{Count, InitialCounts};
use super::inventory::{ChainInventory, Fingerprint, Inventory, SetInventory, handle};
use super::names::{Counts, Name, rule_of_comment};
use super::nf_tables::*;
use super::socket::Socket;
use super::table::{BASE, CHAIN_TYPE, POLICY, PRIORITY, TABLE, family_name};
use super::wire::Writer;
use crate::DataplaneError;
use crate::kernel::{PerVersion, VERSIONS};
use crate::netlink::Attributes;
use flowspec::{IpVersion, RuleId};
use std::collections::BTreeMap;

/// The contents of our table before a full load.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) table: bool,
    /// The handle of the table.
    pub(super) handle: Option<u64>,
    /// The highest handle of anything in it.
    pub(super) last: u64,
    /// It is dormant: the kernel does not call its chains.
    pub(super) dormant: bool,
    /// The base chain exists and has the right hook.
    pub(super) base: bool,
    /// Chains other than a usable base chain.
    pub(super) chains: Vec<String>,
    pub(super) sets: Vec<String>,
    pub(super) counters: Vec<String>,
    /// Named objects of types that we do not create: type and name.
    pub(super) others: Vec<(u32, String)>,
}

/// Differences from what we left.
pub(super) fn damage(
    socket: &mut Socket,
    inventories: &PerVersion<Inventory>,
) -> Result<Option<String>, DataplaneError> {
    for version in VERSIONS {
        if let Some(damage) = damage_of(socket, version, inventories.of(version))? {
            return Ok(Some(damage));
        }
    }
    Ok(None)
}

fn damage_of(socket: &mut Socket, version: IpVersion, inventory: &Inventory) -> Result<Option<String>, DataplaneError> {
    let ours = format!("table {} {TABLE}", family_name(version));
    let found = leftovers(socket, version)?.0;
    if !found.table {
        return Ok(Some(format!("the {ours} is gone")));
    }
    // A program that deletes a table and creates one like it resets the counters in it.
    if inventory.handles.0.is_some() && found.handle != inventory.handles.0 {
        return Ok(Some(format!("another program replaced the {ours}")));
    }
    if found.dormant {
        return Ok(Some(format!("another program made the {ours} dormant")));
    }
    if !found.base {
        return Ok(Some(format!("the chain {BASE} of the {ours} is gone or hooked elsewhere")));
    }
    let names = found.chains.iter().cloned().chain([BASE.to_owned()]);
    let mut rules: BTreeMap<String, ChainInventory> = names.map(|name| (name, ChainInventory::default())).collect();
    let in_table = |w: &mut Writer| w.str(NFTA_CHAIN_TABLE, TABLE);
    let mut last = found.last;
    socket.dump(version, msg::GETRULE, in_table, |kind, rule| {
        if let Some(chain) = rule.str(NFTA_RULE_CHAIN).filter(|_| rule.str(NFTA_RULE_TABLE).as_deref() == Some(TABLE)) {
            rules.entry(chain).or_default().add(rule);
            last = last.max(handle(kind, rule).unwrap_or_default());
        }
    })?;
    let same = |(found, ours): (&ChainInventory, &ChainInventory)| {
        let same_rules = ours.fingerprints.is_none_or(|ours| found.fingerprints.unwrap_or_default() == ours);
        found.rules == ours.rules && same_rules
    };
    if !rules.keys().eq(inventory.chains.keys()) || !rules.values().zip(inventory.chains.values()).all(same) {
        return Ok(Some(format!("another program changed the rules of the {ours}")));
    }
    if found.counters.len() != inventory.counters || !found.others.is_empty() {
        return Ok(Some(format!("another program changed the counters of the {ours}")));
    }
    let mut sets = found.sets;
    sets.sort_unstable();
    if !sets.iter().eq(inventory.sets.keys()) {
        return Ok(Some(format!("another program changed the sets of the {ours}")));
    }
    // The number is the same, but one of them is new.
    if inventory.handles.1.is_some_and(|ours| last > ours) {
        return Ok(Some(format!("another program replaced something in the {ours}")));
    }
    for (set, SetInventory { elements: expected, fingerprints: known, .. }) in &inventory.sets {
        let (mut elements, mut fingerprints) = (0, 0u64);
        each_element(socket, version, set, |element| {
            elements += 1;
            fingerprints = fingerprints.wrapping_add(Fingerprint::shown(element));
        })?;
        if elements != *expected {
            return Ok(Some(format!("the set {set} of the {ours} has {elements} elements, not {expected}")));
        }
        if fingerprints != *known {
            return Ok(Some(format!("another program replaced elements of the set {set} of the {ours}")));
        }
    }
    Ok(None)
}

/// The contents of our table, and the highest generation in its names.
pub(super) fn leftovers(socket: &mut Socket, version: IpVersion) -> Result<(Leftovers, u32), DataplaneError> {
    let mut found = Leftovers::default();
    found.table = socket.ask(
        version,
        msg::GETTABLE,
        0,
        |w| w.str(NFTA_TABLE_NAME, TABLE),
        |kind, table| {
            found.dormant = table.u32(NFTA_TABLE_FLAGS).unwrap_or_default() & NFT_TABLE_F_DORMANT != 0;
            found.handle = handle(kind, table);
        },
    )?;
    if !found.table {
        return Ok((found, 0));
    }
    // The attribute for the table's name has the same number in messages about chains, rules, sets
    // and objects.
    let ours = |attributes: Attributes<'_>| attributes.str(NFTA_CHAIN_TABLE).as_deref() == Some(TABLE);
    let in_table = |w: &mut Writer| w.str(NFTA_CHAIN_TABLE, TABLE);
    let mut last = 0;
    socket.dump(version, msg::GETCHAIN, in_table, |kind, chain| {
        let Some(name) = chain.str(NFTA_CHAIN_NAME).filter(|_| ours(chain)) else { return };
        last = last.max(handle(kind, chain).unwrap_or_default());
        // It is bound to a rule, as in `jump { accept; }`, and is removed with it.
        if chain.u32(NFTA_CHAIN_FLAGS).is_some_and(|flags| flags & NFT_CHAIN_BINDING != 0) {
            return;
        }
        if name == BASE && is_our_base(chain) {
            found.base = true;
        } else {
            found.chains.push(name);
        }
    })?;
    socket.dump(version, msg::GETSET, in_table, |kind, set| {
        if ours(set) {
            last = last.max(handle(kind, set).unwrap_or_default());
        }
        found.sets.extend(set.str(NFTA_SET_NAME).filter(|_| ours(set) && !is_anonymous(set)));
    })?;
    socket.dump(version, msg::GETOBJ, in_table, |message, object| {
        let Some((name, kind)) = object.str(NFTA_OBJ_NAME).zip(object.u32(NFTA_OBJ_TYPE)).filter(|_| ours(object))
        else {
            return;
        };
        last = last.max(handle(message, object).unwrap_or_default());
        match kind {
            NFT_OBJECT_COUNTER => found.counters.push(name),
            kind => found.others.push((kind, name)),
        }
    })?;
    found.last = last;
    let names = found.chains.iter().chain(&found.sets).chain(&found.counters);
    let newest = names.filter_map(|name| Some(Name::parse(name)?.generation)).max();
    Ok((found, newest.unwrap_or(0)))
}

/// Adds the counts of these sets and of all counters of the table.
pub(super) fn kept_counts<'a>(
    socket: &mut Socket,
    version: IpVersion,
    sets: impl Iterator<Item = &'a String>,
    kept: &mut InitialCounts,
) -> Result<(), DataplaneError> {
    for set in sets {
        let is_dropped = Name::parse(set).is_some_and(|name| name.counts() == Some(Counts::Dropped));
        each_element(socket, version, set, |element| {
            if let Some((rule, count)) = rule_of(element).zip(count_of(element)) {
                kept.matched.entry(rule).or_default().add(count);
                if is_dropped {
                    kept.dropped.entry(rule).or_default().add(count);
                }
            }
        })?;
    }
    named_counts(socket, version, |name, count| {
        let Some(rule) = name.rsplit_once('_').and_then(|(_, id)| id.parse().ok()) else { return };
        let is_dropped = Name::parse(name).is_some_and(|name| name.counts() == Some(Counts::Dropped));
        let counts = if is_dropped { &mut kept.dropped } else { &mut kept.matched };
        counts.entry(rule).or_default().add(count);
    })
}

/// Adds the counts of elements and counters that are about to be removed.
pub(super) fn transferred(
    socket: &mut Socket,
    version: IpVersion,
    transfers: &[(RuleId, CounterTransfer)],
    initial: &mut InitialCounts,
) -> Result<(), DataplaneError> {
    for (rule, place) in transfers {
        let mut found = None;
        match place {
            CounterTransfer::Element { set, key } | CounterTransfer::Dropped { set, key } => socket.ask(
                version,
                msg::GETSETELEM,
                0,
                |w| {
                    w.str(NFTA_SET_ELEM_LIST_TABLE, TABLE);
                    w.str(NFTA_SET_ELEM_LIST_SET, set);
                    w.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |w| {
                        w.nest(NFTA_LIST_ELEM, |w| w.nest(NFTA_SET_ELEM_KEY, |w| w.bytes(NFTA_DATA_VALUE, key)));
                    });
                },
                |_, answer| {
                    found = answer
                        .inside(NFTA_SET_ELEM_LIST_ELEMENTS)
                        .and_then(|list| list.inside(NFTA_LIST_ELEM))
                        .and_then(count_of)
                },
            )?,
            CounterTransfer::Counter(name) | CounterTransfer::DroppedCounter(name) => socket.ask(
                version,
                msg::GETOBJ,
                0,
                |w| {
                    w.str(NFTA_OBJ_TABLE, TABLE);
                    w.str(NFTA_OBJ_NAME, name);
                    w.u32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
                },
                |_, answer| found = answer.inside(NFTA_OBJ_DATA).and_then(count),
            )?,
        };
        if let Some(count) = found {
            let (matched, dropped) = match place {
                CounterTransfer::Element { .. } | CounterTransfer::Counter(_) => (true, false),
                CounterTransfer::DroppedCounter(_) => (false, true),
                CounterTransfer::Dropped { .. } => (true, true),
            };
            if matched {
                initial.matched.entry(*rule).or_default().add(count);
            }
            if dropped {
                initial.dropped.entry(*rule).or_default().add(count);
            }
        }
    }
    Ok(())
}

fn each_element(
    socket: &mut Socket,
    version: IpVersion,
    set: &str,
    mut each: impl FnMut(Attributes<'_>),
) -> Result<(), DataplaneError> {
    let body = |w: &mut Writer| {
        w.str(NFTA_SET_ELEM_LIST_TABLE, TABLE);
        w.str(NFTA_SET_ELEM_LIST_SET, set);
    };
    socket.dump(version, msg::GETSETELEM, body, |_, answer| {
        for (_, element) in answer.inside(NFTA_SET_ELEM_LIST_ELEMENTS).into_iter().flatten() {
            each(Attributes(element));
        }
    })?;
    Ok(())
}

fn named_counts(
    socket: &mut Socket,
    version: IpVersion,
    mut each: impl FnMut(&str, Count),
) -> Result<(), DataplaneError> {
    socket.dump(
        version,
        msg::GETOBJ,
        |w| w.str(NFTA_OBJ_TABLE, TABLE),
        |_, object| {
            let count = object.inside(NFTA_OBJ_DATA).and_then(count);
            if let (Some(TABLE), Some(NFT_OBJECT_COUNTER), Some(name), Some(count)) =
                (object.str(NFTA_OBJ_TABLE).as_deref(), object.u32(NFTA_OBJ_TYPE), object.str(NFTA_OBJ_NAME), count)
            {
                each(&name, count);
            }
        },
    )?;
    Ok(())
}

fn is_our_base(chain: Attributes<'_>) -> bool {
    let hook = chain.inside(NFTA_CHAIN_HOOK);
    hook.and_then(|hook| hook.u32(NFTA_HOOK_HOOKNUM)) == Some(NF_INET_PRE_ROUTING)
        && hook.and_then(|hook| hook.u32(NFTA_HOOK_PRIORITY)) == Some(PRIORITY as u32)
        && chain.u32(NFTA_CHAIN_POLICY) == Some(POLICY)
        && chain.str(NFTA_CHAIN_TYPE).as_deref() == Some(CHAIN_TYPE)
}

fn is_anonymous(set: Attributes<'_>) -> bool {
    set.u32(NFTA_SET_FLAGS).is_some_and(|flags| flags & NFT_SET_ANONYMOUS != 0)
}

fn rule_of(element: Attributes<'_>) -> Option<RuleId> {
    element.find(NFTA_SET_ELEM_USERDATA).and_then(rule_of_comment)
}

fn count_of(element: Attributes<'_>) -> Option<Count> {
    element.inside(NFTA_SET_ELEM_EXPR)?.inside(NFTA_EXPR_DATA).and_then(count)
}

fn count(counter: Attributes<'_>) -> Option<Count> {
    counter
        .u64(NFTA_COUNTER_PACKETS)
        .zip(counter.u64(NFTA_COUNTER_BYTES))
        .map(|(packets, bytes)| Count { packets, bytes })
}
