//! A namespace as a switch.

use super::hardware;
use super::program::{self, Run};
use crate::Netns;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A namespace as a switch: a policy directory, and the programs of a switch.
#[derive(Debug)]
pub struct Switch {
    directory: tempfile::TempDir,
}

impl Switch {
    /// Makes a switch of a namespace. `binary` is the [emulator](super::stand_in). The release is
    /// 5.0, the table has 500 entries for IPv4 and 250 for IPv6.
    ///
    /// # Errors
    /// Files cannot be written.
    pub fn new(netns: &Netns, binary: &str) -> Result<Self> {
        Self::with_programs_inside(&format!("ip netns exec {} ", netns.name()), binary)
    }

    /// The same for the machine itself, for virtual machines that belong to a test.
    ///
    /// # Errors
    /// Files cannot be written.
    pub fn here(binary: &str) -> Result<Self> {
        Self::with_programs_inside("", binary)
    }

    /// `enter` is the beginning of a command line that runs on the switch.
    fn with_programs_inside(enter: &str, binary: &str) -> Result<Self> {
        let switch = Self { directory: tempfile::tempdir()? };
        fs::create_dir(switch.policy_directory())?;
        fs::create_dir(switch.path("settings"))?;
        fs::write(
            switch.policy_directory().join("00control_plane.rules"),
            "INGRESS_INTF = swp+\nINGRESS_CHAIN = INPUT\n\n[iptables]\n\
             -A $INGRESS_CHAIN --in-interface $INGRESS_INTF -s 240.0.0.0/5 -j DROP\n\n[ip6tables]\n[ebtables]\n",
        )?;
        fs::write(
            switch.policy_directory().join("99control_plane_catch_all.rules"),
            "[iptables]\n-A INPUT -i swp+ -s 0.0.0.0/8 -j DROP\n",
        )?;
        let inside = |program: &str| format!("exec {enter}{program} \"$@\"");
        let tool = format!("'{binary}' --switch '{}'", switch.directory.path().display());
        switch.script("cl-acltool", &inside(&tool))?;
        switch.script("cl-resource-query", &format!("exec {tool} resource-query"))?;
        switch.script("iptables-save", &inside("iptables-legacy-save"))?;
        switch.script("ip6tables-save", &inside("ip6tables-legacy-save"))?;
        Ok(switch)
    }

    /// The policy directory.
    #[must_use]
    pub fn policy_directory(&self) -> PathBuf {
        self.path("policy.d")
    }

    /// Path of the emulator, as the program under test calls it.
    #[must_use]
    pub fn tool(&self) -> PathBuf {
        self.path("cl-acltool")
    }

    /// `iptables-save` and `ip6tables-save`.
    #[must_use]
    pub fn save(&self) -> [PathBuf; 2] {
        [self.path("iptables-save"), self.path("ip6tables-save")]
    }

    /// Sets a setting of the switch. An empty value removes it.
    ///
    /// | name | value |
    /// |---|---|
    /// | `release` | that of Cumulus Linux |
    /// | `capacity4`, `capacity6`, `ranges` | entries of the ASIC's tables, port range checkers |
    /// | `delay` | milliseconds before anything is done |
    /// | `hold-install`, `hold-hardware` | the next run stops when it has read the files, or before the ASIC's rules change; then `holding` is set, and taking that back lets it go on |
    /// | `hang` | a run does not end |
    /// | `fail` | words to fail with |
    /// | `refuse` | a piece of the rules that the ASIC refuses, then ` => ` and the reason; by chain and number; several pieces with `\|` between them |
    /// | `number-from` | 0, if the first rule of a chain has that number |
    /// | `refuse-unnamed` | the same without chain and number |
    /// | `no-hw-sync` | no rules go to the ASIC |
    /// | `lose-rollback` | nothing is rolled back |
    /// | `switchd` | it does not run |
    /// | `crash` | a piece of the rules with which it behaves as if it did not |
    ///
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = self.path("settings").join(name);
        if value.is_empty() {
            return if path.exists() { Ok(fs::remove_file(path)?) } else { Ok(()) };
        }
        fs::write(&path, value).with_context(|| format!("write {}", path.display()))
    }

    /// Whether a run has stopped because of `hold-install` or `hold-hardware`.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.path("settings").join("holding").exists()
    }

    /// The rules in the ASIC, one a line.
    #[must_use]
    pub fn programmed(&self) -> String {
        hardware::programmed(self.directory.path())
    }

    /// The ASIC loses its rules, as when switchd restarts; the kernel does not.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear_hardware(&self) -> Result<()> {
        Ok(hardware::clear(self.directory.path())?)
    }

    /// The runs so far.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        program::read_log(self.directory.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn script(&self, name: &str, line: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{line}\n"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }
}
