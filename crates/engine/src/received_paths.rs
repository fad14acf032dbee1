//! The paths of one rule, as its peers announce them: the rule's part of the Adj-RIB-In.

use crate::path::Path;
use crate::path_key::PathKey;
use crate::route::PeerId;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One path for each peer and path identifier; none once the last is withdrawn.
#[derive(Debug, Default)]
pub(crate) struct ReceivedPaths {
    paths: Vec<Path>,
    /// A fingerprint of the paths as last written to the state file; 0 if they were not.
    written: u64,
}

impl ReceivedPaths {
    pub(crate) fn as_slice(&self) -> &[Path] {
        &self.paths
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Path] {
        &mut self.paths
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Path> {
        self.paths.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    pub(crate) fn find_mut(&mut self, peer: PeerId, key: PathKey) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.is_from(peer, key))
    }

    /// Adds a path of a peer that has none with this path identifier.
    pub(crate) fn push(&mut self, path: Path) {
        // Mostly the only one: no capacity for others.
        self.paths.reserve_exact(1);
        self.paths.push(path);
    }

    pub(crate) fn remove(&mut self, peer: PeerId, key: PathKey) -> Option<Path> {
        let at = self.paths.iter().position(|path| path.is_from(peer, key))?;
        Some(self.paths.remove(at))
    }

    pub(crate) fn retain_mut(&mut self, keep: impl FnMut(&mut Path) -> bool) {
        self.paths.retain_mut(keep);
    }

    /// The paths that are saved. A loop is never in force, and its peer sends it again.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.route.facts.route_loop.is_none())
    }

    /// Records that the paths are written to the state file as they are now; true if they differ
    /// from what was written before.
    pub(crate) fn mark_written(&mut self) -> bool {
        let mut hasher = DefaultHasher::new();
        for path in self.persistent() {
            let id = path.key.id.map(|id| id.0);
            (path.peer, id, path.key.kind, path.received, path.deadline, path.announced_route()).hash(&mut hasher);
        }
        // 0 means never written.
        let number = hasher.finish().max(1);
        std::mem::replace(&mut self.written, number) != number
    }
}
