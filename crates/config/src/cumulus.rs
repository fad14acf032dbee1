//! `[dataplane.cumulus]`: the switch's properties, and paths on it.

use crate::values::Pattern;
use api::HumanDuration;
use dataplane::cumulus::{Asic, Release, Settings};
use serde::de::{self, Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `[dataplane.cumulus]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Cumulus {
    /// The release of Cumulus Linux. `None`: the release of this machine.
    #[serde(deserialize_with = "named")]
    pub release: Option<Release>,
    /// The ASIC. `None`: the one with the smallest table.
    #[serde(deserialize_with = "named")]
    pub asic: Option<Asic>,
    /// Whether switchd updates the hardware's tables in place.
    pub non_atomic: bool,
    /// Entries of the IPv4 table, if the ASIC's own number does not fit.
    pub capacity_v4: Option<u64>,
    /// Entries of the IPv6 table.
    pub capacity_v6: Option<u64>,
    /// Entries to leave to rules of other files, in each of the two tables. `None`: as many as the
    /// switch's default rules take.
    pub reserve: Option<u64>,
    /// Most entries that one rule may take.
    pub max_entries_per_rule: u64,
    /// The policy directory of cl-acltool.
    pub policy_directory: PathBuf,
    /// The program that installs them.
    pub cl_acltool: PathBuf,
    /// Timeout of a run.
    pub timeout: HumanDuration,
    /// The program that lists the kernel's IPv4 rules with counters.
    pub iptables_save: PathBuf,
    /// The same for IPv6.
    pub ip6tables_save: PathBuf,
    /// Whether each installed rule carries its id. `None`: if the release's own rules carry
    /// comments.
    pub comments: Option<bool>,
    /// The burst of a policer, as the time that its rate takes for it.
    pub burst: HumanDuration,
}

impl Default for Cumulus {
    fn default() -> Self {
        let Settings {
            policy_directory,
            tool,
            timeout,
            save: [iptables_save, ip6tables_save],
            interfaces: _,
            release: _,
            asic: _,
            non_atomic,
            reserve,
            capacity: (capacity_v4, capacity_v6),
            max_entries_per_rule,
            comments,
            burst,
        } = Settings::default();
        Cumulus {
            release: None,
            asic: None,
            non_atomic,
            capacity_v4,
            capacity_v6,
            reserve,
            max_entries_per_rule,
            policy_directory,
            cl_acltool: tool,
            timeout: HumanDuration(timeout),
            iptables_save,
            ip6tables_save,
            comments,
            burst: HumanDuration(burst),
        }
    }
}

impl Cumulus {
    /// The back end's settings, for these `interfaces` of `[dataplane]`. `release` is that of this
    /// machine; without one and without the key, the back end's default.
    pub fn settings(&self, interfaces: &[Pattern], release: Option<Release>) -> Settings {
        let default = Settings::default();
        let mut names: Vec<String> = interfaces.iter().map(|pattern| pattern.as_str().replace('*', "+")).collect();
        if names.is_empty() {
            names.clone_from(&default.interfaces);
        }
        Settings {
            policy_directory: self.policy_directory.clone(),
            tool: self.cl_acltool.clone(),
            timeout: self.timeout.0,
            save: [self.iptables_save.clone(), self.ip6tables_save.clone()],
            interfaces: names,
            release: self.release.or(release).unwrap_or(default.release),
            asic: self.asic.unwrap_or(default.asic),
            non_atomic: self.non_atomic,
            reserve: self.reserve,
            capacity: (self.capacity_v4, self.capacity_v6),
            max_entries_per_rule: self.max_entries_per_rule,
            comments: self.comments,
            burst: self.burst.0,
        }
    }
}

/// The release of Cumulus Linux that this machine runs, if it does.
pub fn release_of_this_machine() -> Option<Release> {
    Release::of_system(&std::fs::read_to_string("/etc/os-release").ok()?)
}

/// Why a pattern cannot be an interface of this back end: cl-acltool knows two wildcards, and the
/// hardware no others.
pub fn unfit_interface(pattern: &Pattern) -> Option<String> {
    let text = pattern.as_str();
    match text.strip_suffix('+') {
        Some(stem) if stem == "swp" || stem == "bond" => {
            Some(format!("`{text}` is written `{stem}*` here, as for all back ends"))
        }
        _ if is_ignored(text) => Some(format!(
            "the switch's hardware ignores rules on `{text}`, which is not one of its ports: nothing would be filtered; expected names of ports or bonds, or `swp*`"
        )),
        _ if is_range(text) => Some(format!("`{text}` is not a port; name each of them")),
        _ if text.contains([',', '+', '!', '$', '[', '#']) => Some(format!("`{text}` cannot be a port or a bond")),
        _ if pattern.is_wildcard() && !matches!(text, "swp*" | "bond*") => Some(format!(
            "the switch knows the wildcards `swp*` (all ports) and `bond*` (all bonds), and not `{text}`; expected one of them, or names of ports"
        )),
        _ => None,
    }
}

/// Whether a wildcard of the list matches a port, whose entries would be installed twice.
pub(crate) fn is_covered_by(pattern: &Pattern, others: &[Pattern]) -> bool {
    others.iter().any(|other| other != pattern && other.is_wildcard() && other.matches(pattern.as_str()))
}

/// The management port, the loopback interface and the management VRF: packets there do not come
/// from the ASIC.
fn is_ignored(text: &str) -> bool {
    let is_number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '?');
    matches!(text, "lo" | "mgmt") || text.strip_prefix("eth").is_some_and(is_number)
}

/// Ranges of ports as other tools write them: `swp1-48`.
fn is_range(text: &str) -> bool {
    let ends = text.strip_prefix("swp").or_else(|| text.strip_prefix("bond")).and_then(|rest| rest.split_once('-'));
    ends.is_some_and(|(first, last)| [first, last].iter().all(|end| end.parse::<u16>().is_ok()))
}

/// A value that is parsed from text.
pub(crate) fn named<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_says_what_the_file_does_not() {
        let cumulus = Cumulus::default();
        assert_eq!(cumulus.settings(&[], None), Settings::default());
        let release = Some(Release::new(5, 14));
        assert_eq!(cumulus.settings(&[], release).release, Release::new(5, 14));
        let older = Cumulus { release: Some(Release::new(4, 4)), ..cumulus };
        assert_eq!(older.settings(&[], release).release, Release::new(4, 4));
    }

    #[test]
    fn interfaces_are_those_that_cl_acltool_knows() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        let settings = Cumulus::default().settings(&["swp*", "bond1", "bond*"].map(pattern), None);
        assert_eq!(settings.interfaces, ["swp+", "bond1", "bond+"]);
        for (text, fits) in [
            ("swp*", true),
            ("bond*", true),
            ("swp1s0", true),
            ("uplink", true),
            ("*", false),
            ("swp1*", false),
            ("swp+", false),
            ("swp1,swp2", false),
            ("swp1-48", false),
            ("bond-a", true),
            ("eth0", false),
            ("eth*", false),
            ("lo", false),
            ("mgmt", false),
            ("ethernet-uplink", true),
        ] {
            assert_eq!(unfit_interface(&pattern(text)).is_none(), fits, "{text}");
        }
        assert!(unfit_interface(&pattern("swp+")).unwrap().contains("`swp*`"));
        assert!(unfit_interface(&pattern("eth0")).unwrap().contains("ignores rules on `eth0`"));
    }
}
