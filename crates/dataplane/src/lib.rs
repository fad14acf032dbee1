//! The back ends. Each turns a compiled rule set into what one kind of data plane enforces; none knows of BGP.
//!
//! A back end's calls block, so the program runs it on a thread of its own, beside the BGP sessions.

use engine::capability::Capabilities;
use engine::plan::{Plan, Ruleset};
use flowspec::{Nlri, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use engine::plan::{Applied, RuleFailure};
pub use interface_names::{glob, means};
pub use links::{Link, links};
pub use none::{NoDataplane, NoSettings};
pub use settings::{BackendSettings, EnforcementPoint};

pub use counts::{Counter, Counts, Reading};
pub use error::{DataplaneError, NoSamples};
pub use fact::Fact;
pub use preview::Preview;

mod counts;
pub mod cumulus;
mod error;
mod fact;
mod interface_names;
mod kernel;
mod links;
mod netlink;
pub mod nftables;
mod none;
mod preview;
mod settings;
pub mod sonic;
pub mod xdp;

/// What a health check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// What was applied is in force.
    Intact,
    /// Somebody else changed or removed what was applied; a sentence says what. [`Dataplane::replace`] puts it right.
    ExternalChange(String),
    /// What was applied is there, but rules that could not be in force now can be, or the other way round; a sentence says what changed. [`Dataplane::replace`] tells which rules.
    ConditionChanged(String),
}

/// How much of the data plane is in use, for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries in use.
    pub entries: u64,
    /// Entries that fit, where there is a limit.
    pub capacity: Option<u64>,
    /// Octets of kernel or device memory, where that is known.
    pub memory: Option<u64>,
}

/// How a data plane is doing beside its rules, for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Each interface that is to be filtered, where the back end attaches to interfaces one by one.
    pub interfaces: Vec<Interface>,
    /// What an operator should look at: sentences.
    pub warnings: Vec<String>,
    /// Why rules that were applied are not enforced all the same: a sentence.
    pub not_enforced: Option<String>,
    /// What happened to packets since the filters were set up, beside the rules' counters: a name in `snake_case` and how often.
    pub statistics: Vec<(&'static str, u64)>,
}

impl Condition {
    /// Why nothing is filtered, where none of the interfaces is that are to be. Nothing for a back end that does not attach to
    /// interfaces one by one.
    pub fn unfiltered(interfaces: &[Interface]) -> Option<String> {
        let reasons = interfaces.iter().map(|interface| match &interface.attachment {
            Attachment::None(why) => Some(format!("{}: {why}", interface.name)),
            Attachment::Native | Attachment::Generic | Attachment::Prerouting => None,
        });
        let reasons: Vec<String> = reasons.collect::<Option<_>>()?;
        if reasons.is_empty() { None } else { Some(format!("no interface is filtered ({})", reasons.join("; "))) }
    }
}

/// An interface that is to be filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name; or a pattern of the configuration that means no interface now.
    pub name: String,
    /// How it is filtered.
    pub attachment: Attachment,
}

/// How an interface is filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In its driver.
    Native,
    /// In the kernel's stack.
    Generic,
    /// In the kernel's stack at netfilter's hook `prerouting`.
    Prerouting,
    /// It is not; why.
    None(String),
}

/// A packet that a rule sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it came in.
    pub time: SystemTime,
    /// The rule that sampled it.
    pub rule: Option<RuleId>,
    /// The number of the interface where it came in.
    pub interface: u32,
    /// Octets of the frame.
    pub length: u32,
    /// The first of them.
    pub octets: Vec<u8>,
}

/// Where sampled packets are read; one reader at a time.
pub trait SampleSource: Send {
    /// Throws away what was sampled before now.
    fn skip(&mut self);

    /// Waits until there are samples, or so long.
    fn wait(&mut self, most: Duration);

    /// Reads so many at most; how many were lost since the last reading because nobody read in time.
    fn read(&mut self, most: usize, each: &mut dyn FnMut(Sample)) -> u64;
}

/// A place where rules are enforced.
pub trait Dataplane: Send {
    /// The name in the configuration: `nftables`, `xdp`, `cumulus`, `none`.
    fn name(&self) -> &'static str;

    /// What it can match and do; the compiler works through this.
    fn capabilities(&self) -> Capabilities;

    /// The rules that an earlier run left in force; none once something was applied, or where that is not known.
    ///
    /// # Errors
    /// They could not be read.
    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        Ok(BTreeSet::new())
    }

    /// Puts exactly this rule set in force, in one transaction: packets see what was there before (from an earlier run too) or all
    /// of this. Counters of rules that stay are kept.
    ///
    /// # Errors
    /// What was in force before stays.
    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError>;

    /// Applies a difference in one transaction, and verifies it. Rules in force keep their place: one for which there is no room fails, also if
    /// it precedes them. The failures are those of this change: a rule that failed before is not in
    /// force and not tried again until a change has it, since it may have been withdrawn without a removal.
    ///
    /// # Errors
    /// What was in force before stays.
    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError>;

    /// Checks whether what was applied is still in force.
    ///
    /// # Errors
    /// The check itself failed.
    fn health(&mut self) -> Result<Health, DataplaneError>;

    /// Counters of the rules in force.
    ///
    /// # Errors
    /// They could not be read.
    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError>;

    /// The same as something that another thread may do while changes go on; `None` where [`counters`](Self::counters) is quick.
    fn reading(&self) -> Option<Reading> {
        None
    }

    /// Entries and memory in use.
    ///
    /// # Errors
    /// They could not be read.
    fn usage(&mut self) -> Result<Usage, DataplaneError>;

    /// How it is doing beside the rules.
    fn condition(&mut self) -> Condition {
        Condition::default()
    }

    /// Why no packet meets the rules although they are in force: none of the interfaces is filtered that are to be. It is asked each second.
    fn unfiltered(&mut self) -> Option<String> {
        None
    }

    /// Where sampled packets can be read, for as long as this data plane is used.
    ///
    /// # Errors
    /// Samples are not read through here; the error says where they are to be found.
    fn samples(&self) -> Result<Box<dyn SampleSource>, NoSamples> {
        Err(NoSamples::NotTaken { backend: self.name() })
    }

    /// Removes all that is ours, also what an earlier run left, and nothing else.
    ///
    /// # Errors
    /// Something of ours is still there.
    fn clear(&mut self) -> Result<(), DataplaneError>;
}
