//! Builds a netlink transaction from changes.

use super::changes::{Changes, Counted, Element, SetKind, SetSpec};
use super::counts::{Count, InitialCounts};
use super::dump::Leftovers;
use super::field::key_octets;
use super::inventory::Inventory;
use super::limit::Limit;
use super::names::{Counts, comment};
use super::nf_tables::*;
use super::program::Program;
use super::statement::{self, expression};
use super::table::{BASE, CHAIN_TYPE, POLICY, PRIORITY, TABLE};
use super::wire::{MAX_ATTRIBUTE, Writer};
use crate::kernel::{PerVersion, VERSIONS};
use crate::netlink::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};

/// A transaction ready to be sent.
pub(super) struct Batch {
    pub(super) writer: Writer,
    pub(super) acknowledged: u32,
    /// The chains that it rewrites, with their number of rules.
    pub(super) rewritten: PerVersion<Vec<(String, usize)>>,
}

/// The changes of one of our tables.
pub(super) struct Part<'a> {
    pub(super) program: &'a Program,
    pub(super) changes: &'a Changes,
    /// For a full load: the existing contents, all of which are removed first.
    pub(super) leftovers: Option<&'a Leftovers>,
    pub(super) before: &'a Inventory,
}

/// The transaction that changes our tables.
pub(super) fn batch(generation: u32, parts: &PerVersion<Part<'_>>, initial: &mut InitialCounts) -> Batch {
    let mut w = Writer::new();
    w.begin(generation);
    let mut acknowledged = 0;
    let rewritten = PerVersion::new(|version| {
        let part = parts.of(version);
        w.table_of(version);
        // Some message must request the acknowledgement, even if there is nothing to do.
        if version == VERSIONS[0] {
            acknowledged = new_table(&mut w, NLM_F_ACK | NLM_F_ECHO);
        } else if part.leftovers.is_some() {
            new_table(&mut w, NLM_F_ECHO);
        }
        let rewritten = changes_of_table(&mut w, part, initial);
        w.echo_last();
        rewritten
    });
    w.end();
    Batch { writer: w, acknowledged, rewritten }
}

fn new_table(w: &mut Writer, flags: u16) -> u32 {
    w.message(msg::NEWTABLE, NLM_F_CREATE | flags, |w| {
        w.str(NFTA_TABLE_NAME, TABLE);
        w.u32(NFTA_TABLE_FLAGS, 0);
    })
}

fn changes_of_table(w: &mut Writer, part: &Part<'_>, initial: &mut InitialCounts) -> Vec<(String, usize)> {
    let Part { program, changes, leftovers, before } = *part;
    if let Some(leftovers) = leftovers {
        remove_leftovers(w, leftovers);
        base_chain(w);
    }
    for name in &changes.new_chains {
        w.message(msg::NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, |w| {
            w.str(NFTA_CHAIN_TABLE, TABLE);
            w.str(NFTA_CHAIN_NAME, name);
        });
    }
    for (id, set) in changes.new_sets.iter().enumerate() {
        new_set(w, set, id as u32 + 1);
    }
    for (set, gone) in &changes.delete {
        elements(w, msg::DELSETELEM, set, gone.iter(), |w, (key, _)| {
            w.nest(NFTA_SET_ELEM_KEY, |w| w.bytes(NFTA_DATA_VALUE, key))
        });
    }
    let rules: Vec<_> = changes.rewrite.iter().filter_map(|chain| program.chain(chain)).collect();
    let known = |name: &str| leftovers.is_none() && before.chains.contains_key(name);
    for name in rules.iter().map(|(name, _)| name).filter(|name| known(name)).chain(&changes.dead_chains) {
        w.message(msg::DELRULE, 0, |w| {
            w.str(NFTA_RULE_TABLE, TABLE);
            w.str(NFTA_RULE_CHAIN, name);
        });
    }
    for name in &changes.dead_counters {
        delete_object(w, NFT_OBJECT_COUNTER, name);
    }
    for (name, (rule, counts)) in &changes.new_counters {
        let starts = match counts {
            Counts::Matched => &mut initial.matched,
            Counts::Dropped => &mut initial.dropped,
        };
        let start = starts.remove(rule).unwrap_or_default();
        w.message(msg::NEWOBJ, NLM_F_CREATE | NLM_F_EXCL, |w| {
            w.str(NFTA_OBJ_TABLE, TABLE);
            w.str(NFTA_OBJ_NAME, name);
            w.u32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
            w.nest(NFTA_OBJ_DATA, |w| count(w, start));
        });
    }
    for (set, new) in &changes.add {
        elements(w, msg::NEWSETELEM, set, new.iter(), |w, (key, element)| new_element(w, key, element, initial));
    }
    for (name, rules) in &rules {
        for rule in rules {
            w.message(msg::NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ECHO, |w| {
                w.str(NFTA_RULE_TABLE, TABLE);
                w.str(NFTA_RULE_CHAIN, name);
                w.nest(NFTA_RULE_EXPRESSIONS, |w| statement::encode(w, rule));
            });
        }
    }
    for name in &changes.dead_sets {
        delete_set(w, name);
    }
    for name in &changes.dead_chains {
        delete_chain(w, name);
    }
    rules.iter().map(|(name, rules)| (name.clone(), rules.len())).collect()
}

