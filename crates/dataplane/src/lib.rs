//! The data planes. Each back end enforces a compiled rule set in one kind of data plane; none
//! knows of BGP.
//!
//! The calls of a back end block, so the daemon runs them on a thread of its own, beside the BGP
//! sessions.

use engine::capability::Capabilities;
use engine::plan::{Plan, Ruleset};
use flowspec::{Nlri, RuleId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use engine::plan::{Applied, RuleFailure};
pub use interface_names::{glob, patterns_match};
pub use links::{Link, links};
pub use none::{NoDataplane, NoSettings};
pub use settings::{BackendSettings, EnforcementPoint};

pub use counts::{Counter, Counts, Reading};
pub use error::{DataplaneError, NoSamples};
pub use fact::Fact;
pub use frame_sender::FrameSender;
pub use preview::Preview;

mod counts;
pub mod cumulus;
mod error;
mod fact;
pub mod flower;
mod frame_sender;
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

/// The result of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// What was applied is in force.
    Intact,
    /// Another program changed or removed what was applied; a sentence says what.
    /// [`Dataplane::replace`] repairs it.
    ExternalChange(String),
    /// What was applied is there, but rules that could not be in force now can be, or the other way
    /// round; a sentence says what changed. [`Dataplane::replace`] returns which rules.
    ConditionChanged(String),
}

/// Usage of the data plane, for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries in use.
    pub entries: u64,
    /// Maximum number of entries, if there is a limit.
    pub capacity: Option<u64>,
    /// Octets of kernel or device memory, if known.
    pub memory: Option<u64>,
}

/// The condition of a data plane apart from its rules, for `status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Each interface that is to be filtered, if the back end attaches to interfaces one by one.
    pub interfaces: Vec<Interface>,
    /// Warnings for the operator: sentences.
    pub warnings: Vec<String>,
    /// Why rules that were applied are not enforced: a sentence.
    pub not_enforced: Option<String>,
    /// Packet counts since the filters were set up, besides the rules' counters: a name in
    /// `snake_case` and a number.
    pub statistics: Vec<(&'static str, u64)>,
}

impl Condition {
    /// Why nothing is filtered, if none of the configured interfaces is. `None` for a back end that
    /// does not attach to interfaces one by one.
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
    /// Its name; or a pattern of the configuration that matches no interface now.
    pub name: String,
    /// How it is filtered.
    pub attachment: Attachment,
}

/// How an interface is filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In its driver (native XDP).
    Native,
    /// In the kernel's stack (generic XDP).
    Generic,
    /// In the kernel's stack at netfilter's hook `prerouting`.
    Prerouting,
    /// Not at all; why.
    None(String),
}

/// A packet that a rule sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was received.
    pub time: SystemTime,
    /// The rule that sampled it.
    pub rule: Option<RuleId>,
    /// The index of the interface that received it.
    pub interface: u32,
    /// Octets of the frame.
    pub length: u32,
    /// The first octets of the frame.
    pub octets: Vec<u8>,
}

/// A source of sampled packets, with one reader at a time.
pub trait SampleSource: Send {
    /// Discards all samples taken before now.
    fn skip(&mut self);

    /// Waits until there are samples, up to a timeout.
    fn wait(&mut self, most: Duration);

    /// Reads at most `max` samples; returns how many were lost since the last reading because they
    /// were not read in time.
    fn read(&mut self, most: usize, each: &mut dyn FnMut(Sample)) -> u64;
}

/// A data plane: a place where rules are enforced.
pub trait Dataplane: Send {
    /// The name in the configuration, such as `nftables`.
    fn name(&self) -> &'static str;

    /// What it can match and do; the compiler uses this.
    fn capabilities(&self) -> Capabilities;

    /// The rules that an earlier run left in force; none once something was applied, or if that is
    /// not known.
    ///
    /// # Errors
    /// They could not be read.
    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        Ok(BTreeSet::new())
    }

    /// Puts exactly this rule set in force, in one transaction: packets see what was there before
    /// (also from an earlier run) or all of this. Counters of rules that stay are kept.
    ///
    /// # Errors
    /// The previous state stays in force.
    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError>;

    /// Applies a difference in one transaction, and verifies it. Rules in force keep their place: a
    /// new rule without room fails, even if it precedes them. The failures are those of this
    /// change: a rule that failed before is not in force and not tried again until a change
    /// contains it, since it may have been withdrawn without a removal.
    ///
    /// # Errors
    /// The previous state stays in force.
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

    /// How late counters may tell of a packet, where hardware counts and is asked from time to
    /// time.
    fn counter_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// The same as a closure that another thread may run while changes continue; `None` if
    /// [`counters`](Self::counters) is quick.
    fn reading(&self) -> Option<Reading> {
        None
    }

    /// Entries and memory in use.
    ///
    /// # Errors
    /// They could not be read.
    fn usage(&mut self) -> Result<Usage, DataplaneError>;

    /// Its condition apart from the rules.
    fn condition(&mut self) -> Condition {
        Condition::default()
    }

    /// Why no packet reaches the rules although they are in force: none of the configured
    /// interfaces is filtered. Called each second.
    fn unfiltered(&mut self) -> Option<String> {
        None
    }

    /// A reader of sampled packets, valid as long as this data plane is used.
    ///
    /// # Errors
    /// Samples cannot be read through the back end; the error says where they can be read.
    fn samples(&self) -> Result<Box<dyn SampleSource>, NoSamples> {
        Err(NoSamples::NotTaken { backend: self.name() })
    }

    /// Removes everything that is ours, also from an earlier run, and nothing else.
    ///
    /// # Errors
    /// Something of ours remains.
    fn clear(&mut self) -> Result<(), DataplaneError>;
}
