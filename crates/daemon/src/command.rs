//! Requests of the API to the controller, and their answers.

use crate::busiest::Busiest;
use crate::policy_trace::PolicyQuestionError;
use crate::rule_filter::RuleFilter;
use crate::rule_selection::{RuleSelection, SelectedRule};
use crate::samples::Samples;
use crate::state_file::Saved;
use crate::tokens::{Grant, GrantError};
use api::{Event, Explanation, PeerView, PolicyExplanation, PolicyQuestion, RuleView, StatusView, TrafficView};
use dataplane::{DataplaneError, NoSamples};
use flowspec::{Nlri, PacketError, Rule, RuleId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// Who sent a request: a user of this machine, or the address of a host.
pub(crate) type Requester = String;

/// Whether the desired state is in force; or why the data plane did not apply a change.
pub(crate) type ApplyOutcome = Result<(), Arc<DataplaneError>>;

/// A request, with the channel for its answer.
#[derive(Debug)]
pub(crate) enum Command {
    /// The status.
    Status(oneshot::Sender<StatusView>),
    /// The status with the peers.
    Overview(oneshot::Sender<Overview>),
    /// The rules that matched most, so many at most.
    Busiest(usize, oneshot::Sender<Busiest>),
    /// Some of the rules, in enforcement order.
    Rules {
        /// Which rules.
        filter: RuleFilter,
        /// Where to continue.
        after: Option<Arc<Nlri>>,
        /// The rules, and where to continue after them; `None` at the end.
        answer: oneshot::Sender<(Vec<RuleView>, Option<Arc<Nlri>>)>,
    },
    /// Announce a local rule.
    Announce {
        /// The rule.
        rule: Box<Rule>,
        /// Its lifetime.
        lifetime: Option<Duration>,
        /// Who asked,
        by: Requester,
        /// and what their rules may be, if there are bounds.
        grant: Option<Arc<Grant>>,
        /// Its id, and a channel that is answered when it is on the disk; or why it is not taken.
        answer: oneshot::Sender<Result<(RuleId, Option<Saved>), GrantError>>,
    },
    /// Withdraw a local rule.
    Withdraw {
        /// Which rule.
        rule: Arc<Nlri>,
        /// Who asked,
        by: Requester,
        /// and what their rules may be, if there are bounds.
        grant: Option<Arc<Grant>>,
        /// Its text, and a channel that is answered when that is on the disk; or why it is not
        /// withdrawn.
        answer: oneshot::Sender<Result<(String, Option<Saved>), WithdrawError>>,
    },
    /// The rule with an id.
    Find {
        /// Its id.
        id: RuleId,
        /// Where to continue.
        after: Option<Arc<Nlri>>,
        /// The rule, if there is one.
        answer: oneshot::Sender<Found>,
    },
    /// One rule.
    Rule(Arc<Nlri>, oneshot::Sender<Option<RuleView>>),
    /// Which rules a list has: some of them, in enforcement order.
    Select {
        /// Which rules.
        selection: Arc<RuleSelection>,
        /// Where to continue.
        after: Option<Arc<Nlri>>,
        /// The rules, and where to continue after them; `None` at the end.
        answer: oneshot::Sender<(Vec<SelectedRule>, Option<Arc<Nlri>>)>,
    },
    /// Of these rules those that there still are.
    RulesOf(Vec<Arc<Nlri>>, oneshot::Sender<Vec<RuleView>>),
    /// Remove all filters.
    Pause {
        /// How long; without it until a resume.
        lifetime: Option<Duration>,
        /// Who asked.
        by: Requester,
        /// The outcome.
        answer: oneshot::Sender<Paused>,
    },
    /// Restore all filters.
    Resume(Requester, oneshot::Sender<Paused>),
    /// Withdraw all local rules; the answer is their number, and a channel that is answered when
    /// that is on the disk.
    Clear(Requester, oneshot::Sender<(usize, Option<Saved>)>),
    /// Wait until the desired state of now is in force, or a change failed.
    Applied(oneshot::Sender<oneshot::Receiver<ApplyOutcome>>),
    /// Decide what happens to a packet.
    Explain {
        /// Its octets.
        packet: Vec<u8>,
        /// How far the search has come.
        search: Search,
        /// The explanation; or how far the search has come now; or why the octets are not a packet.
        answer: oneshot::Sender<Result<ExplainResult, PacketError>>,
    },
    /// What the import policy does with a route.
    Policy(PolicyQuestion, oneshot::Sender<Result<PolicyExplanation, PolicyQuestionError>>),
    /// The latest events, oldest first.
    History(usize, oneshot::Sender<Vec<Arc<Event>>>),
    /// Where the history on disk is, if there is one.
    HistoryFile(oneshot::Sender<Option<PathBuf>>),
    /// Sampled packets; or why the data plane has none.
    Samples(oneshot::Sender<Result<Samples, NoSamples>>),
    /// Events from now on.
    Watch(oneshot::Sender<broadcast::Receiver<Arc<Event>>>),
}

/// Why a rule is not withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WithdrawError {
    /// There is no such rule.
    #[error("there is no such rule")]
    Unknown,
    /// It is not locally originated.
    #[error(
        "{rule} is announced by {peers}, not here: only they can withdraw it. A rule of this machine with the same match comes \
         before theirs: `floodgate announce '{rule} then accept'` lets its packets pass until it is withdrawn"
    )]
    NotLocal {
        /// Its match part.
        rule: Arc<Nlri>,
        /// Names of the peers that announce it.
        peers: String,
    },
    /// It is not a rule of this token.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

