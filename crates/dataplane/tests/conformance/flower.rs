//! tc flower in a namespace, in the kernel's own classifier.

use super::bench::{Bench, Change, Damage, NearlyFull};
use anyhow::Result;
use dataplane::Dataplane;
use dataplane::flower::{self, Settings};
use engine::plan::Ruleset;
use lab::Site;

const BLOCK: &str = "3970";

pub(crate) struct Flower {
    site: Site,
}

impl Flower {
    fn settings(&self) -> Settings {
        Settings { interfaces: vec!["swp*".to_owned()], ..Settings::default() }
    }

    fn tc(&self, words: &str) -> Result<String> {
        self.site.switch.exec("tc", &words.split(' ').collect::<Vec<_>>())
    }

    /// The chain where the rules of IPv4 are.
    fn chain(&self) -> Result<String> {
        let listing = self.tc(&format!("filter show block {BLOCK} chain 0 prio 100"))?;
        let chain = listing.split("goto chain ").nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(chain.ok_or_else(|| anyhow::anyhow!("no filter sends packets to rules: {listing}"))?.to_owned())
    }

    fn of_chain(&self, words: &str) -> Result<()> {
        self.tc(&words.replace("CHAIN", &self.chain()?)).map(drop)
    }
}

impl Bench for Flower {
    const NAME: &'static str = "flower";
    const KNOWS_EARLIER_RUNS: bool = true;
    const DAMAGE: &'static [Damage<Self>] = &[
        ("packets are not sent to the rules", |bench| bench.tc("filter del block 3970 chain 0 prio 100").map(drop)),
        ("packets are sent elsewhere", |bench| {
            bench.tc("filter del block 3970 chain 0 prio 100")?;
            bench.tc("filter add block 3970 chain 0 prio 100 handle 1 protocol ip flower action pass").map(drop)
        }),
        ("a classifier takes the place of what sends packets to the rules", |bench| {
            bench.tc("filter del block 3970 chain 0 prio 100")?;
            bench.tc("filter add block 3970 chain 0 prio 100 handle 1 protocol ip matchall action pass").map(drop)
        }),
        ("a chain is deleted", |bench| bench.of_chain("chain del block 3970 chain CHAIN")),
        ("a qdisc is deleted", |bench| bench.tc("qdisc del dev swp1 clsact").map(drop)),
        ("all qdiscs are deleted", |bench| {
            ["swp1", "swp2", "swp3"]
                .iter()
                .try_for_each(|port| bench.tc(&format!("qdisc del dev {port} clsact")).map(drop))
        }),
        ("a filter is added", |bench| {
            bench.of_chain("filter add block 3970 chain CHAIN prio 7 protocol ip flower ip_proto sctp action pass")
        }),
        ("a filter is added where packets begin", |bench| {
            bench.tc("filter add block 3970 chain 0 prio 1 protocol ip flower ip_proto sctp action pass").map(drop)
        }),
        ("another classifier is added", |bench| {
            bench.tc("filter add block 3970 chain 0 prio 2 protocol all matchall action pass").map(drop)
        }),
    ];

    fn new() -> Result<Option<Self>> {
        if !lab::require_root() || !lab::require_program("ip") || !lab::require_program("tc") {
            return Ok(None);
        }
        let bench = Flower { site: Site::new()? };
        if bench.tc("qdisc add dev swp3 clsact").is_err()
            || bench.tc("filter add dev swp3 ingress prio 1 protocol ip flower ip_proto udp action pass").is_err()
        {
            lab::skip_for_kernel("this kernel has no cls_flower");
            return Ok(None);
        }
        bench.tc("qdisc del dev swp3 clsact")?;
        Ok(Some(bench))
    }

    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(Box::new(flower::Flower::open(self.settings())?))
    }

    fn refused_rule(&self) -> Result<Option<&'static str>> {
        Ok(Some("dst 192.0.2.1/32 proto udp sport 54 then redirect 203.0.113.1"))
    }

    /// There is room for what is there without rules, and for 22 filters of rules.
    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        let others = flower::preview(&Ruleset::default(), &self.settings()).others;
        let settings = Settings { max_filters: Some(others + 22), ..self.settings() };
        let filler = |n: u32| format!("dst 192.0.2.1/32 proto udp sport {} then discard", 1000 + n);
        Ok(Some(NearlyFull {
            plane: Box::new(flower::Flower::open(settings)?),
            fillers: (0..20).map(filler).collect(),
            exemption: "dst 192.0.2.1/32 proto udp sport 60000 dscp 0,8,16 then accept",
        }))
    }

    /// Somebody has a filter in our block: the next change finds that out.
    fn set_failing(&self, failing: bool) -> Result<Option<Change>> {
        if failing {
            self.tc("filter add block 3970 chain 0 prio 1 protocol ip flower ip_proto sctp action pass")?;
        } else {
            self.tc("filter del block 3970 chain 0 prio 1")?;
        }
        Ok(Some(Change::Update))
    }

    fn of_others(&self) -> Result<String> {
        let peers = &self.site.peers;
        peers.exec("tc", &["qdisc", "replace", "dev", "eth0", "clsact"])?;
        peers.exec("tc", &["qdisc", "show", "dev", "eth0"])
    }
}
