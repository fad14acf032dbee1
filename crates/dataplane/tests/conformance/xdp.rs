//! XDP in a namespace, on a veth interface.

use super::bench::{Bench, Change, Damage, NearlyFull};
use anyhow::Result;
use dataplane::Dataplane;
use dataplane::xdp::{self, Options};
use engine::plan::Ruleset;
use lab::Site;

/// The least that [`Options::capacity`] can be.
const CAPACITY: u32 = 1024;

pub(crate) struct Xdp {
    site: Site,
}

impl Xdp {
    fn options(&self) -> Options {
        Options {
            interfaces: vec!["swp1".to_owned(), "up*".to_owned()],
            capacity: CAPACITY,
            directory: self.site.switch.bpf_directory().join("floodgate"),
            ..Options::default()
        }
    }

    /// Removes the pins whose names begin so.
    fn unpin(&self, prefix: &str) -> Result<()> {
        for entry in std::fs::read_dir(self.options().directory)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Bench for Xdp {
    const NAME: &'static str = "xdp";
    const KNOWS_EARLIER_RUNS: bool = true;
    const DAMAGE: &'static [Damage<Self>] = &[
        ("the link's pin is removed", |bench| bench.unpin("native-")),
        ("a table's pin is removed", |bench| bench.unpin("ids")),
        ("all pins are removed", |bench| bench.unpin("")),
    ];

    fn new() -> Result<Option<Self>> {
        if !lab::require_root() || !lab::require_program("ip") {
            return Ok(None);
        }
        Ok(Some(Xdp { site: Site::new()? }))
    }

    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(Box::new(xdp::Xdp::open(self.options())?))
    }

    /// There is no way to that address.
    fn refused_rule(&self) -> Result<Option<&'static str>> {
        Ok(Some("dst 192.0.2.1/32 proto udp sport 54 then redirect 10.99.99.99"))
    }

    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        let filler = |n: u32| format!("dst 192.0.2.1/32 proto udp sport {} then discard", 1000 + n);
        Ok(Some(NearlyFull {
            plane: self.open()?,
            fillers: (0..CAPACITY - 2).map(filler).collect(),
            exemption: "dst 192.0.2.1/32 proto udp sport 60000 then accept",
        }))
    }

    /// An interface comes that has the program of somebody else.
    fn set_failing(&self, failing: bool) -> Result<Option<Change>> {
        let other = Options {
            interfaces: vec!["up0".to_owned()],
            directory: self.site.switch.bpf_directory().join("other"),
            ..self.options()
        };
        if failing {
            self.site.switch.ip(&["link", "add", "up0", "type", "bridge"])?;
            xdp::Xdp::open(other)?.replace(&Ruleset::default())?;
        } else {
            xdp::Xdp::open(other)?.clear()?;
            self.site.switch.ip(&["link", "del", "up0"])?;
        }
        Ok(Some(Change::Replace))
    }
}