/// The outcome of a pause or resume.
#[derive(Debug)]
pub(crate) struct Paused {
    /// Whether the request changed what is filtered.
    pub changed: bool,
    /// When the pause ends by itself, RFC 3339, if it does.
    pub until: Option<String>,
    /// Answered when the change is in force, or has failed.
    pub applied: Option<oneshot::Receiver<ApplyOutcome>>,
    /// Answered when the change is on the disk.
    pub saved: Option<Saved>,
}

impl Command {
    /// Whether it changes no rule.
    pub(crate) const fn is_look(&self) -> bool {
        match self {
            Command::Announce { .. }
            | Command::Withdraw { .. }
            | Command::Pause { .. }
            | Command::Resume(..)
            | Command::Clear(..)
            | Command::Applied(_) => false,
            Command::Status(_)
            | Command::Overview(_)
            | Command::Busiest(..)
            | Command::Rules { .. }
            | Command::Find { .. }
            | Command::Rule(..)
            | Command::Select { .. }
            | Command::RulesOf(..)
            | Command::Explain { .. }
            | Command::Policy(..)
            | Command::History(..)
            | Command::HistoryFile(_)
            | Command::Samples(_)
            | Command::Watch(_) => true,
        }
    }

    /// Whether its answer contains counters.
    pub(crate) const fn shows_counters(&self) -> bool {
        matches!(self, Command::Status(_) | Command::Overview(_) | Command::Rules { after: None, .. })
    }
}

/// Status and peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// How things are.
    pub status: StatusView,
    /// The peers.
    pub peers: Vec<PeerView>,
    /// What rules matched together.
    pub traffic: Vec<TrafficView>,
    /// Of how many rules single metrics are wanted.
    pub rule_series: usize,
    /// There are so many rules that decisions may take long.
    pub many: bool,
}

/// The rules in force that concern a packet's destination, as far as the search has come.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The last rule that was searched.
    pub(crate) after: Option<Arc<Nlri>>,
    /// Number of rules in force that were searched.
    pub(crate) passed: usize,
    /// The rules that may match, with their number among all.
    pub(crate) candidates: Vec<(usize, Rule)>,
}

/// The outcome of one step of the search.
#[derive(Debug)]
pub(crate) enum ExplainResult {
    /// The explanation.
    Explanation(Box<Explanation>),
    /// The search is not finished.
    NotYet(Search),
}

/// The outcome of one step of a search for an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The rule with this id.
    Rule(Arc<Nlri>),
    /// No rule up to this one has the id; the search is not finished.
    NotUntil(Arc<Nlri>),
    /// No rule has the id.
    None,
}
