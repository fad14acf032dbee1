//! The back end: what is wanted, what is in the kernel, and what others have done to it.

use super::capabilities::{capabilities, protection_capabilities};
use super::counts::{self, told};
use super::driver::Driver;
use super::encode::{chain, name_filter};
use super::filter::{Action, Filter, Purpose};
use super::first::First;
use super::kernel::{Kernel, Request, Rtnetlink};
use super::numbers::{FIRST_CHAIN, FIRST_POLICER, FIRST_RULE_CHAIN};
use super::pkt_cls::*;
use super::ports::{self, Ports, io};
use super::settings::{FIRST_KERNEL, Settings};
use super::table::Table;
use crate::kernel::{PerVersion, Unenforced, VERSIONS};
use crate::netlink::{Attributes, NLM_F_CREATE, push, u32_at};
use crate::{
    Applied, Attachment, BackendSettings, Condition, Counter, Counts, Dataplane, DataplaneError, EnforcementPoint,
    Health, Interface, NoSamples, Reading, SampleSource, Usage,
};
use engine::capability::Capabilities;
use engine::compile::split_into_entries;
use engine::plan::{Plan, Ruleset};
use flowspec::{IpVersion, Nlri, RuleId, Space};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The back end tc flower. It acts in the network namespace of the thread that made it. Open to the
/// files of this folder that have a part of its methods: full changes (`load.rs`), small ones
/// (`change.rs`) and the chain where packets begin (`bring.rs`).
#[derive(Debug)]
pub struct Flower {
    pub(super) settings: Settings,
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) ports: Ports,
    /// What is in force, once something was applied.
    pub(super) state: Option<State>,
    /// What rules had counted in filters that are gone.
    pub(super) earlier: Counts,
    pub(super) next_policer: u32,
}

/// What is in the kernel.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tables: PerVersion<Table>,
    /// The chain where packets begin.
    pub(super) first: First,
    pub(super) protected: Arc<Vec<Space>>,
    pub(super) unenforced: Unenforced,
    /// What is no longer so, in words.
    pub(super) damage: Option<String>,
}

