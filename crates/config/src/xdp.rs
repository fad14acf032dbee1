//! `[dataplane.xdp]`: how the XDP back end is attached, and how much fits.

use crate::values::Pattern;
use dataplane::xdp;
use std::path::PathBuf;

/// `[dataplane.xdp]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Xdp {
    /// Where the program runs.
    pub attach: Attach,
    /// How many rules are to fit.
    pub capacity: u32,
    /// Where links and tables are pinned, so that filtering outlives the daemon.
    pub directory: PathBuf,
    /// What filters where this kernel does not take the program. `None`: nothing does, and rules say so.
    pub fallback: Option<Fallback>,
}

/// Back ends that can take the place of XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The kernel's nftables, with the settings of `[dataplane.nftables]`.
    Nftables,
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// In the driver where it can, otherwise in the kernel's stack, with a warning.
    #[default]
    Best,
    /// In the driver or not at all.
    Native,
    /// In the kernel's stack.
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
