//! What the API asks of the task that decides, and what it answers.

use crate::policy_trace::PolicyQuestionError;
use crate::samples::Samples;
use crate::state_file::Saved;
use api::{Event, Explanation, Named, PeerView, PolicyExplanation, PolicyQuestion, RuleState, RuleView, StatusView};
use dataplane::{DataplaneError, NoSamples};
use flowspec::{Family, Nlri, PacketError, Rule, RuleId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// Who asked: a user of this machine, or the address of a host.
pub(crate) type Requester = String;

/// Whether what is wanted is in force; or why the data plane did not take a change.
pub(crate) type ApplyOutcome = Result<(), Arc<DataplaneError>>;

/// A request, with the place for its answer.
#[derive(Debug)]
pub(crate) enum Command {
    /// How things are.
    Status(oneshot::Sender<StatusView>),
    /// How things are, with the peers.
    Overview(oneshot::Sender<Overview>),
    /// Some of the rules, in enforcement order.
    Rules {
        /// Which.
        filter: RuleFilter,
        /// Where to go on.
        after: Option<Arc<Nlri>>,
        /// Where they go, and where to go on after that; `None` at the end.
        answer: oneshot::Sender<(Vec<RuleView>, Option<Arc<Nlri>>)>,
    },
    /// Announce a local rule.
    Announce {
        /// The rule.
        rule: Box<Rule>,
        /// How long it lives.
        lifetime: Option<Duration>,
        /// Who asked.
        by: Requester,
        /// Its id, and when it is on the disk.
        answer: oneshot::Sender<(RuleId, Option<Saved>)>,
    },
    /// Withdraw a local rule.
    Withdraw {
        /// Which.
        rule: Arc<Nlri>,
        /// Who asked.
        by: Requester,
        /// Its text, and when that is on the disk; or why not.
        answer: oneshot::Sender<Result<(String, Option<Saved>), WithdrawError>>,
    },
    /// The rule with an id.
    Find {
        /// Its id.
        id: RuleId,
        /// Where to go on.
        after: Option<Arc<Nlri>>,
        /// Whether it is there.
        answer: oneshot::Sender<Found>,
    },
    /// One rule.
    Rule(Arc<Nlri>, oneshot::Sender<Option<RuleView>>),
    /// Take all filtering out.
    Pause {
        /// For how long; without it until it is resumed.
        lifetime: Option<Duration>,
        /// Who asked.
        by: Requester,
        /// What became of it.
        answer: oneshot::Sender<Paused>,
    },
    /// Put filtering back.
    Resume(Requester, oneshot::Sender<Paused>),
    /// Withdraw all local rules; the answer is the number withdrawn, and when that is on the disk.
    Clear(Requester, oneshot::Sender<(usize, Option<Saved>)>),
    /// Wait until what is wanted by now is in force, or a change failed.
    Applied(oneshot::Sender<oneshot::Receiver<ApplyOutcome>>),
    /// What happens to a packet.
    Explain {
        /// Its octets.
        packet: Vec<u8>,
        /// How far the search has come.
        search: Search,
        /// What happens; or how far the search has come now; or why it is no packet.
        answer: oneshot::Sender<Result<Explained, PacketError>>,
    },
    /// What import policy makes of a route.
    Policy(PolicyQuestion, oneshot::Sender<Result<PolicyExplanation, PolicyQuestionError>>),
    /// The latest events, oldest first.
    History(usize, oneshot::Sender<Vec<Arc<Event>>>),
    /// Sampled packets; or why there are none here.
    Samples(oneshot::Sender<Result<Samples, NoSamples>>),
    /// Events from now on.
    Watch(oneshot::Sender<broadcast::Receiver<Arc<Event>>>),
}

/// Why a rule is not withdrawn here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WithdrawError {
    /// There is none.
    #[error("there is no such rule")]
    Unknown,
    /// It is not announced on this machine.
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
}

