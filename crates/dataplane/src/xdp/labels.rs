//! Labels: numbers by which the program compares the positions of rules in the order. There are
//! gaps between them, so that most new rules find a label between their neighbours.

/// Distance of labels at the end of the order.
const STEP: u64 = 1 << 32;

/// The label of each rule, by rule number.
#[derive(Debug)]
pub(super) struct Labels(Vec<u64>);

impl Labels {
    /// For this many rule numbers.
    pub(super) fn new(numbers: u32) -> Self {
        Labels(vec![0; numbers as usize])
    }

    /// By rule number.
    pub(super) fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// The label of the rule with this number.
    pub(super) fn of(&self, number: u32) -> u64 {
        self.0[number as usize]
    }

    /// Sets the label of the rule with this number.
    pub(super) fn set(&mut self, number: u32, label: u64) {
        self.0[number as usize] = label;
    }

    /// A label after all others; `last` is the last rule.
    pub(super) const fn behind(last: u64) -> Option<u64> {
        if last < u64::MAX - STEP { Some(last + STEP) } else { None }
    }

    /// A label between those of two rules, each optional.
    pub(super) fn between(&self, before: Option<u32>, after: Option<u32>) -> Option<u64> {
        let before = before.map_or(0, |number| self.of(number));
        match after.map(|number| self.of(number)) {
            None => Labels::behind(before),
            Some(after) if after - before > 1 => Some(before + (after - before) / 2),
            Some(_) => None,
        }
    }

    /// Distributes the labels of all rules evenly, with a gap for a new rule between those before
    /// and after it; returns its label. `count`: at least the number of rules.
    pub(super) fn spread(
        &mut self,
        before: impl Iterator<Item = u32>,
        after: impl Iterator<Item = u32>,
        count: usize,
    ) -> u64 {
        let step = u64::MAX / 2 / (count as u64 + 3);
        let mut label = 0;
        for number in before {
            label += step;
            self.set(number, label);
        }
        label += step;
        let wanted = label;
        for number in after {
            label += step;
            self.set(number, label);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_label_between_any_two_or_all_are_spread() {
        let mut labels = Labels::new(4);
        labels.set(0, labels.between(None, None).unwrap());
        labels.set(1, labels.between(Some(0), None).unwrap());
        let between = labels.between(Some(0), Some(1)).unwrap();
        assert!(labels.of(0) < between && between < labels.of(1));
        let first = labels.between(None, Some(0)).unwrap();
        assert!(0 < first && first < labels.of(0));
        labels.set(1, labels.of(0) + 1);
        assert_eq!(labels.between(Some(0), Some(1)), None, "no room");
        let wanted = labels.spread([0].into_iter(), [1, 2].into_iter(), 3);
        labels.set(3, wanted);
        assert!([0, 3, 1, 2].map(|number| labels.of(number)).is_sorted_by(|a, b| a < b));
        assert_eq!(Labels::behind(u64::MAX - 1), None);
    }
}