fn base_chain(w: &mut Writer) {
    w.message(msg::NEWCHAIN, NLM_F_CREATE, |w| {
        w.str(NFTA_CHAIN_TABLE, TABLE);
        w.str(NFTA_CHAIN_NAME, BASE);
        w.nest(NFTA_CHAIN_HOOK, |w| {
            w.u32(NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
            w.u32(NFTA_HOOK_PRIORITY, PRIORITY as u32); // the kernel reads it as signed
        });
        w.u32(NFTA_CHAIN_POLICY, POLICY);
        w.str(NFTA_CHAIN_TYPE, CHAIN_TYPE);
    });
}

fn remove_leftovers(w: &mut Writer, leftovers: &Leftovers) {
    if leftovers.table {
        w.message(msg::DELRULE, 0, |w| w.str(NFTA_RULE_TABLE, TABLE));
    }
    leftovers.sets.iter().for_each(|name| delete_set(w, name));
    leftovers.chains.iter().for_each(|name| delete_chain(w, name));
    leftovers.counters.iter().for_each(|name| delete_object(w, NFT_OBJECT_COUNTER, name));
    leftovers.others.iter().for_each(|(kind, name)| delete_object(w, *kind, name));
}

fn delete_set(w: &mut Writer, name: &str) {
    w.message(msg::DELSET, 0, |w| {
        w.str(NFTA_SET_TABLE, TABLE);
        w.str(NFTA_SET_NAME, name);
    });
}

fn delete_chain(w: &mut Writer, name: &str) {
    w.message(msg::DELCHAIN, 0, |w| {
        w.str(NFTA_CHAIN_TABLE, TABLE);
        w.str(NFTA_CHAIN_NAME, name);
    });
}

fn delete_object(w: &mut Writer, kind: u32, name: &str) {
    w.message(msg::DELOBJ, 0, |w| {
        w.str(NFTA_OBJ_TABLE, TABLE);
        w.str(NFTA_OBJ_NAME, name);
        w.u32(NFTA_OBJ_TYPE, kind);
    });
}

fn new_set(w: &mut Writer, set: &SetSpec, id: u32) {
    const INTERFACE_NAME: u32 = 41;
    const TYPE_BITS: u32 = 6;
    const KEY_BYTE_ORDER: u8 = 0;
    const HOST_ENDIAN: [u8; 4] = 1u32.to_ne_bytes();
    let (key_type, key_octets) = match set.kind {
        SetKind::Interfaces => (INTERFACE_NAME, 16),
        SetKind::Plain | SetKind::Counted | SetKind::Limits(_) | SetKind::Verdicts => (
            set.key.iter().fold(0, |types, part| types << TYPE_BITS | part.field.data_type(set.version)),
            key_octets(set.version, &set.key),
        ),
    };
    w.message(msg::NEWSET, NLM_F_CREATE | NLM_F_EXCL, |w| {
        w.str(NFTA_SET_TABLE, TABLE);
        w.str(NFTA_SET_NAME, &set.name);
        w.u32(
            NFTA_SET_FLAGS,
            match set.kind {
                SetKind::Plain | SetKind::Interfaces => 0,
                SetKind::Counted | SetKind::Limits(_) => NFT_SET_EXPR,
                SetKind::Verdicts => NFT_SET_MAP,
            },
        );
        w.u32(NFTA_SET_KEY_TYPE, key_type);
        w.u32(NFTA_SET_KEY_LEN, key_octets);
        w.u32(NFTA_SET_ID, id);
        match set.kind {
            SetKind::Plain => {}
            // Only for `nft list`: names are in host byte order. Without it, nft shows them as
            // empty.
            SetKind::Interfaces => w.bytes(
                NFTA_SET_USERDATA,
                &[KEY_BYTE_ORDER, 4, HOST_ENDIAN[0], HOST_ENDIAN[1], HOST_ENDIAN[2], HOST_ENDIAN[3]],
            ),
            SetKind::Counted => expression(w, NFTA_SET_EXPR, "counter", |_| {}),
            // Each element has its own; this one only declares the type.
            SetKind::Limits(unit) => expression(w, NFTA_SET_EXPR, "limit", |w| Limit::new(unit, 1.0).encode(w)),
            SetKind::Verdicts => w.u32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
        }
    });
}

/// Messages with the elements of a set, as many as the length of an attribute requires.
fn elements<T>(
    w: &mut Writer,
    kind: u8,
    set: &str,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Writer, T),
) {
    // The longest element (five key parts, verdict, comment, counter) is far below this.
    const LONGEST: usize = 512;
    let flags = if kind == msg::NEWSETELEM { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    let mut items = items.peekable();
    while items.peek().is_some() {
        w.message(kind, flags, |w| {
            w.str(NFTA_SET_ELEM_LIST_TABLE, TABLE);
            w.str(NFTA_SET_ELEM_LIST_SET, set);
            w.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |w| {
                let start = w.len();
                while let Some(item) = (w.len() - start < MAX_ATTRIBUTE - LONGEST).then(|| items.next()).flatten() {
                    w.nest(NFTA_LIST_ELEM, |w| write(w, item));
                }
            });
        });
    }
}

