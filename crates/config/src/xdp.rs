//! `[dataplane.xdp]`: how the XDP back end attaches, and its capacity.

use crate::values::Pattern;
use dataplane::xdp;
use std::path::PathBuf;

/// `[dataplane.xdp]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Xdp {
    /// Mode of attachment.
    pub attach: Attach,
    /// Maximum number of rules.
    pub capacity: u32,
    /// Where links and tables are pinned, so that filtering survives the daemon.
    pub directory: PathBuf,
    /// The fallback if this kernel rejects the program. `None`: nothing is filtered, and rules say
    /// so.
    pub fallback: Option<Fallback>,
}

/// Fallbacks of XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The kernel's nftables, with the settings of `[dataplane.nftables]`.
    Nftables,
}

/// Mode of attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// Native mode if possible, otherwise generic mode with a warning.
    #[default]
    Best,
    /// Native mode (in the driver) only.
    Native,
    /// Generic mode (in the kernel's stack).
    Generic,
}

impl Default for Xdp {
    fn default() -> Self {
        let xdp::Options { interfaces: _, attach: _, capacity, directory } = xdp::Options::default();
        Xdp { attach: Attach::Best, capacity, directory, fallback: None }
    }
}

impl Xdp {
    /// The back end's settings.
    pub fn options(&self, interfaces: &[Pattern]) -> xdp::Options {
        xdp::Options {
            interfaces: interfaces.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            attach: match self.attach {
                Attach::Best => xdp::Attach::Best,
                Attach::Native => xdp::Attach::Native,
                Attach::Generic => xdp::Attach::Generic,
            },
            capacity: self.capacity,
            directory: self.directory.clone(),
        }
    }
}