impl Flower {
    /// Opens rtnetlink; changes nothing yet.
    ///
    /// # Errors
    /// This kernel is older than those that were looked at, or the settings cannot be used.
    pub fn open(settings: Settings) -> Result<Self, DataplaneError> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < FIRST_KERNEL {
            let (major, minor) = FIRST_KERNEL;
            return Err(DataplaneError::Unavailable(format!(
                "what tc flower compares and ignores is known of Linux {major}.{minor} and later, and this is {release}"
            )));
        }
        let kernel = Rtnetlink::open().map_err(io("opening rtnetlink"))?;
        Flower::with_kernel(settings, Box::new(kernel))
    }

    pub(super) fn with_kernel(settings: Settings, kernel: Box<dyn Kernel>) -> Result<Self, DataplaneError> {
        if let Some(why) = settings.driver.unfit() {
            return Err(DataplaneError::InvalidSetting(why.to_owned()));
        }
        if settings.interfaces.is_empty() || settings.block == 0 {
            return Err(DataplaneError::InvalidSetting(
                "it needs interfaces, and a block with another number than 0".to_owned(),
            ));
        }
        let (ports, earlier) = (Ports::default(), Counts::default());
        Ok(Flower { settings, kernel, ports, state: None, earlier, next_policer: FIRST_POLICER })
    }

    /// What is protected, in parts that a filter can say.
    pub(super) fn protectable(&self, spaces: &[Space]) -> Result<Vec<Space>, DataplaneError> {
        let capabilities = protection_capabilities(&self.settings);
        let mut parts = Vec::new();
        // Without IPv6 rules nothing of IPv6 needs protection.
        for space in spaces.iter().filter(|space| space.version() == IpVersion::V4 || capabilities.ipv6) {
            parts.extend(split_into_entries(space.clone(), &capabilities).map_err(|kind| {
                DataplaneError::Refused(format!("protected packets cannot be matched ({})", kind.name()))
            })?);
        }
        Ok(parts)
    }

    /// How many filters there may be beside those of rules.
    pub(super) fn others(&self, protected: &[Space]) -> Result<u64, DataplaneError> {
        super::preview::others(protected, &self.settings)
            .map_err(|error| DataplaneError::Refused(format!("protected packets: {error}")))
    }

    /// How many filters the switch has room for, these included, as its driver tells.
    fn room_in_switch(&mut self, entries: u64) -> Option<u64> {
        const COUNTERS_PER_FILTER: u64 = 2;
        if self.settings.driver != Driver::Mlxsw {
            return None;
        }
        let filtered = |port: &&Interface| matches!(port.attachment, Attachment::Native);
        let port = self.ports.interfaces().iter().find(filtered)?.name.clone();
        let counters = self.kernel.flow_counters(&port)?;
        Some(entries + counters.size.saturating_sub(counters.used) / COUNTERS_PER_FILTER)
    }

    /// Does requests about filters one after the other.
    pub(super) fn execute(
        &mut self,
        requests: &[Request],
    ) -> Result<Vec<Result<(), super::kernel::Refusal>>, DataplaneError> {
        self.kernel.execute(requests).map_err(io("talking to tc"))
    }

    pub(super) fn request_new(&self, filter: &Filter) -> Request {
        let body = super::encode::new_filter(filter, self.settings.block);
        Request { kind: RTM_NEWTFILTER, flags: NLM_F_CREATE, body }
    }

    pub(super) fn request_delete(&self, filter: &Filter) -> Request {
        Request { kind: RTM_DELTFILTER, flags: 0, body: name_filter(filter, self.settings.block) }
    }

    /// The numbers of the chains of rules that there are in our block.
    pub(super) fn chains(&mut self) -> Result<Vec<u32>, DataplaneError> {
        let mut body = chain(0, self.settings.block);
        body.truncate(TCMSG);
        let mut found: Vec<u32> = Vec::new();
        for body in self.kernel.dump(RTM_GETCHAIN, &body).map_err(io("listing chains"))? {
            let number = Attributes(body.get(TCMSG..).unwrap_or_default()).find(TCA_CHAIN);
            found.extend(number.and_then(|value| u32_at(value, 0)).filter(|number| *number >= FIRST_RULE_CHAIN));
        }
        Ok(found)
    }

    /// Removes chains with all of their filters.
    pub(super) fn remove_chains(&mut self, numbers: &[u32]) -> Result<(), DataplaneError> {
        let requests: Vec<Request> = numbers
            .iter()
            .map(|number| Request { kind: RTM_DELCHAIN, flags: 0, body: chain(*number, self.settings.block) })
            .collect();
        for outcome in self.execute(&requests)? {
            if let Err(refusal) = outcome
                && !matches!(refusal.errno, libc::ENOENT | libc::EINVAL)
            {
                return Err(DataplaneError::Refused(format!("a chain cannot be removed: {refusal}")));
            }
        }
        Ok(())
    }

    /// Makes sure that the numbers of policers to come are free.
    pub(super) fn skip_used_policers(&mut self) -> Result<(), DataplaneError> {
        let mut body = vec![0; 4];
        super::encode::nest(&mut body, TCA_ACT_TAB, |body| {
            super::encode::nest(body, 1, |body| push(body, TCA_ACT_KIND, b"police\0"));
        });
        let Ok(listed) = self.kernel.dump(RTM_GETACTION, &body) else {
            // The module that has policers is not loaded: there are none.
            return Ok(());
        };
        for body in listed {
            let Some(actions) = Attributes(body.get(4..).unwrap_or_default()).inside(TCA_ACT_TAB) else { continue };
            for (_, action) in actions {
                let options = Attributes(action).inside(TCA_ACT_OPTIONS);
                let index = options.and_then(|options| u32_at(options.find(TCA_POLICE_TBF)?, 0));
                if let Some(index) = index.filter(|index| *index >= FIRST_POLICER) {
                    self.next_policer = self.next_policer.max(index.saturating_add(1));
                }
            }
        }
        Ok(())
    }

    /// Looks at what others did since the last time: why what is in the kernel is not what was
    /// applied; `None` if it is. New interfaces are filtered from now on.
    pub(super) fn look(&mut self) -> Result<Option<String>, DataplaneError> {
        let was_damaged = self.state.as_ref().is_some_and(|state| state.damage.is_some());
        let disturbance = self.kernel.disturbance(self.settings.block);
        if !disturbance.filters && !disturbance.links && !was_damaged {
            return Ok(None);
        }
        let damage = if self.ports.attach(&mut *self.kernel, &self.settings)? {
            // With the last interface the block is gone, and all filters with it.
            Some("an interface has lost its qdisc".to_owned())
        } else if disturbance.filters || was_damaged {
            self.find_damage()?
        } else {
            None
        };
        if let Some(state) = &mut self.state {
            state.damage.clone_from(&damage);
        }
        Ok(damage)
    }

    /// Why what is in the kernel is not what was applied; `None` if it is.
    fn find_damage(&mut self) -> Result<Option<String>, DataplaneError> {
        let Some(state) = &self.state else { return Ok(None) };
        let block = self.settings.block;
        let wanted: Vec<&Filter> = state.first.filters().collect();
        let there = told(&mut *self.kernel, FIRST_CHAIN, block).map_err(io("listing filters"))?;
        if let Some(words) = super::compare::difference(&wanted, &there) {
            return Ok(Some(format!("in the chain where packets begin, {words}")));
        }
        for version in VERSIONS {
            let table = state.tables.of(version);
            let there = told(&mut *self.kernel, table.chain(), block).map_err(io("listing filters"))?;
            let wanted: Vec<&Filter> = table.filters().collect();
            if let Some(words) = super::compare::difference(&wanted, &there) {
                return Ok(Some(format!("in chain {}, {words}", table.chain())));
            }
        }
        Ok(None)
    }

    /// The chains of rules that packets are sent to by filters of ours.
    pub(super) fn dispatched(&mut self) -> Result<Vec<u32>, DataplaneError> {
        let first = told(&mut *self.kernel, FIRST_CHAIN, self.settings.block).map_err(io("listing filters"))?;
        let mut chains: Vec<u32> = first
            .iter()
            .filter(|told| told.purpose == Some(Purpose::Dispatch))
            .filter_map(|told| match told.filter.as_ref()?.actions[..] {
                [Action::Goto(chain)] => Some(chain),
                _ => None,
            })
            .collect();
        chains.sort_unstable();
        chains.dedup();
        Ok(chains)
    }

    /// What the rules in force have counted, with what they had counted before.
    fn counts(
        kernel: &mut dyn Kernel,
        chains: [u32; 2],
        block: u32,
        earlier: &Counts,
    ) -> Result<Counts, DataplaneError> {
        let mut counts = earlier.clone();
        for chain in chains {
            counts::add(&mut counts, &told(kernel, chain, block).map_err(io("reading counters"))?);
        }
        Ok(counts)
    }
}

