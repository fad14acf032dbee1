//! The switch ASICs, and what the documents say of their tables.

use std::str::FromStr;

/// A switch ASIC, with its TCAM profile where it has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asic(&'static AsicRow);

/// Entries of IPv4 and of IPv6.
type Entries = (u64, u64);

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsicRow {
    name: &'static str,
    maker: Maker,
    /// Ingress rules with atomic updates, the switch's default rules among them.
    atomic: Entries,
    /// The same with `acl.non_atomic_update_mode = TRUE`.
    non_atomic: Entries,
    /// Of these, the default rules.
    default_rules: Option<Entries>,
    /// The releases whose documents say so.
    document: &'static str,
    /// Pipelines that police each for itself.
    pipelines: u64,
}

/// Who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maker {
    /// Broadcom; up to Cumulus Linux 4.3.
    Broadcom,
    /// NVIDIA (Mellanox) Spectrum.
    Nvidia,
}

const fn broadcom(name: &'static str, atomic: Entries, non_atomic: Entries, default_rules: Entries) -> AsicRow {
    let (maker, default_rules) = (Maker::Broadcom, Some(default_rules));
    AsicRow { name, maker, atomic, non_atomic, default_rules, document: "3.7 and 4.3", pipelines: 1 }
}

const fn spectrum(name: &'static str, atomic: Entries, non_atomic: Entries, document: &'static str) -> AsicRow {
    AsicRow { name, maker: Maker::Nvidia, atomic, non_atomic, default_rules: None, document, pipelines: 1 }
}

/// Ingress rules as the vendor's manual lists them; for Broadcom those "with default rules".
static ASICS: [AsicRow; 13] = [
    AsicRow { pipelines: 4, ..broadcom("tomahawk", (256, 256), (768, 768), (36, 29)) },
    broadcom("trident2", (512, 768), (1536, 1536), (36, 29)),
    broadcom("trident2+", (2048, 3072), (6144, 6144), (36, 29)),
    broadcom("trident3", (768, 768), (2304, 2304), (44, 41)),
    broadcom("helix4", (768, 384), (1792, 896), (36, 29)),
    spectrum("spectrum1", (500, 250), (1000, 500), "3.7 to 5.17"),
    spectrum("spectrum1-ipmc-heavy", (750, 500), (1500, 1000), "3.7 to 5.17"),
    spectrum("spectrum1-ipmc-max", (1000, 500), (2000, 1000), "3.7 to 5.17"),
    spectrum("spectrum1-acl-heavy", (1750, 1000), (3500, 2000), "3.7 to 5.17"),
    // 3.7 says 7500 and 15000; later documents take that back.
    spectrum("spectrum1-ip-acl-heavy", (6000, 0), (12000, 0), "4.3 to 5.17"),
    spectrum("spectrum2", (12500, 6250), (25000, 12500), "5.17"),
    spectrum("spectrum3", (12500, 6250), (25000, 12500), "5.17"),
    spectrum("spectrum4", (12500, 6250), (25000, 12500), "5.17"),
];

/// Port range checkers of a Broadcom ASIC; of Tomahawk the page on cl-resource-query shows 32, of Trident II these.
const RANGE_CHECKERS: u64 = 24;

/// Of these, the default rules use so many (DHCP's ports, over UDP and over TCP), as the same page shows.
pub(super) const DEFAULT_RANGES: u64 = 2;

/// Broadcom's range checkers are for ranges of more ports than these; fewer are written out.
const SHORT_RANGE: u64 = 5;

impl Asic {
    /// The one with the smallest table: what is assumed where nothing is known.
    pub const fn smallest() -> Self {
        Asic(&ASICS[5])
    }

    /// All that are known.
    pub fn all() -> impl Iterator<Item = Asic> {
        ASICS.iter().map(Asic)
    }

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Who makes it.
    pub const fn maker(self) -> Maker {
        self.0.maker
    }

    /// Entries for IPv4 and for IPv6, the switch's default rules among them; none means that rules of that version are not supported.
    pub const fn capacity(self, non_atomic: bool) -> (u64, u64) {
        if non_atomic { self.0.non_atomic } else { self.0.atomic }
    }

    /// Of these, the default rules, where a document says so.
    pub(super) const fn default_rules(self) -> Option<(u64, u64)> {
        self.0.default_rules
    }

    /// Port ranges that can be matched in all, where that is known to be limited.
    pub(super) const fn range_checkers(self) -> Option<u64> {
        match self.0.maker {
            Maker::Broadcom => Some(RANGE_CHECKERS),
            Maker::Nvidia => None,
        }
    }

    /// Ranges of so many ports or fewer are better written out.
    pub(super) const fn short_range(self) -> u64 {
        match self.0.maker {
            Maker::Broadcom => SHORT_RANGE,
            Maker::Nvidia => 0,
        }
    }

    /// Pipelines that police each for itself: a limit may be exceeded so many times.
    pub(super) const fn pipelines(self) -> u64 {
        self.0.pipelines
    }

    /// The releases whose documents tell of it.
    pub(super) const fn document(self) -> &'static str {
        self.0.document
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!("spectrum4".parse::<Asic>().unwrap().capacity(false), (12500, 6250));
        assert_eq!(Asic::smallest().name(), "spectrum1");
        let error = "spectrum".parse::<Asic>().unwrap_err().to_string();
        assert!(
            error.contains("spectrum1-acl-heavy") && error.contains("helix4") && error.ends_with("spectrum4"),
            "{error}"
        );
        for asic in Asic::all() {
            assert_eq!(asic.name().parse(), Ok(asic));
        }
    }

    #[test]
    fn tables_are_as_documented_with_the_default_rules_in_place() {
        for (name, atomic, non_atomic) in [
            ("tomahawk", (256, 256), (768, 768)),
            ("trident2", (512, 768), (1536, 1536)),
            ("trident2+", (2048, 3072), (6144, 6144)),
            ("trident3", (768, 768), (2304, 2304)),
            ("helix4", (768, 384), (1792, 896)),
        ] {
            let asic: Asic = name.parse().unwrap();
            assert_eq!((asic.capacity(false), asic.capacity(true)), (atomic, non_atomic), "{name}");
            assert_eq!((asic.range_checkers(), asic.short_range()), (Some(24), 5), "{name}");
        }
        assert_eq!(Asic::smallest().range_checkers(), None);
    }
}
