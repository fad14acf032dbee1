//! The switch ASICs, and the documented sizes of their tables.

use super::release::Release;
use std::str::FromStr;

/// A switch ASIC, with its TCAM profile if it has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asic(&'static AsicRow);

/// Entries of IPv4 and of IPv6.
type Entries = (u64, u64);

#[derive(Debug, PartialEq, Eq, Hash)]
struct AsicRow {
    name: &'static str,
    vendor: Vendor,
    /// Ingress rules with atomic updates, the switch's default rules among them.
    atomic: Entries,
    /// The same with `acl.non_atomic_update_mode = TRUE`.
    non_atomic: Entries,
    /// Of these, the default rules.
    default_rules: Option<Entries>,
    /// The document.
    documents: Documents,
    /// Pipelines that police separately, if a document says how many.
    pipelines: Option<u64>,
}

/// The releases of Cumulus Linux whose documents give the numbers of an ASIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Documents {
    first: Release,
    /// The last such release, if later releases do not run on this ASIC.
    last: Option<Release>,
    text: &'static str,
    /// What shares the table according to the documents.
    shares: &'static str,
}

/// The vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Broadcom; up to Cumulus Linux 4.3.
    Broadcom,
    /// NVIDIA (Mellanox) Spectrum.
    Nvidia,
}

/// "INPUT and ingress (FORWARD -i) rules occupy the same memory space"; rules for MAC addresses are
/// "put into the IPv4 memory space".
const WITH_INPUT: &str = "rules for INPUT, for MAC addresses (IPv4)";

/// "One common TCAM for both ingress and egress, which can be used for other non-ACL-related
/// resources".
const WITH_EGRESS: &str = "egress rules, multicast routes";

/// "The KVD and ATCAM share space with forwarding table entries, multicast route entries, and VLAN
/// flow counters".
const WITH_FORWARDING: &str = "forwarding and multicast entries, VLAN counters";

/// Of Broadcom, the limits "with default rules" of the page on ACLs.
const BROADCOM: Documents =
    Documents { first: Release::new(3, 7), last: Some(Release::new(4, 3)), text: "3.7 and 4.3", shares: WITH_INPUT };

/// Of Spectrum-1, the TCAM profiles of the same page.
const SPECTRUM_1: Documents =
    Documents { first: Release::new(3, 7), last: None, text: "3.7 to 5.17", shares: WITH_EGRESS };

/// 3.7 gives 7500 and 15000 for one of them; later documents correct that.
const SPECTRUM_1_CORRECTED: Documents =
    Documents { first: Release::new(4, 3), last: None, text: "4.3 to 5.17", shares: WITH_EGRESS };

/// "ATCAM on Spectrum-2 and Later"; documents of earlier releases know the profiles of Spectrum-1
/// only.
const SPECTRUM_2: Documents =
    Documents { first: Release::new(5, 9), last: None, text: "5.9 to 5.17", shares: WITH_FORWARDING };

const fn broadcom(name: &'static str, atomic: Entries, non_atomic: Entries, default_rules: Entries) -> AsicRow {
    let (vendor, default_rules) = (Vendor::Broadcom, Some(default_rules));
    AsicRow { name, vendor, atomic, non_atomic, default_rules, documents: BROADCOM, pipelines: None }
}

const fn spectrum(name: &'static str, atomic: Entries, non_atomic: Entries, documents: Documents) -> AsicRow {
    AsicRow { name, vendor: Vendor::Nvidia, atomic, non_atomic, default_rules: None, documents, pipelines: None }
}

/// Ingress rules as the vendor's manual lists them; for Broadcom those "with default rules".
static ASICS: [AsicRow; 13] = [
    // "Rate Limiting per Pipeline, Not Global": "the field processor (FP) polices on a per-pipeline
    // basis instead of globally, as with a Trident II switch"; "there are four pipelines on a
    // Tomahawk switch".
    AsicRow { pipelines: Some(4), ..broadcom("tomahawk", (256, 256), (768, 768), (36, 29)) },
    AsicRow { pipelines: Some(1), ..broadcom("trident2", (512, 768), (1536, 1536), (36, 29)) },
    broadcom("trident2+", (2048, 3072), (6144, 6144), (36, 29)),
    // The page's text says 2048 for this one; its table says less, and is used.
    broadcom("trident3", (768, 768), (2304, 2304), (44, 41)),
    broadcom("helix4", (768, 384), (1792, 896), (36, 29)),
    spectrum("spectrum1", (500, 250), (1000, 500), SPECTRUM_1),
    spectrum("spectrum1-ipmc-heavy", (750, 500), (1500, 1000), SPECTRUM_1),
    spectrum("spectrum1-ipmc-max", (1000, 500), (2000, 1000), SPECTRUM_1),
    spectrum("spectrum1-acl-heavy", (1750, 1000), (3500, 2000), SPECTRUM_1),
    spectrum("spectrum1-ip-acl-heavy", (6000, 0), (12000, 0), SPECTRUM_1_CORRECTED),
    spectrum("spectrum2", (12500, 6250), (25000, 12500), SPECTRUM_2),
    spectrum("spectrum3", (12500, 6250), (25000, 12500), SPECTRUM_2),
    spectrum("spectrum4", (12500, 6250), (25000, 12500), SPECTRUM_2),
];