impl BackendSettings for Settings {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        Ok(Box::new(Flower::open(self.clone())?))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::NetworkNamespace
    }

    fn takes_over(&self, old: &Self) -> bool {
        self.block == old.block
    }

    fn can_follow(&self, old: &Self) -> Result<(), DataplaneError> {
        if self.block == old.block {
            return Ok(());
        }
        // Between the removal of one and the other, nothing would be filtered.
        Err(DataplaneError::InvalidSetting(format!(
            "block cannot be changed from {} to {} while Floodgate runs, since an interface keeps its block of filters: stop it and start it again",
            old.block, self.block
        )))
    }
}

impl Dataplane for Flower {
    fn name(&self) -> &'static str {
        "flower"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.settings)
    }

    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        let mut found = BTreeSet::new();
        if self.state.is_some() {
            return Ok(found);
        }
        for chain in self.dispatched()? {
            for told in told(&mut *self.kernel, chain, self.settings.block).map_err(io("listing filters"))? {
                if let Some(Purpose::Rule(id)) = told.purpose {
                    found.insert(id);
                }
            }
        }
        Ok(found)
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.load(rules)
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        self.change(plan)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        if self.state.is_none() {
            return Ok(Health::ExternalChange("nothing was applied yet".to_owned()));
        }
        Ok(self.look()?.map_or(Health::Intact, Health::ExternalChange))
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let chains = [state.tables.v4.chain(), state.tables.v6.chain()];
        let counts = Flower::counts(&mut *self.kernel, chains, self.settings.block, &self.earlier)?;
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let rules = state.tables.iter().flat_map(Table::rules);
        Ok(rules
            .map(|placed| {
                let counter = counts.of(placed.rule.id, &placed.rule.effect.policing);
                let Counter { packets, bytes, dropped_packets, .. } = counter;
                (placed.rule.nlri.clone(), Counter::of_packets(packets, bytes, dropped_packets))
            })
            .collect())
    }

    fn reading(&self) -> Option<Reading> {
        let state = self.state.as_ref()?;
        let chains = [state.tables.v4.chain(), state.tables.v6.chain()];
        let (block, earlier) = (self.settings.block, self.earlier.clone());
        let mut kernel = self.kernel.another().ok()?;
        let before = state.tables.iter().map(Table::len).sum::<u64>();
        Some(Box::new(move || {
            let mut counts = Flower::counts(&mut *kernel, chains, block, &earlier)?;
            let mut there = 0;
            for chain in chains {
                there += told(&mut *kernel, chain, block).map_err(io("reading counters"))?.len() as u64;
            }
            counts.disturbed = there != before;
            Ok(counts)
        }))
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let entries = self.state.as_ref().map_or(0, State::filters);
        let capacity = self.settings.max_filters.or_else(|| self.room_in_switch(entries));
        Ok(Usage { entries, capacity, memory: None })
    }

    fn condition(&mut self) -> Condition {
        Condition { interfaces: self.ports.interfaces().to_vec(), ..Condition::default() }
    }

    fn unfiltered(&mut self) -> Option<String> {
        Condition::unfiltered(self.ports.interfaces())
    }

    fn samples(&self) -> Result<Box<dyn SampleSource>, NoSamples> {
        Err(NoSamples::Psample { group: self.settings.sample_group })
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        let block = self.settings.block;
        let first = told(&mut *self.kernel, FIRST_CHAIN, block).map_err(io("listing filters"))?;
        let ours = first.iter().filter(|told| told.purpose.is_some()).filter_map(|told| told.filter.as_ref());
        let requests: Vec<Request> = ours.map(|filter| self.request_delete(filter)).collect();
        self.execute(&requests)?;
        let chains = self.chains()?;
        self.remove_chains(&chains)?;
        ports::detach(&mut *self.kernel, block, &[])?;
        self.state = None;
        self.ports = Ports::default();
        self.earlier = Counts::default();
        Ok(())
    }
}

impl State {
    /// Filters of rules.
    pub(super) fn of_rules(&self) -> u64 {
        self.tables.iter().map(Table::len).sum()
    }

    /// Filters in use.
    fn filters(&self) -> u64 {
        self.of_rules() + self.first.filters().count() as u64
    }
}
