//! The two text formats of the exposition.

use std::borrow::Cow;

/// How metrics are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Exposition {
    /// What a client takes that sends this `Accept`: OpenMetrics if it names that.
    pub fn accepted(accept: Option<&str>) -> Self {
        let names = |accept: &str| accept.to_ascii_lowercase().contains("application/openmetrics-text");
        if accept.is_some_and(names) { Exposition::OpenMetrics } else { Exposition::Text }
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The text of OpenMetrics in this format. There, the family of a counter has the name of its
    /// samples, which ends with `_total`.
    pub(super) fn of_open_metrics(self, text: String) -> String {
        if self == Exposition::OpenMetrics {
            return text;
        }
        let counters: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
        let mut changed = String::with_capacity(text.len());
        for line in text.lines().filter(|line| *line != "# EOF") {
            changed.push_str(&named_as_samples(line, &counters));
            changed.push('\n');
        }
        changed
    }
}

/// A line about the family of a counter, with the name of its samples.
fn named_as_samples<'a>(line: &'a str, counters: &[&str]) -> Cow<'a, str> {
    let about = ["# TYPE ", "# HELP "].into_iter().find_map(|about| Some((about, line.strip_prefix(about)?)));
    match about.and_then(|(about, rest)| Some((about, rest.split_once(' ')?))) {
        Some((about, (name, rest))) if counters.contains(&name) => format!("{about}{name}_total {rest}").into(),
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::accepted(Some(prometheus)), Exposition::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain"), Some("")] {
            assert_eq!(Exposition::accepted(other), Exposition::Text, "{other:?}");
        }
    }

    #[test]
    fn counters_have_the_name_of_their_samples() {
        let text = "# HELP a_lost Things lost.\n# TYPE a_lost counter\na_lost_total{peer=\"# TYPE a_lost counter\"} 1\n\
                    # HELP a Things.\n# TYPE a gauge\na 2\n# EOF\n";
        let changed = Exposition::Text.of_open_metrics(text.to_owned());
        assert_eq!(
            changed,
            "# HELP a_lost_total Things lost.\n# TYPE a_lost_total counter\na_lost_total{peer=\"# TYPE a_lost counter\"} 1\n\
             # HELP a Things.\n# TYPE a gauge\na 2\n"
        );
        assert_eq!(Exposition::OpenMetrics.of_open_metrics(text.to_owned()), text);
    }
}
