//! Removal of many rules at once, as after a lost session; the others stay: in the kernel, in
//! network namespaces of their own.

use anyhow::{Result, ensure};
use dataplane::nftables::{Nftables, Options};
use dataplane::{Dataplane, Health};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Rule;
use flowspec::space::Space;
use lab::site::VICTIM;
use lab::{Site, needs, packet};
use std::sync::Arc;

fn compiled(text: &str) -> Result<Arc<CompiledRule>> {
    let rule: Rule = text.parse()?;
    let nlri = Arc::new(rule.nlri.clone());
    Ok(Arc::new(CompiledRule { id: nlri.id(), entries: vec![Space::of(&nlri)], nlri, effect: rule.effect() }))
}

/// Rules of every shape that nftables has: elements, limits, chains of a destination, policers in
/// chains, look-ups that every packet meets.
fn rules(count: u32) -> Result<Vec<Arc<CompiledRule>>> {
    let mut rules = Vec::new();
    for number in 0..count {
        let host = number / 4;
        let (high, low) = (host / 256, host % 256);
        rules.push(compiled(&match number % 40 {
            0..20 => format!("dst 10.1.{high}.{low}/32 proto udp sport {} then discard", 1000 + number % 4),
            20..28 => format!("dst 10.1.{high}.{low}/32 proto tcp dport {} then discard", 80 + number % 4),
            28..30 => format!("dst 10.1.{high}.{low}/32 proto udp dport {} then rate 1mbps", number % 7),
            30..32 => format!("dst 10.1.{high}.{low}/32 proto udp sport {},7 then rate 1mbps", 100 + number % 4),
            32..34 => format!("dst 10.2.{}.0/24 proto udp sport {} then discard", host % 256, number / 8),
            34..36 => format!("dst 2001:db8::{host:x}/128 proto udp sport {} then discard", number % 4),
            36 => format!("dst 2001:db8::{host:x}/128 then rate 1mbps continue"),
            _ => {
                format!("dst 10.1.{high}.{low}/32 proto udp dport {} fragment first-fragment then discard", number % 8)
            }
        })?);
    }
    for port in 0..20 {
        rules.push(compiled(&format!("proto udp sport {} then discard", 20_000 + port))?);
    }
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    rules.dedup_by(|a, b| a.nlri == b.nlri);
    Ok(rules)
}

/// What is in force is compared with what should be, once somebody else has changed something.
fn compare(site: &Site, nft: &mut Nftables) -> Result<()> {
    for change in ["add table ip others", "delete table ip others"] {
        site.switch.exec("nft", &[change])?;
        let health = nft.health()?;
        ensure!(health == Health::Intact, "{health:?}");
    }
    Ok(())
}

#[test]
fn many_rules_go_and_the_others_stay_as_they_are() -> Result<()> {
    needs!(root, "ip", "nft");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let attack = |port| {
        packet::udp(
            ([198, 51, 100, 7], port).into(),
            (VICTIM.parse::<std::net::IpAddr>().unwrap(), 4000).into(),
            b"attack",
        )
    };
    let all = rules(6_000)?;
    let (stays, goes) = (
        compiled("dst 192.0.2.1/32 proto udp sport 53 then discard")?,
        compiled("dst 192.0.2.1/32 proto udp sport 123 then discard")?,
    );
    let is_v6 = |rule: &CompiledRule| rule.nlri.to_string().contains(':');
    type Keeps = fn(usize, bool) -> bool;
    let splits: [(&str, Keeps); 6] = [
        ("none stays", |_, _| false),
        ("every thousandth stays", |index, _| index % 1000 == 0),
        ("every tenth stays", |index, _| index % 10 == 0),
        ("half of them stay", |index, _| index % 2 == 0),
        ("only those of IPv6 stay", |_, v6| v6),
        ("only those of IPv4 stay", |_, v6| !v6),
    ];
    for with_one_more in [true, false] {
        for (what, keeps) in splits {
            let mut nft =
                site.switch.run(|| Nftables::open(Options { max_chain_rules: 10_000, ..Options::default() }))?;
            let mut loaded = all.clone();
            loaded.push(goes.clone());
            if with_one_more {
                loaded.push(stays.clone());
            }
            loaded.sort_by(|a, b| a.nlri.cmp(&b.nlri));
            let failures = nft.replace(&Ruleset { protected: Arc::default(), rules: loaded.clone() })?.failures;
            ensure!(failures.is_empty(), "{what}: {} of {}", failures.len(), loaded.len());
            ensure!(wire.arrivals(&[attack(123), attack(53)])? == [false, !with_one_more], "{what}: before");
            let kept: Vec<_> = all
                .iter()
                .enumerate()
                .filter(|(index, rule)| keeps(*index, is_v6(rule)))
                .map(|(_, rule)| &rule.nlri)
                .collect();
            let remove: Vec<_> = loaded
                .iter()
                .map(|rule| rule.nlri.clone())
                .filter(|nlri| *nlri != stays.nlri && kept.binary_search(&nlri).is_err())
                .collect();
            let staying = loaded.len() - remove.len();
            // What comes back in the same change is a rule as any other.
            let again = compiled("dst 192.0.2.1/32 proto udp sport 4444 then discard")?;
            nft.update(&Plan { remove, upsert: vec![again.clone()], protected: None })?;
            compare(&site, &mut nft)?;
            let arrived = wire.arrivals(&[attack(123), attack(53), attack(4444)])?;
            ensure!(arrived == [true, !with_one_more, false], "{what}: {arrived:?}");
            let counters = nft.counters()?;
            ensure!(counters.len() == staying + 1, "{what}: {} counters, not {staying} and 1", counters.len());
            if with_one_more {
                let counted = counters.iter().find(|(nlri, _)| *nlri == stays.nlri).map(|(_, counter)| counter.packets);
                ensure!(counted == Some(2), "{what}: {counted:?} packets");
            }
            // All of it can be put back by a change.
            let upsert: Vec<_> = loaded.iter().filter(|rule| rule.nlri != stays.nlri).cloned().collect();
            ensure!(
                nft.update(&Plan { upsert, remove: vec![again.nlri.clone()], protected: None })?.failures.is_empty()
            );
            compare(&site, &mut nft)?;
            ensure!(wire.arrivals(&[attack(123), attack(4444)])? == [false, true], "{what}: put back");
            nft.clear()?;
        }
    }
    Ok(())
}
