//! Which of a peer's routes to one destination a path is.

use crate::route::RouteFamily;
use flowspec::{Nlri, PathId};

/// How a rule was announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PathKind {
    /// As a traffic filter.
    #[default]
    Flow,
    /// As a unicast route that is a blackhole.
    Blackhole,
}

impl PathKind {
    /// The family in which a rule was announced.
    pub(crate) fn family(self, nlri: &Nlri) -> RouteFamily {
        match self {
            PathKind::Flow => RouteFamily::Flow(nlri.family()),
            PathKind::Blackhole => RouteFamily::Unicast(nlri.family().version()),
        }
    }
}

/// Path identifier and kind: a peer has one path to a destination with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PathKey {
    pub(crate) id: Option<PathId>,
    pub(crate) kind: PathKind,
}

impl PathKey {
    pub(crate) const fn flow(id: Option<PathId>) -> Self {
        PathKey { id, kind: PathKind::Flow }
    }

    pub(crate) const fn blackhole(id: Option<PathId>) -> Self {
        PathKey { id, kind: PathKind::Blackhole }
    }
}
