//! Our files in the policy directory: replaced atomically, and restored if they could not be
//! installed.

use crate::DataplaneError;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Our policy file. The proof of concept had one file a rule, `60flowspec1.rules` and so on; now
/// there is one for all.
pub(super) const FILE: &str = "60flowspec.rules";

/// Prefix and suffix of the names of our files and those of the proof of concept.
const PREFIX: &str = "60flowspec";
const SUFFIX: &str = ".rules";

/// Our files before a change.
#[derive(Debug)]
pub(super) struct PreviousFiles {
    directory: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// The state of the policy files of other programs: names, sizes, modification times.
pub(super) type Stamp = Vec<(PathBuf, u64, std::time::SystemTime)>;

/// The current stamp.
pub(super) fn stamp_foreign_files(directory: &Path) -> Result<Stamp, DataplaneError> {
    let entries = fs::read_dir(directory).map_err(|source| io_error("read", directory, source))?;
    let is_of_others =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rules") && !is_ours(path);
    let mut stamp: Stamp = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_of_others)
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()?))
        })
        .collect();
    stamp.sort();
    Ok(stamp)
}

/// Makes `text` the only file of ours, or removes all of them. Files of others are not touched.
pub(super) fn write_policy(directory: &Path, text: Option<&str>) -> Result<PreviousFiles, DataplaneError> {
    let before = PreviousFiles::read(directory)?;
    let own = directory.join(FILE);
    let same = before.files.iter().any(|(path, content)| *path == own && text.is_some_and(|t| t.as_bytes() == content));
    let put = || {
        if let Some(text) = text.filter(|_| !same) {
            write(directory, &own, text.as_bytes())?;
        }
        let leftover = |path: &&PathBuf| text.is_none() || **path != own;
        let mut removed = false;
        for path in before.files.iter().map(|(path, _)| path).filter(leftover) {
            fs::remove_file(path).map_err(|source| io_error("remove", path, source))?;
            if *path != own {
                tracing::info!(file = %path.display(), "removed: one file has all rules now");
            }
            removed = true;
        }
        if removed { sync(directory) } else { Ok(()) }
    };
    match put() {
        Ok(()) => Ok(before),
        Err(error) => {
            before.restore();
            Err(error)
        }
    }
}

/// How our files differ from what they have to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PolicyDamage {
    /// A file with one of our names that we did not write.
    #[error("{} has appeared", .0.display())]
    Appeared(PathBuf),
    /// Our file has been changed.
    #[error("{} was changed", .0.display())]
    Changed(PathBuf),
    /// Our file is missing.
    #[error("{} was removed", .0.display())]
    Removed(PathBuf),
}

/// Whether exactly this text, or nothing, is ours in the directory; otherwise what differs.
pub(super) fn verify(directory: &Path, text: Option<&str>) -> Result<Result<(), PolicyDamage>, DataplaneError> {
    let mut found = PreviousFiles::read(directory)?.files;
    let own = directory.join(FILE);
    let at = found.iter().position(|(path, _)| *path == own);
    let content = at.map(|at| found.swap_remove(at).1);
    Ok(match (found.pop(), content) {
        (Some((path, _)), _) => Err(PolicyDamage::Appeared(path)),
        (None, content) if content.as_deref() == text.map(str::as_bytes) => Ok(()),
        (None, Some(_)) => Err(PolicyDamage::Changed(own)),
        (None, None) => Err(PolicyDamage::Removed(own)),
    })
}

impl PreviousFiles {
    fn read(directory: &Path) -> Result<Self, DataplaneError> {
        let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = listed.map_err(|source| match source.kind() {
            ErrorKind::NotFound => DataplaneError::Unavailable(format!(
                "there is no directory {}; is this a Cumulus Linux switch?",
                directory.display()
            )),
            _ => io_error("read", directory, source),
        })?;
        let mut files = Vec::new();
        for path in entries.into_iter().map(|entry| entry.path()).filter(|path| is_ours(path)) {
            match fs::read(&path) {
                Ok(content) => files.push((path, content)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(io_error("read", &path, source)),
            }
        }
        Ok(PreviousFiles { directory: directory.to_owned(), files })
    }

    /// Restores it. A failure is logged, not returned: an earlier error is being returned already.
    pub(super) fn restore(&self) {
        let own = self.directory.join(FILE);
        let mut outcome = Ok(());
        for (path, content) in &self.files {
            outcome = outcome.and(write(&self.directory, path, content));
        }
        if !self.files.iter().any(|(path, _)| *path == own) && own.exists() {
            let removed = fs::remove_file(&own).map_err(|source| io_error("remove", &own, source));
            outcome = outcome.and(removed).and(sync(&self.directory));
        }
        if let Err(error) = outcome {
            tracing::error!(%error, "the policy files could not be restored");
        }
    }
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|middle| middle.bytes().all(|octet| octet.is_ascii_digit()))
}

/// Replaces a file atomically, also in case of a crash.
fn write(directory: &Path, path: &Path, content: &[u8]) -> Result<(), DataplaneError> {
    let temporary = directory.join(format!(".{PREFIX}.new"));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|source| io_error("write", &temporary, source))?;
    fs::rename(&temporary, path).map_err(|source| io_error("write", path, source))?;
    sync(directory)
}

fn sync(directory: &Path) -> Result<(), DataplaneError> {
    File::open(directory).and_then(|open| open.sync_all()).map_err(|source| io_error("sync", directory, source))
}

fn io_error(what: &str, path: &Path, source: io::Error) -> DataplaneError {
    DataplaneError::Io { context: format!("{what} {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn takes_over_old_files_and_leaves_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in [
            "60flowspec1.rules",
            "60flowspec27.rules",
            "60flowspec-mine.rules",
            "50_nvue.rules",
            "60flowspec1.rules.bak",
        ] {
            fs::write(path.join(name), name).unwrap();
        }
        let before = write_policy(path, Some("new")).unwrap();
        let others = ["50_nvue.rules", "60flowspec-mine.rules", "60flowspec.rules", "60flowspec1.rules.bak"];
        assert_eq!(names(path), others);
        assert_eq!(verify(path, Some("new")).unwrap(), Ok(()));
        before.restore();
        assert_eq!(names(path).len(), 5);
        assert_eq!(fs::read_to_string(path.join("60flowspec27.rules")).unwrap(), "60flowspec27.rules");
        assert!(verify(path, None).unwrap().unwrap_err().to_string().contains("has appeared"));
        write_policy(path, None).unwrap();
        assert_eq!(names(path), ["50_nvue.rules", "60flowspec-mine.rules", "60flowspec1.rules.bak"]);
    }

    #[test]
    fn unchanged_content_is_not_written_again() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let inode = || fs::metadata(directory.path().join(FILE)).unwrap().ino();
        write_policy(directory.path(), Some("a")).unwrap();
        let first = inode();
        write_policy(directory.path(), Some("a")).unwrap();
        assert_eq!(inode(), first);
        write_policy(directory.path(), Some("b")).unwrap();
        assert!(verify(directory.path(), Some("a")).unwrap().unwrap_err().to_string().contains("was changed"));
    }
}
