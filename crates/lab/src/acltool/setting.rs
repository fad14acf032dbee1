//! Settings of an emulated switch, which tests make.

use std::fs;
use std::path::Path;

/// A setting in this directory, if there is one.
pub(super) fn setting(directory: &Path, name: &str) -> Option<String> {
    fs::read_to_string(directory.join("settings").join(name)).ok().map(|text| text.trim().to_owned())
}
