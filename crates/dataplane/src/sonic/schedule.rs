//! Plans the steps from one set of ACL rules to another while packets pass, so that at no time a
//! packet is dropped which neither set drops, and no table has more entries than allowed.
//!
//! Rules that accept packets are written before the drops that they precede, and deleted after
//! them. As long as both sets fit at the same time, everything new is written before anything is
//! deleted, so that what both sets drop is dropped all the time. Otherwise drops are deleted first,
//! as many as necessary.

use super::entry::Kind;
use std::collections::BTreeMap;

/// An ACL rule, reduced to what decides about its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) priority: u32,
}

/// Operations that are done at once; the next step begins when all of them have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<K> {
    /// Write these, in this order.
    Add(Vec<K>),
    /// Delete these.
    Delete(Vec<K>),
}

/// The steps from `old` to `new` in a table of this many entries, of which `new` takes no more. The
/// second value is the number of ACL rules of both sets that are deleted temporarily, since there
/// is no room for all at once.
pub(super) fn steps<K: Ord + Clone>(
    old: &BTreeMap<K, Planned>,
    new: &BTreeMap<K, Planned>,
    capacity: u64,
) -> (Vec<Step<K>>, usize) {
    let mut added = Sorted::default();
    let mut removed = Sorted::default();
    // Rules of both sets that drop or limit packets, in the order in which they may be deleted
    // temporarily.
    let mut blocking: Vec<(K, Planned)> = Vec::new();
    for (key, planned) in new {
        if !old.contains_key(key) {
            added.push(key, *planned);
        } else if planned.kind != Kind::Forward {
            blocking.push((key.clone(), *planned));
        }
    }
    for (key, planned) in old.iter().filter(|(key, _)| !new.contains_key(key)) {
        removed.push(key, *planned);
    }
    let kept = (old.len() - removed.len()) as u64;
    let room = usize::try_from(capacity.saturating_sub(kept)).unwrap_or(usize::MAX);
    let mut steps = Steps(Vec::new());
    if added.len() + removed.len() <= room {
        steps.add(added.shields());
        steps.add(added.take(Kind::Drop));
        steps.delete(removed.take(Kind::Drop));
        steps.delete(removed.take(Kind::Limit));
        steps.delete(removed.take(Kind::Forward));
        return (steps.0, 0);
    }
    steps.delete(removed.take(Kind::Drop));
    // New accepting rules are written beside the old ones first, so that no remaining drop loses
    // its exemption.
    let missing = (added.shields_len() + removed.len()).saturating_sub(room);
    blocking.sort_by_key(|(_, planned)| (std::cmp::Reverse(planned.kind), planned.priority));
    blocking.truncate(missing);
    let lifted = blocking.len();
    let mut lifted_limits = Sorted::default();
    for (key, planned) in blocking {
        removed.push(&key, planned);
        let back = if planned.kind == Kind::Drop { &mut added } else { &mut lifted_limits };
        back.push(&key, planned);
    }
    steps.delete(removed.take(Kind::Drop));
    let lifted_limits = lifted_limits.take(Kind::Limit);
    let (lifted_now, limits): (Vec<K>, Vec<K>) =
        removed.take(Kind::Limit).into_iter().partition(|key| lifted_limits.contains(key));
    steps.delete(lifted_now);
    // If nothing is left that drops packets, no exemption is needed.
    let mut early: Vec<K> = limits.into_iter().chain(removed.take(Kind::Forward)).collect();
    let late = early.split_off((missing - lifted).min(early.len()));
    steps.delete(early);
    steps.add(added.shields());
    steps.delete(late);
    steps.add(lifted_limits);
    steps.add(added.take(Kind::Drop));
    (steps.0, lifted)
}

struct Steps<K>(Vec<Step<K>>);

impl<K> Steps<K> {
    fn add(&mut self, keys: Vec<K>) {
        if !keys.is_empty() {
            self.0.push(Step::Add(keys));
        }
    }

    fn delete(&mut self, keys: Vec<K>) {
        if !keys.is_empty() {
            self.0.push(Step::Delete(keys));
        }
    }
}

/// By kind.
struct Sorted<K>(BTreeMap<Kind, Vec<(K, u32)>>);

impl<K> Default for Sorted<K> {
    fn default() -> Self {
        Sorted(BTreeMap::new())
    }
}

impl<K: Clone> Sorted<K> {
    fn push(&mut self, key: &K, planned: Planned) {
        self.0.entry(planned.kind).or_default().push((key.clone(), planned.priority));
    }

    fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn shields_len(&self) -> usize {
        self.len() - self.0.get(&Kind::Drop).map_or(0, Vec::len)
    }

    /// Those of a kind, by falling priority, which is the order in which some ASICs accept them
    /// fastest.
    fn take(&mut self, kind: Kind) -> Vec<K> {
        let mut of_kind = self.0.remove(&kind).unwrap_or_default();
        of_kind.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        of_kind.into_iter().map(|(key, _)| key).collect()
    }