fn new_element(w: &mut Writer, key: &[u8], element: &Element, initial: &mut InitialCounts) {
    w.nest(NFTA_SET_ELEM_KEY, |w| w.bytes(NFTA_DATA_VALUE, key));
    match element {
        Element::Plain => {}
        Element::Verdict(verdict) => w.nest(NFTA_SET_ELEM_DATA, |w| verdict.encode(w)),
        Element::OverLimit(limit) => expression(w, NFTA_SET_ELEM_EXPR, "limit", |w| limit.encode(w)),
        Element::Counted(rule, counted) => {
            w.bytes(NFTA_SET_ELEM_USERDATA, &comment(*rule));
            let start = match counted {
                Counted::Matched => initial.matched.remove(rule),
                Counted::Passed => {
                    let dropped = initial.dropped.get(rule).copied().unwrap_or_default();
                    initial.matched.remove(rule).map(|matched| matched.without(dropped))
                }
                Counted::Dropped => initial.dropped.get(rule).copied(),
            };
            // Without it, the kernel copies the set's counter, which is zero.
            if let Some(start) = start {
                expression(w, NFTA_SET_ELEM_EXPR, "counter", |w| count(w, start));
            }
        }
    }
}

fn count(w: &mut Writer, count: Count) {
    w.u64(NFTA_COUNTER_BYTES, count.bytes);
    w.u64(NFTA_COUNTER_PACKETS, count.packets);
}
