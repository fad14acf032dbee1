//! Settings of the back end: paths, and the switch's properties.

use super::asic::Asic;
use super::release::{self, Release};
use engine::capability::EntryCost;
use std::path::PathBuf;
use std::time::Duration;

/// Entries of the switch's own rules if no document says how many: as many as of any ASIC with a
/// document.
pub(super) const RESERVE: u64 = 44;

/// Settings of the back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The policy directory of cl-acltool.
    pub policy_directory: PathBuf,
    /// The program that installs policies.
    pub tool: PathBuf,
    /// Timeout of one run.
    pub timeout: Duration,
    /// The programs that list the kernel's rules with their counters: of IPv4 and of IPv6.
    pub save: [PathBuf; 2],
    /// Ingress interfaces: names of ports and bonds, `swp+` for all ports, `bond+` for all bonds.
    /// Never empty.
    pub interfaces: Vec<String>,
    /// The release of Cumulus Linux.
    pub release: Release,
    /// The ASIC.
    pub asic: Asic,
    /// Whether switchd updates the hardware's tables in place, which gives more room and may
    /// interrupt traffic.
    pub non_atomic: bool,
    /// Entries of each table to leave for rules of other files. `None`: as many as the switch's
    /// default rules take.
    pub reserve: Option<u64>,
    /// Entries of the table for IPv4 and IPv6, if the ASIC's own numbers do not fit; the reserve is
    /// subtracted.
    pub capacity: (Option<u64>, Option<u64>),
    /// Most entries that one rule may take.
    pub max_entries_per_rule: u64,
    /// Whether each installed rule carries the rule id in a netfilter comment. `None`: if a
    /// document shows such rules, from 5.9 on.
    pub comments: Option<bool>,
    /// The burst of a policer, as the time that its rate takes for it.
    pub burst: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy_directory: PathBuf::from("/etc/cumulus/acl/policy.d"),
            tool: PathBuf::from("/usr/cumulus/bin/cl-acltool"),
            timeout: Duration::from_secs(60),
            save: [PathBuf::from("iptables-save"), PathBuf::from("ip6tables-save")],
            interfaces: vec!["swp+".to_owned()],
            release: Release::new(5, 0),
            asic: Asic::smallest(),
            non_atomic: false,
            reserve: None,
            capacity: (None, None),
            max_entries_per_rule: 256,
            comments: None,
            burst: Duration::from_millis(250),
        }
    }
}

impl Settings {
    /// Entries that our rules may take, of IPv4 and of IPv6.
    pub fn budget(&self) -> (u64, u64) {
        let (v4, v6) = self.asic.capacity(self.non_atomic);
        let default_rules = self.asic.default_rules().unwrap_or((RESERVE, RESERVE));
        let left = |own: Option<u64>, asic: u64, default_rules: u64| {
            own.unwrap_or(asic).saturating_sub(self.reserve.unwrap_or(default_rules))
        };
        (left(self.capacity.0, v4, default_rules.0), left(self.capacity.1, v6, default_rules.1))
    }

    /// Both versions cannot have their maximum at once: entries of one reduce those of the other.
    /// An operator who gives both sizes knows better.
    pub fn shares_table(&self) -> bool {
        let (v4, v6) = self.budget();
        v4 > 0 && v6 > 0 && (self.capacity.0.is_none() || self.capacity.1.is_none())
    }

    /// TCAM entries of one compiled entry: one for each interface and each port range, and one more
    /// for a policer if evaluation continues after it.
    pub fn entry_cost(&self) -> EntryCost {
        let limit = u64::from(self.accepts_behind_policers());
        EntryCost { copies: self.interfaces.len() as u64, port_ranges: true, limit, ..EntryCost::default() }
    }

    /// Whether rules carry a netfilter comment.
    pub fn has_comments(&self) -> bool {
        self.comments.unwrap_or_else(|| release::COMMENTS.is_in(self.release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switchs_own_rules_keep_their_room() {
        let settings = Settings::default();
        assert_eq!(settings.budget(), (456, 206));
        let asic = "spectrum1-ip-acl-heavy".parse().unwrap();
        assert_eq!(Settings { asic, non_atomic: true, ..settings.clone() }.budget(), (11956, 0));
        assert_eq!(Settings { capacity: (Some(100), None), ..settings.clone() }.budget(), (56, 206));
        let tomahawk = Settings { asic: "tomahawk".parse().unwrap(), ..settings };
        assert_eq!(tomahawk.budget(), (220, 227));
        assert_eq!(Settings { reserve: Some(100), ..tomahawk }.budget(), (156, 156));
    }

    #[test]
    fn the_two_versions_share_what_there_is() {
        let settings = Settings::default();
        assert!(settings.shares_table());
        assert!(Settings { capacity: (Some(100), None), ..settings.clone() }.shares_table());
        assert!(!Settings { capacity: (Some(100), Some(100)), ..settings.clone() }.shares_table());
        assert!(!Settings { asic: "spectrum1-ip-acl-heavy".parse().unwrap(), ..settings }.shares_table());
    }
}
