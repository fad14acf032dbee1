//! nftables in a namespace.

use super::bench::{Bench, Change, Damage, NearlyFull};
use anyhow::Result;
use dataplane::Dataplane;
use dataplane::nftables::{self, Options};
use lab::Site;

pub(crate) struct Nftables {
    site: Site,
}

impl Nftables {
    fn nft(&self, script: &str) -> Result<()> {
        self.site.switch.exec("nft", &[script]).map(drop)
    }
}

impl Bench for Nftables {
    const NAME: &'static str = "nftables";
    const KNOWS_EARLIER_RUNS: bool = true;
    const DAMAGE: &'static [Damage<Self>] = &[
        ("a table is deleted", |bench| bench.nft("delete table ip floodgate")),
        ("a table is replaced", |bench| bench.nft("delete table ip6 floodgate; add table ip6 floodgate")),
        ("a table is switched off", |bench| bench.nft("add table ip floodgate { flags dormant; }")),
        ("rules are flushed", |bench| bench.nft("flush chain ip6 floodgate prerouting")),
        ("a rule is added", |bench| bench.nft("insert rule ip floodgate prerouting accept")),
        ("a rule with a chain of its own is added", |bench| {
            bench.nft("add rule ip floodgate prerouting tcp dport 22 jump { accept; }")
        }),
        ("a set is added", |bench| bench.nft("add set ip floodgate intruder { type ipv4_addr; }")),
        ("all is flushed", |bench| bench.nft("flush ruleset")),
    ];

    fn new() -> Result<Option<Self>> {
        if !lab::require_root() || !lab::require_program("ip") || !lab::require_program("nft") {
            return Ok(None);
        }
        Ok(Some(Nftables { site: Site::new()? }))
    }

    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(Box::new(nftables::Nftables::open(Options::default())?))
    }

    fn refused_rule(&self) -> Result<Option<&'static str>> {
        Ok(Some("dst 192.0.2.1/32 proto udp sport 54 then redirect 203.0.113.1"))
    }

    /// Two rules in one chain: the filler, of two ports, and no further one.
    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        let options = Options { max_chain_rules: 2, ..Options::default() };
        Ok(Some(NearlyFull {
            plane: Box::new(nftables::Nftables::open(options)?),
            fillers: vec!["dst 192.0.2.1/32 proto udp sport 1000,1002 then rate 1mbps".to_owned()],
            exemption: "dst 192.0.2.1/32 proto udp sport 60000 then accept",
        }))
    }

    /// Somebody has a chain in our table: the next change finds that out.
    fn set_failing(&self, failing: bool) -> Result<Option<Change>> {
        self.nft(if failing { "add chain ip floodgate intruder" } else { "delete chain ip floodgate intruder" })?;
        Ok(Some(Change::Update))
    }

    fn of_others(&self) -> Result<String> {
        self.nft("add table inet others; add chain inet others rules; add rule inet others rules counter")?;
        let listing = self.site.switch.exec("nft", &["list table inet others"])?;
        self.nft("delete table inet others")?;
        Ok(listing)
    }
}
