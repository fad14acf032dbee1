//! A state file that is open for writing.

use super::contents::FIRST_LINE;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A file that is being written. Its length is that of the complete records: a failed append leaves
/// nothing.
pub(super) struct Output {
    file: File,
    length: u64,
}

impl Output {
    /// Creates a file, readable by its owner alone.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut output = Output { file, length: 0 };
        output.write(FIRST_LINE)?;
        Ok(output)
    }

    /// Continues after this many octets of the existing file.
    pub(super) fn open_at(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        // A file of an earlier version, or a copied one, may be readable by all.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        file.set_len(length)?;
        Ok(Output { file, length })
    }

    /// Its length in octets.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Syncs the file.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file for the thread that syncs it.
    pub(super) fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Appends everything or nothing.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self.file.write_all(octets) {
            Ok(()) => {
                self.length += octets.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A part may be there: later records must not follow it.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

/// Sync the directory, too, so that the new name survives a crash of the machine.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
