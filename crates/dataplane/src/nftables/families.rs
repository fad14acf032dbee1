//! Our two tables: `ip floodgate` and `ip6 floodgate`.
//!
//! One table of family `inet` would take both kinds of packets, but then each rule that looks at an IP header has to ask for its version
//! first. For a packet without match, that was a third of what the filter cost.

use flowspec::IpVersion;

/// The IP versions, in the order of the tables.
pub(super) const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// Something of each table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families<T> {
    pub(super) v4: T,
    pub(super) v6: T,
}

impl<T> Families<T> {
    pub(super) fn new(mut make: impl FnMut(IpVersion) -> T) -> Self {
        Families { v4: make(IpVersion::V4), v6: make(IpVersion::V6) }
    }

    pub(super) fn try_new<E>(mut make: impl FnMut(IpVersion) -> Result<T, E>) -> Result<Self, E> {
        Ok(Families { v4: make(IpVersion::V4)?, v6: make(IpVersion::V6)? })
    }

    pub(super) const fn of(&self, version: IpVersion) -> &T {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }

    pub(super) const fn of_mut(&mut self, version: IpVersion) -> &mut T {
        match version {
            IpVersion::V4 => &mut self.v4,
            IpVersion::V6 => &mut self.v6,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.v4, &self.v6].into_iter()
    }
}

/// The family, in nft's language.
pub(super) const fn family_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    }
}