    fn shields(&mut self) -> Vec<K> {
        [Kind::Forward, Kind::Limit].into_iter().flat_map(|kind| self.take(kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::testing::Seed;
    use std::collections::BTreeSet;

    /// Packets are numbers; an ACL rule matches those from its first to its last.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Row {
        first: u64,
        last: u64,
        priority: u32,
        kind: Kind,
    }

    const PACKETS: u64 = 12;

    /// Packets that are dropped, or limited: an upper bound of the packets that do not pass; those
    /// of a limit count if it is reached.
    fn dropped(rows: &BTreeSet<Row>, limits_drop: bool) -> BTreeSet<u64> {
        let drops = |packet: &u64| {
            let hit = rows.iter().filter(|row| (row.first..=row.last).contains(packet)).max_by_key(|row| row.priority);
            hit.is_some_and(|row| row.kind == Kind::Drop || (limits_drop && row.kind == Kind::Limit))
        };
        (0..PACKETS).filter(drops).collect()
    }

    fn random(seed: &mut Seed) -> Row {
        let first = seed.below(PACKETS);
        let kind = seed.pick(&[Kind::Forward, Kind::Limit, Kind::Drop, Kind::Drop]).unwrap();
        Row { first, last: seed.within(first, PACKETS - 1), priority: seed.within(1, 1_000_000) as u32, kind }
    }

    fn planned(rows: &BTreeSet<Row>) -> BTreeMap<Row, Planned> {
        rows.iter().map(|row| (*row, Planned { kind: row.kind, priority: row.priority })).collect()
    }

    #[test]
    fn no_packet_is_dropped_that_neither_set_drops() {
        let mut side_by_side = 0;
        for number in 0..4000 {
            let mut seed = Seed::new(number);
            let count = seed.within(1, 9);
            let old: BTreeSet<Row> = (0..seed.below(count)).map(|_| random(&mut seed)).collect();
            let mut new: BTreeSet<Row> = old.iter().filter(|_| seed.percent(60)).copied().collect();
            new.extend((0..seed.below(count)).map(|_| random(&mut seed)).collect::<Vec<_>>());
            let capacity = new.len().max(old.len()) as u64 + seed.below(6);
            let (steps, lifted) = steps(&planned(&old), &planned(&new), capacity);
            let fits = (old.union(&new).count() as u64) <= capacity;
            side_by_side += usize::from(fits);
            let mut there = old.clone();
            for step in &steps {
                let rows = match step {
                    Step::Add(rows) | Step::Delete(rows) => rows,
                };
                assert!(!rows.is_empty());
                for row in rows {
                    // Each may take effect by itself, and in any order within a step of one kind.
                    match step {
                        Step::Add(_) => assert!(there.insert(*row), "{number}: twice"),
                        Step::Delete(_) => assert!(there.remove(row), "{number}: was not there"),
                    }
                    assert!(there.len() as u64 <= capacity, "{number}: too full");
                    for limits in [false, true] {
                        let allowed: BTreeSet<u64> =
                            dropped(&old, limits).union(&dropped(&new, limits)).copied().collect();
                        let now = dropped(&there, limits);
                        assert!(now.is_subset(&allowed), "{number}: {now:?} of {allowed:?} after {row:?}");
                        if fits && !limits {
                            let always: BTreeSet<u64> =
                                dropped(&old, true).intersection(&dropped(&new, true)).copied().collect();
                            let kept: BTreeSet<u64> = dropped(&there, true);
                            let leaking: Vec<_> = always.difference(&kept).collect();
                            // New accepting rules may accept for a moment what an old drop with a
                            // higher priority would have dropped.
                            let shielded = there.iter().any(|row| row.kind == Kind::Forward);
                            assert!(leaking.is_empty() || shielded, "{number}: {leaking:?}");
                        }
                    }
                }
            }
            assert_eq!(there, new, "{number}");
            assert!(!fits || lifted == 0);
        }
        assert!(side_by_side > 500, "{side_by_side}");
    }

    #[test]
    fn exceptions_come_first_and_go_last() {
        let row = |kind, priority| Planned { kind, priority };
        let old = BTreeMap::from([("old drop", row(Kind::Drop, 10)), ("old shield", row(Kind::Forward, 20))]);
        let new = BTreeMap::from([
            ("low drop", row(Kind::Drop, 5)),
            ("drop", row(Kind::Drop, 15)),
            ("limit", row(Kind::Limit, 17)),
            ("shield", row(Kind::Forward, 25)),
        ]);
        let (all, lifted) = steps(&old, &new, 6);
        assert_eq!(
            all,
            [
                Step::Add(vec!["shield", "limit"]),
                Step::Add(vec!["drop", "low drop"]),
                Step::Delete(vec!["old drop"]),
                Step::Delete(vec!["old shield"]),
            ]
        );
        assert_eq!(lifted, 0);
        let (tight, lifted) = steps(&old, &new, 4);
        assert_eq!(
            tight,
            [
                Step::Delete(vec!["old drop"]),
                Step::Add(vec!["shield", "limit"]),
                Step::Delete(vec!["old shield"]),
                Step::Add(vec!["drop", "low drop"]),
            ]
        );
        assert_eq!(lifted, 0);
    }
}
