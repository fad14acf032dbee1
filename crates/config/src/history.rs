//! `[history]`: the history on disk.

use api::HumanDuration;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// `[history]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct History {
    /// The file; empty = none. `None`: beside the state file.
    pub file: Option<PathBuf>,
    /// How long what has ended is kept.
    pub keep: HumanDuration,
    /// How many megabytes (1,000,000 octets) it takes at most.
    pub megabytes: u64,
}

impl Default for History {
    fn default() -> Self {
        History { file: None, keep: HumanDuration::seconds(90 * 86_400), megabytes: 1000 }
    }
}

impl History {
    /// Where it is, if there is to be one; `state` is the state file.
    pub fn path(&self, state: &Path) -> Option<PathBuf> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None if state.as_os_str().is_empty() => return None,
            None => {
                let mut beside = state.as_os_str().to_owned();
                beside.push(".history");
                beside.into()
            }
        };
        (!file.as_os_str().is_empty()).then_some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_beside_the_state_file_unless_it_has_a_place_or_is_nowhere() {
        let path = |file: Option<&str>, state: &str| {
            History { file: file.map(PathBuf::from), ..History::default() }.path(Path::new(state))
        };
        assert_eq!(path(None, "/var/lib/floodgate/state"), Some("/var/lib/floodgate/state.history".into()));
        assert_eq!(path(None, ""), None);
        assert_eq!(path(Some(""), "/state"), None);
        assert_eq!(path(Some("/h"), ""), Some("/h".into()));
    }
}
