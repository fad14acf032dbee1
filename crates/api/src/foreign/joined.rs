//! Conditions of which a program does not print whether they are joined by and or by or.

use super::model::{ForeignError, Form};

/// A condition: a comparison and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    pub(super) operator: &'static str,
    pub(super) value: u64,
}

/// Most conditions of one component for which all readings are tried.
const MOST: usize = 12;

/// The values that a reading tells apart: around each value of a condition.
fn samples(conditions: &[Condition]) -> Vec<u64> {
    let around = |value: u64| [value.saturating_sub(1), value, value.saturating_add(1)];
    let mut all: Vec<u64> =
        conditions.iter().flat_map(|condition| around(condition.value)).chain([0, u64::MAX]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn holds(condition: Condition, value: u64) -> bool {
    match condition.operator {
        "=" => value == condition.value,
        "!=" => value != condition.value,
        "<" => value < condition.value,
        "<=" => value <= condition.value,
        ">" => value > condition.value,
        _ => value >= condition.value,
    }
}

/// The one reading of the conditions in which each of them counts: each group that is joined by and
/// has values, none is within the others, and together they are not all values. In Floodgate's
/// words.
///
/// # Errors
/// Several readings are such.
pub(super) fn read(form: Form, text: &str, conditions: &[Condition]) -> Result<String, ForeignError> {
    if conditions.len() > MOST {
        let message = format!("`{text}`: of more than {MOST} values it is not known which are joined by and");
        return Err(ForeignError::Unknown { form, message });
    }
    let samples = samples(conditions);
    let mut readings: Vec<(Vec<bool>, String)> = Vec::new();
    let joints = conditions.len().saturating_sub(1);
    for ands in 0..1_u32 << joints {
        let mut groups: Vec<Vec<Condition>> = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if ands >> (index - 1) & 1 == 1 => group.push(*condition),
                _ => groups.push(vec![*condition]),
            }
        }
        if let Some(set) = meaning(&groups, &samples) {
            readings.push((set, words(&groups)));
        }
    }
    match readings.as_slice() {
        [(_, words)] => Ok(words.clone()),
        [(_, first), (_, second), ..] => Err(ForeignError::Ambiguous {
            form,
            text: text.to_owned(),
            first: format!("`{first}`"),
            second: format!("`{second}`"),
        }),
        [] => {
            let message = format!("`{text}`: in no reading does each of the values count");
            Err(ForeignError::Unknown { form, message })
        }
    }
}

/// Which samples match; `None` if some condition does not count.
fn meaning(groups: &[Vec<Condition>], samples: &[u64]) -> Option<Vec<bool>> {
    let set = |group: &[Condition]| -> Vec<bool> {
        samples.iter().map(|value| group.iter().all(|condition| holds(*condition, *value))).collect()
    };
    let sets: Vec<Vec<bool>> = groups.iter().map(|group| set(group)).collect();
    let union = |skip: Option<usize>| -> Vec<bool> {
        let others = || sets.iter().enumerate().filter(|(index, _)| Some(*index) != skip);
        (0..samples.len()).map(|at| others().any(|(_, set)| set[at])).collect()
    };
    let whole = union(None);
    let counts = |index: usize| sets[index].contains(&true) && union(Some(index)) != whole;
    // A condition within its group that changes nothing does not count either.
    let each_counts = |group: &[Condition]| {
        group.len() == 1
            || (0..group.len()).all(|skip| {
                let rest: Vec<Condition> =
                    group.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, condition)| *condition).collect();
                set(&rest) != set(group)
            })
    };
    let all_values = !whole.contains(&false);
    let good = (0..sets.len()).all(counts) && groups.iter().all(|group| each_counts(group)) && !all_values;
    // One condition means what it means.
    (good || groups.len() == 1 && groups[0].len() == 1).then_some(whole)
}

fn words(groups: &[Vec<Condition>]) -> String {
    let group = |group: &Vec<Condition>| {
        let conditions: Vec<String> = group.iter().map(|it| format!("{}{}", it.operator, it.value)).collect();
        conditions.join("&")
    };
    groups.iter().map(group).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(all: &[(&'static str, u64)]) -> Vec<Condition> {
        all.iter().map(|(operator, value)| Condition { operator, value: *value }).collect()
    }

    #[test]
    fn the_only_reading_in_which_each_counts() {
        for (all, words) in [
            (&[("=", 53)][..], "=53"),
            (&[("=", 53), ("=", 80)], "=53,=80"),
            (&[(">=", 512), ("<=", 1500)], ">=512&<=1500"),
            (&[("!=", 80), ("!=", 443)], "!=80&!=443"),
            (&[("=", 53), (">=", 1024), ("<=", 2048)], "=53,>=1024&<=2048"),
            (&[(">=", 1500), ("<=", 512)], ">=1500,<=512"),
            (&[("<", 10), ("=", 20)], "<10,=20"),
            (&[("=", 1), ("=", 2), ("=", 3)], "=1,=2,=3"),
        ] {
            assert_eq!(read(Form::Frr, "x", &conditions(all)).as_deref(), Ok(words), "{all:?}");
        }
    }

    #[test]
    fn what_has_no_such_reading_is_refused() {
        for all in [&[(">", 10), (">", 20)][..], &[("=", 5), ("!=", 7)], &[("=", 5), ("=", 5)]] {
            let error = read(Form::Frr, "x", &conditions(all)).unwrap_err();
            assert!(error.to_string().contains("in no reading"), "{error}");
        }
        assert!(read(Form::Frr, "x", &conditions(&[("=", 1); MOST + 1])).is_err());
    }

    /// Of all lists of up to four comparisons of small numbers: whatever is taken is one of the
    /// lists that are printed so, and each of its numbers counts.
    #[test]
    fn what_is_taken_is_printed_like_that() {
        let operators = ["=", "!=", "<", "<=", ">", ">="];
        let mut taken = 0;
        for code in 0..6_u64.pow(3) * 4_u64.pow(3) {
            let (mut rest, mut all) = (code, Vec::new());
            for _ in 0..3 {
                all.push(Condition { operator: operators[(rest % 6) as usize], value: rest / 6 % 4 + 1 });
                rest /= 24;
            }
            let printed = |words: &str| words.replace('&', ",");
            match read(Form::Frr, "x", &all) {
                Ok(words) => {
                    let plain: Vec<String> = all.iter().map(|it| format!("{}{}", it.operator, it.value)).collect();
                    assert_eq!(printed(&words), plain.join(","));
                    taken += 1;
                }
                Err(ForeignError::Ambiguous { first, second, .. }) => {
                    assert_ne!(first, second);
                    assert_eq!(printed(&first), printed(&second));
                }
                Err(_) => {}
            }
        }
        assert!(taken > 500, "{taken}");
    }
}