/// What became of a pause, or of its end.
#[derive(Debug)]
pub(crate) struct Paused {
    /// Whether that changed what is filtered.
    pub changed: bool,
    /// When a pause ends by itself, RFC 3339, if it does.
    pub until: Option<String>,
    /// Told when it is done, or a change failed.
    pub applied: Option<oneshot::Receiver<ApplyOutcome>>,
    /// Told when it is on the disk.
    pub saved: Option<Saved>,
}

impl Command {
    /// It changes no rule.
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
            | Command::Rules { .. }
            | Command::Find { .. }
            | Command::Rule(..)
            | Command::Explain { .. }
            | Command::Policy(..)
            | Command::History(..)
            | Command::Samples(_)
            | Command::Watch(_) => true,
        }
    }

    /// Its answer has what was counted.
    pub(crate) const fn shows_counters(&self) -> bool {
        matches!(self, Command::Status(_) | Command::Overview(_) | Command::Rules { after: None, .. })
    }
}

/// What is shown at a glance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// How things are.
    pub status: StatusView,
    /// The peers.
    pub peers: Vec<PeerView>,
    /// There are so many rules that decisions may take a while.
    pub many: bool,
}

/// The rules in force that are about a packet's destination, as far as they were looked through.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The last rule that was looked at.
    pub(crate) after: Option<Arc<Nlri>>,
    /// How many rules in force were looked at.
    pub(crate) passed: usize,
    /// Those that may match, with their number among all.
    pub(crate) candidates: Vec<(usize, Rule)>,
}

/// What came of a search for what happens to a packet.
#[derive(Debug)]
pub(crate) enum Explained {
    /// This.
    Explanation(Box<Explanation>),
    /// The search has not come further yet.
    NotYet(Search),
}

/// What came of a search for an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This rule has it.
    Rule(Arc<Nlri>),
    /// It is none of the rules up to this one; the search has not come further yet.
    NotUntil(Arc<Nlri>),
    /// There is no such rule.
    None,
}

/// Words, all of which must fit: a state, a family, a peer, `local`, an address or prefix (rules whose destination overlaps), the beginning of
/// an id, or part of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleFilter {
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Net(ipnet::IpNet),
    Text { text: String, state: Option<RuleState>, family: Option<Family> },
}

impl RuleFilter {
    /// From what a person typed.
    pub(crate) fn parse(text: &str) -> Self {
        let word = |word: &str| {
            let net = word.parse().or_else(|_| word.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
            let text =
                || Word::Text { text: word.to_owned(), state: RuleState::from_name(word), family: word.parse().ok() };
            net.map_or_else(|_| text(), Word::Net)
        };
        RuleFilter { words: text.split_whitespace().map(word).collect() }
    }

    /// Whether a rule fits.
    pub(crate) fn matches(&self, nlri: &Nlri, view: &RuleView) -> bool {
        self.words.iter().all(|word| match word {
            Word::Net(net) => overlaps(nlri, *net),
            Word::Text { text, state, family } => {
                state.is_some_and(|state| view.state == state)
                    || family.is_some_and(|family| view.family == family)
                    || view.id.starts_with(text.as_str())
                    || view.origins.iter().any(|origin| origin.peer == *text)
                    || view.text.contains(text.as_str())
            }
        })
    }
}

/// Whether some address of `net` is a destination of the rule.
fn overlaps(nlri: &Nlri, net: ipnet::IpNet) -> bool {
    use flowspec::{IpVersion, Prefix};
    match (nlri.destination(), net) {
        (Some(Prefix::V4(dst)), ipnet::IpNet::V4(net)) => dst.contains(&net) || net.contains(&dst),
        (Some(Prefix::V6(dst)), ipnet::IpNet::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(0);
            (u128::from(net.network()) ^ dst.bits()) & mask & dst.mask() == 0
        }
        (None, net) => (nlri.family().version() == IpVersion::V4) == net.addr().is_ipv4(),
        (Some(_), _) => false,
    }
}
