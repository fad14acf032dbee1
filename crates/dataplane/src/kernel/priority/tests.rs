use super::*;
use flowspec::testing::{Seed, Shape, random_rules};
use flowspec::{IpVersion, Nlri, Space};
use std::collections::{BTreeMap, BTreeSet};

const NUMBERS: RangeInclusive<u32> = 1..=16000;

/// An entry of a test: its packets, its group, and its number.
#[derive(Clone, Debug)]
struct Entry {
    space: Space,
    group: u32,
    number: Option<u32>,
}

fn entry(text: &str, group: u32) -> Entry {
    Entry { space: Space::of(&text.parse::<Nlri>().unwrap()), group, number: None }
}

fn assigned(entries: &[Entry], numbers: RangeInclusive<u32>) -> Result<Vec<u32>, TooFewNumbers> {
    let ordered: Vec<_> = entries
        .iter()
        .map(|Entry { space, group, number }| OrderedEntry { space, group: *group, number: *number })
        .collect();
    assign(&ordered, numbers)
}

/// Assigns numbers; returns how many entries got another one.
fn renumber(entries: &mut [Entry], numbers: RangeInclusive<u32>) -> usize {
    let assigned = assigned(entries, numbers.clone()).unwrap();
    verify(entries, &assigned, numbers);
    let mut moved = 0;
    for (entry, number) in entries.iter_mut().zip(assigned) {
        moved += usize::from(entry.number.is_some_and(|old| old != number));
        entry.number = Some(number);
    }
    moved
}

fn verify(entries: &[Entry], assigned: &[u32], numbers: RangeInclusive<u32>) {
    assert_eq!(entries.len(), assigned.len());
    for (a, earlier) in entries.iter().enumerate() {
        assert!(numbers.contains(&assigned[a]), "{}", assigned[a]);
        for (b, later) in entries.iter().enumerate().skip(a + 1) {
            if earlier.group != later.group && earlier.space.overlaps(&later.space) {
                assert!(assigned[a] < assigned[b], "{} {}: {earlier:?} {later:?}", assigned[a], assigned[b]);
            }
        }
    }
}

/// Random rules in enforcement order with a group each, or one for all discards and one for all
/// accepts.
fn random_entries(seed: &mut Seed, count: usize, by_action: bool) -> Vec<Entry> {
    let version = seed.pick(&[IpVersion::V4, IpVersion::V6]).unwrap();
    let shape = Shape { max_components: 3, offsets: seed.percent(50), ..Shape::plain() };
    let rules = random_rules(seed, version, &shape, count);
    let group = |at: u32, rule: &flowspec::Rule| if by_action { u32::from(rule.actions.is_empty()) } else { at };
    (0..)
        .zip(&rules)
        .map(|(at, rule)| Entry { space: Space::of(&rule.nlri), group: group(at, rule), number: None })
        .collect()
}

#[test]
fn overlapping_entries_are_in_order() {
    for number in 0..60 {
        let mut seed = Seed::new(number);
        let mut entries = random_entries(&mut seed, 60, number % 2 == 0);
        // In any order: wider ones may come first, as protected packets do.
        if seed.percent(50) {
            for at in (1..entries.len()).rev() {
                entries.swap(at, seed.below(at as u64 + 1) as usize);
            }
        }
        renumber(&mut entries, NUMBERS);
        assert_eq!(renumber(&mut entries, NUMBERS), 0, "a second time nothing changes");
        let scarce = 1..=entries.len() as u32;
        let mut all = entries.clone();
        renumber(&mut all, scarce.clone());
        assert_eq!(renumber(&mut all, scarce), 0, "a second time nothing changes");
    }
}

#[test]
fn a_change_moves_few_entries() {
    let (mut changes, mut moved, mut seed) = (0, 0, Seed::new(7));
    for _ in 0..20 {
        let by_action = seed.percent(50);
        let all = random_entries(&mut seed, 80, by_action);
        // By their positions among all.
        let mut there: BTreeMap<usize, Entry> = BTreeMap::new();
        for _ in 0..200 {
            let at = seed.below(all.len() as u64) as usize;
            if there.remove(&at).is_none() {
                there.insert(at, all[at].clone());
            }
            let mut entries: Vec<Entry> = there.values().cloned().collect();
            moved += renumber(&mut entries, NUMBERS);
            there = there.into_keys().zip(entries).collect();
            changes += 1;
        }
    }
    assert!(moved * 10 < changes, "{moved} entries were moved by {changes} changes");
}

#[test]
fn foreign_numbers_are_corrected() {
    for number in 0..40 {
        let mut seed = Seed::new(1000 + number);
        let mut entries = random_entries(&mut seed, 40, false);
        for entry in &mut entries {
            entry.number = seed.percent(70).then(|| seed.within(0, 50) as u32);
        }
        renumber(&mut entries, 1..=45);
    }
}

#[test]
fn entries_of_one_group_need_one_number() {
    let mut entries: Vec<Entry> = (0..100).map(|port| entry(&format!("dst 192.0.2.0/24 dport {port}"), 0)).collect();
    entries.push(entry("dst 192.0.2.0/24", 0));
    let numbers: BTreeSet<u32> = assigned(&entries, NUMBERS).unwrap().into_iter().collect();
    assert_eq!(numbers.len(), 1);
}

#[test]
fn too_few_numbers_are_reported() {
    let entries = [entry("dst 192.0.2.1/32", 0), entry("dst 192.0.2.0/24", 1), entry("dst 192.0.0.0/16", 2)];
    assert_eq!(assigned(&entries, 5..=6), Err(TooFewNumbers { numbers: 2 }));
    assert_eq!(assigned(&entries, 5..=7), Ok(vec![5, 6, 7]));
    assert_eq!(assigned(&[], 5..=6), Ok(vec![]));
}

#[test]
fn thousands_of_entries_for_one_victim_are_compared_quickly() {
    let count = 12_500;
    let mut entries: Vec<Entry> =
        (0..count).map(|n| entry(&format!("dst 192.0.2.1/32 proto udp sport {n}"), n)).collect();
    entries.push(entry("dst 192.0.2.0/24 proto udp", count));
    let begun = std::time::Instant::now();
    let numbers = assigned(&entries, NUMBERS).unwrap();
    println!("{} entries: {:?}", entries.len(), begun.elapsed());
    assert_eq!(numbers.into_iter().collect::<BTreeSet<u32>>().len(), 2);
}
