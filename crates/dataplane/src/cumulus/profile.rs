//! What a switch is: its ASIC, its release of Cumulus Linux, and what follows from them.

use std::fmt;
use std::str::FromStr;

/// A switch ASIC, with its TCAM profile where it has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asic(&'static AsicRow);

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsicRow {
    name: &'static str,
    /// Entries for IPv4 and IPv6 with atomic updates.
    atomic: (u64, u64),
    /// The same with `acl.non_atomic_update_mode = TRUE`.
    non_atomic: (u64, u64),
}

const fn row(name: &'static str, atomic: (u64, u64), non_atomic: (u64, u64)) -> AsicRow {
    AsicRow { name, atomic, non_atomic }
}

/// Ingress rules as the vendor's manual lists them; the switch's own rules count among them.
static ASICS: [AsicRow; 12] = [
    row("tomahawk", (512, 512), (1024, 1024)),
    row("trident2", (1024, 1024), (2048, 2048)),
    row("trident2+", (4096, 4096), (8192, 8192)),
    row("trident3", (768, 768), (2304, 2304)),
    row("spectrum1", (500, 250), (1000, 500)),
    row("spectrum1-ipmc-heavy", (750, 500), (1500, 1000)),
    row("spectrum1-ipmc-max", (1000, 500), (2000, 1000)),
    row("spectrum1-acl-heavy", (1750, 1000), (3500, 2000)),
    row("spectrum1-ip-acl-heavy", (6000, 0), (12000, 0)),
    row("spectrum2", (12500, 6250), (25000, 12500)),
    row("spectrum3", (12500, 6250), (25000, 12500)),
    row("spectrum4", (12500, 6250), (25000, 12500)),
];

impl Asic {
    /// The one with the smallest table: what is assumed where nothing is known.
    pub const fn smallest() -> Self {
        Asic(&ASICS[4])
    }

    /// All that are known.
    pub fn all() -> impl Iterator<Item = Asic> {
        ASICS.iter().map(Asic)
    }

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Entries for IPv4 and for IPv6; none means that rules of that version are not supported.
    pub const fn capacity(self, non_atomic: bool) -> (u64, u64) {
        if non_atomic { self.0.non_atomic } else { self.0.atomic }
    }
}

/// Text that names no ASIC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no ASIC that is known; expected one of {known}", known = names())]
pub struct UnknownAsic(String);

fn names() -> String {
    ASICS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

impl FromStr for Asic {
    type Err = UnknownAsic;

    fn from_str(text: &str) -> Result<Self, UnknownAsic> {
        Asic::all().find(|asic| asic.name() == text).ok_or_else(|| UnknownAsic(text.to_owned()))
    }
}

/// A release of Cumulus Linux: 5.14 is `Release { major: 5, minor: 14 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// Before the first dot.
    pub major: u16,
    /// Behind it.
    pub minor: u16,
}

impl Release {
    /// This one.
    pub const fn new(major: u16, minor: u16) -> Self {
        Release { major, minor }
    }

    /// What `/etc/os-release` of a switch says; `None` where it is another system's.
    pub fn of_system(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']))
        };
        value("VERSION_ID").filter(|_| value("ID") == Some("cumulus-linux"))?.parse().ok()
    }

    /// Table and chain for packets that come in on a switch port.
    pub(super) fn chain(self) -> &'static str {
        if self.filters_before_routing() { "-t mangle -A PREROUTING" } else { "-A FORWARD" }
    }

    /// Ingress rules stand in the mangle table. Before, they stood in the filter table, and those that mark in the mangle table, which the
    /// hardware looks up beside the other: there a mark cannot be the first match of both.
    pub(super) fn filters_before_routing(self) -> bool {
        self >= Release::new(5, 0)
    }

    /// The hardware matches IPv4 fragments.
    pub(super) fn matches_fragments(self) -> bool {
        self >= Release::new(5, 14)
    }

    /// Rules that the release itself generates (NVUE) carry a comment, so ours may.
    pub(super) fn writes_comments(self) -> bool {
        self >= Release::new(5, 0)
    }
}

/// Text that is no release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no release of Cumulus Linux; expected a number such as 4.4 or 5.14")]
pub struct InvalidRelease(String);

impl FromStr for Release {
    type Err = InvalidRelease;

    /// `5`, `5.14` or `5.14.1`.
    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let invalid = || InvalidRelease(text.to_owned());
        let mut numbers = text.split('.').map(|part| part.parse::<u16>().map_err(|_| invalid()));
        let major = numbers.next().ok_or_else(invalid)??;
        let minor = numbers.next().unwrap_or(Ok(0))?;
        match (numbers.next().transpose()?, numbers.next()) {
            (_, None) if (2..100).contains(&major) => Ok(Release { major, minor }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!("trident2+".parse::<Asic>().unwrap().capacity(true), (8192, 8192));
        assert_eq!("spectrum4".parse::<Asic>().unwrap().capacity(false), (12500, 6250));
        assert_eq!(Asic::smallest().name(), "spectrum1");
        assert!("spectrum".parse::<Asic>().unwrap_err().to_string().contains("spectrum1-acl-heavy"));
        for asic in Asic::all() {
            assert_eq!(asic.name().parse(), Ok(asic));
        }
    }

    #[test]
    fn a_switch_says_which_release_it_runs() {
        let text = "NAME=\"Cumulus Linux\"\nVERSION_ID=5.9.1\nVERSION=\"Cumulus Linux 5.9.1\"\nID=cumulus-linux\n";
        assert_eq!(Release::of_system(text), Some(Release::new(5, 9)));
        assert_eq!(Release::of_system(&text.replace("5.9.1", "\"4.4.0\"")), Some(Release::new(4, 4)));
        assert_eq!(Release::of_system("ID=debian\nVERSION_ID=\"12\"\n"), None);
        assert_eq!(Release::of_system(""), None);
    }

    #[test]
    fn releases_are_read_and_ordered() {
        let release = |text: &str| text.parse::<Release>().unwrap();
        assert_eq!(release("5"), Release::new(5, 0));
        assert_eq!(release("4.4.5"), Release::new(4, 4));
        assert!(release("5.9") < release("5.14"));
        assert!(!release("5.13").matches_fragments() && release("5.14").matches_fragments());
        assert_eq!((release("4.4").chain(), release("5.0").chain()), ("-A FORWARD", "-t mangle -A PREROUTING"));
        for bad in ["", "five", "5.", "5.14.1.2", "1.0"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }
}
