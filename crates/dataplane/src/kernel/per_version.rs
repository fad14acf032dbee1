//! A pair of values, one for each IP version.

use flowspec::IpVersion;

/// The IP versions, in the order in which they are processed.
pub(crate) const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

/// A value for IPv4 and one for IPv6. Plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerVersion<T> {
    pub(crate) v4: T,
    pub(crate) v6: T,
}

impl<T> PerVersion<T> {
    pub(crate) fn new(mut make: impl FnMut(IpVersion) -> T) -> Self {
        PerVersion { v4: make(IpVersion::V4), v6: make(IpVersion::V6) }
    }

    pub(crate) fn try_new<E>(mut make: impl FnMut(IpVersion) -> Result<T, E>) -> Result<Self, E> {
        Ok(PerVersion { v4: make(IpVersion::V4)?, v6: make(IpVersion::V6)? })
    }

    pub(crate) const fn of(&self, version: IpVersion) -> &T {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }

    pub(crate) const fn of_mut(&mut self, version: IpVersion) -> &mut T {
        match version {
            IpVersion::V4 => &mut self.v4,
            IpVersion::V6 => &mut self.v6,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.v4, &self.v6].into_iter()
    }
}
