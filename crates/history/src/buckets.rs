//! How finely rates are remembered: the longer ago, the coarser.

/// Buckets of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Seconds of a bucket.
    pub(crate) width: i64,
    /// For how many seconds such buckets are kept. Older ones are added up in buckets of the next
    /// width.
    pub(crate) kept: i64,
}

const HOUR: i64 = 3600;

const DAY: i64 = 24 * HOUR;

/// From fine to coarse. The last ones are kept as long as the incident.
pub(crate) const LEVELS: [Level; 4] = [
    Level { width: 10, kept: HOUR },
    Level { width: 60, kept: DAY },
    Level { width: 600, kept: 30 * DAY },
    Level { width: HOUR, kept: i64::MAX },
];

/// The incident under whose number the rates of all rules together are kept.
pub(crate) const ALL_RULES: i64 = 0;

/// The table of a level.
pub(crate) fn table(level: Level) -> String {
    format!("rates_{}", level.width)
}

/// The finest buckets that are as long as this.
pub(crate) fn level_for(seconds: i64) -> Level {
    let [.., coarsest] = LEVELS;
    LEVELS.into_iter().find(|level| seconds <= level.width).unwrap_or(coarsest)
}

/// Where the bucket begins that a second is in.
pub(crate) const fn start(second: i64, width: i64) -> i64 {
    second - second.rem_euclid(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_made_of_whole_buckets_of_the_one_before() {
        for pair in LEVELS.windows(2) {
            assert!(pair[1].width % pair[0].width == 0 && pair[0].kept % pair[1].width == 0, "{pair:?}");
        }
        assert_eq!((start(1_000_009, 10), start(1_000_010, 10), start(-1, 10)), (1_000_000, 1_000_010, -10));
        assert_eq!([0, 10, 11, 60, 601, 1 << 40].map(|seconds| level_for(seconds).width), [10, 10, 60, 60, 3600, 3600]);
    }
}
