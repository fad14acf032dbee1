//! A state file that is open for writing.

use super::contents::FIRST_LINE;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A file that is being written. It is as long as what was written whole: an append that failed left nothing.
pub(super) struct Output {
    file: File,
    length: u64,
}

impl Output {
    /// Begins a file, for its owner alone.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut output = Output { file, length: 0 };
        output.write(FIRST_LINE)?;
        Ok(output)
    }

    /// Goes on behind so many octets of what is there.
    pub(super) fn go_on(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        // A file of an earlier version, or one that somebody copied, may be open to all.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        file.set_len(length)?;
        Ok(Output { file, length })
    }

    /// Its length in octets.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What was written goes to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file for another thread, which brings what was written to the disk.
    pub(super) fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Appends; all of it or nothing.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self.file.write_all(octets) {
            Ok(()) => {
                self.length += octets.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A part may be there: what is appended later is not to stand behind it.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

/// A new name outlives the machine's crash.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