/// "Broadcom Range Checker Limitations" of 3.7 and 4.3: "Broadcom platforms have only 24 range
/// checkers". The page on cl-resource-query shows 24 on Trident II, and 32 on Tomahawk: the smaller
/// number is used.
const RANGE_CHECKERS: u64 = 24;

/// The default rules use this many of them (DHCP's and DHCPv6's ports), as the page on
/// cl-resource-query shows on both.
pub(super) const DEFAULT_RANGES: u64 = 2;

/// "Use port ranges for large ranges of more than 5 ports": smaller ranges are expanded.
const SHORT_RANGE: u64 = 5;

impl Asic {
    /// The ASIC with the smallest table: assumed if the ASIC is not known.
    pub const fn smallest() -> Self {
        Asic(&ASICS[5])
    }

    /// All known ASICs.
    pub fn all() -> impl Iterator<Item = Asic> {
        ASICS.iter().map(Asic)
    }

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The vendor.
    pub const fn vendor(self) -> Vendor {
        self.0.vendor
    }

    /// Entries for IPv4 and for IPv6, the switch's default rules among them; none means that rules
    /// of that version are not supported.
    pub const fn capacity(self, non_atomic: bool) -> (u64, u64) {
        if non_atomic { self.0.non_atomic } else { self.0.atomic }
    }

    /// Of these, the default rules, where a document says so.
    pub(super) const fn default_rules(self) -> Option<(u64, u64)> {
        self.0.default_rules
    }

    /// Number of port ranges that can be matched, if it is known to be limited.
    pub(super) const fn range_checkers(self) -> Option<u64> {
        match self.0.vendor {
            Vendor::Broadcom => Some(RANGE_CHECKERS),
            Vendor::Nvidia => None,
        }
    }

    /// Ranges of up to this many ports are expanded to single ports.
    pub(super) const fn short_range(self) -> u64 {
        match self.0.vendor {
            Vendor::Broadcom => SHORT_RANGE,
            Vendor::Nvidia => 0,
        }
    }

    /// Pipelines that police separately: a limit may be exceeded by this factor. `None` if no
    /// document says.
    pub(super) const fn pipelines(self) -> Option<u64> {
        self.0.pipelines
    }

    /// What else shares the table.
    pub(super) const fn shares_table_with(self) -> &'static str {
        self.0.documents.shares
    }

    /// The releases whose documents give these numbers, if they hold for this release; empty if
    /// none does.
    pub(super) fn document(self, release: Release) -> &'static str {
        let Documents { first, last, text, .. } = self.0.documents;
        let Release { major, minor, .. } = release;
        let holds = first <= release && last.is_none_or(|last| Release::new(major, minor) <= last);
        if holds { text } else { "" }
    }
}

/// Text that names no ASIC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known ASIC; expected one of {known}", known = names())]
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

    #[test]
    fn numbers_have_documents_only_for_releases_that_run_on_the_asic() {
        for (name, release, document) in [
            ("tomahawk", "3.7", "3.7 and 4.3"),
            ("tomahawk", "4.3.2", "3.7 and 4.3"),
            ("tomahawk", "4.4", ""),
            ("helix4", "5.0", ""),
            ("spectrum1", "3.7.16", "3.7 to 5.17"),
            ("spectrum1-ip-acl-heavy", "3.7", ""),
            ("spectrum1-ip-acl-heavy", "4.4", "4.3 to 5.17"),
            ("spectrum2", "5.8", ""),
            ("spectrum4", "5.17", "5.9 to 5.17"),
        ] {
            let asic: Asic = name.parse().unwrap();
            assert_eq!(asic.document(release.parse().unwrap()), document, "{name} {release}");
        }
        let pipelines = |name: &str| name.parse::<Asic>().unwrap().pipelines();
        assert_eq!((pipelines("tomahawk"), pipelines("trident2"), pipelines("trident3")), (Some(4), Some(1), None));
    }
}
