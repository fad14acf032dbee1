//! Answers to requests of the API.

use super::dataplane_driver::DataplaneDriver;
use super::earlier_run::EarlierRun;
use super::incidents::Incidents;
use super::local_rules::LocalRules;
use super::peer_sessions::PeerSessions;
use super::state_writer::{StateWriter, pause_end};
use super::status_board::{StatusBoard, has_many_rules};
use super::tally::Counted;
use super::traffic::{ActivityView, Traffic, is_limit};
use super::unenforced;
use crate::backend_spec::backend_view;
use crate::clock;
use crate::command::{Found, Overview};
use crate::convert::{self, LOCAL};
use crate::events::timestamp;
use crate::host_environment::HostEnvironment;
use crate::peer_table::PeerEntry;
use crate::rule_filter::{Filterable, RuleFilter};
use crate::rule_selection::{ListOrder, Rank, RuleSelection, SelectedRule};
use crate::state_file::Pause;
use api::hex::to_hex;
use api::{
    AttachmentMode, AttachmentView, DataplaneState, FallbackView, Mode, OriginView, PeerView, RateView, RuleState,
    RuleView, StatusView, TrafficView,
};
use bgp::AfiSafi;
use config::Config;
use dataplane::{Attachment, Counter, Interface};
use engine::Engine;
use flowspec::{Nlri, RuleId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Octets of text in one part of a long answer, approximately: each reader holds a few such parts
/// in memory.
const PAGE: usize = 32 * 1024;

/// Longest time for one part: it delays decisions.
pub(super) const PAGE_TIME: Duration = Duration::from_millis(5);

/// The data that answers are made from.
pub(super) struct Answers<'a> {
    pub(super) config: &'a Config,
    pub(super) environment: &'a HostEnvironment,
    pub(super) engine: &'a Engine,
    pub(super) sessions: &'a PeerSessions,
    pub(super) driver: &'a DataplaneDriver,
    pub(super) traffic: &'a Traffic,
    pub(super) state: &'a StateWriter,
    pub(super) incidents: &'a Incidents,
    pub(super) board: &'a StatusBoard,
    pub(super) earlier_run: &'a EarlierRun,
    pub(super) local: &'a LocalRules,
    pub(super) pause: Option<Pause>,
    pub(super) listening: &'a [SocketAddr],
    pub(super) started: SystemTime,
}

impl Answers<'_> {
    /// How things are, with the numbers that were counted.
    fn status(&self, counted: &Counted) -> StatusView {
        let (driver, known, outcomes) = (&self.driver, self.driver.known(), self.driver.outcomes());
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: timestamp(self.started),
            asn: self.config.router.asn,
            router_id: self.config.router.id.to_string(),
            listen: self.listening.iter().map(ToString::to_string).collect(),
            peers: self.sessions.table().iter().count() as u64,
            established: self.sessions.table().established() as u64,
            rules: counted.states().clone(),
            rules_uncounted: counted.uncounted(),
            rules_age: counted.ended().map(|ended| ended.elapsed().as_secs_f64()),
            backend: driver.backend().into(),
            fallback: driver.fallback().map(|why| FallbackView {
                configured: backend_view(self.config.dataplane.backend).into(),
                reason: why.to_owned(),
            }),
            interfaces: self.filtered_interfaces(),
            unfiltered: self.engine.unfiltered().map(str::to_owned),
            mode: if self.engine.is_monitoring() { Mode::Monitor } else { Mode::Enforce }.into(),
            paused: self.engine.is_paused(),
            paused_until: pause_end(self.pause),
            entries: known.usage().entries,
            capacity: known.usage().capacity,
            dataplane_memory: known.usage().memory,
            attachments: known.condition().interfaces.iter().map(attachment).collect(),
            warnings: self.warnings(counted),
            statistics: known.condition().statistics.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            dataplane: match (self.dataplane_error(), driver.is_busy() || self.engine.has_pending_changes()) {
                (Some(_), _) => DataplaneState::Failed,
                (None, true) => DataplaneState::Applying,
                (None, false) => DataplaneState::Applied,
            }
            .into(),
            dataplane_error: self.dataplane_error(),
            state_error: self.state.write_error().map(|write_error| write_error.to_string()),
            applied: outcomes.applied,
            failures: outcomes.failures,
            damages: outcomes.damages,
            apply_ms: outcomes.took.as_secs_f64() * 1000.0,
            protected: convert::protected(self.config, &self.environment.addresses),
            counters_age: known.age(Instant::now()).map(|age| age.as_secs_f64()),
            traffic: self.traffic.all(counted.in_force()),
            advice: self.config.advice(),
            log_lines_lost: crate::logging::lost(),
        }
    }

    pub(super) fn status_alone(&self) -> StatusView {
        self.status(&self.board.counted(self.engine))
    }

    pub(super) fn overview(&self) -> Overview {
        let counted = self.board.counted(self.engine);
        let (status, peers) = (self.status(&counted), self.peer_views(&counted));
        let traffic = self.traffic(&counted);
        let rule_series = self.config.api.rule_metrics;
        Overview { status, peers, traffic, rule_series, many: has_many_rules(self.engine) }
    }

    /// What rules matched together.
    fn traffic(&self, counted: &Counted) -> Vec<TrafficView> {
        let peers = self.sessions.table().iter().map(|entry| entry.id());
        let named = |peer| (peer, self.sessions.origin(peer));
        let peers: Vec<_> = [LOCAL].into_iter().chain(peers).map(named).collect();
        self.traffic.views(&peers, counted.in_force())
    }

    /// Interfaces that exist and are to be filtered; `None` means all.
    fn filtered_interfaces(&self) -> Option<Vec<String>> {
        let absent = |name: &&String| {
            let known = self.driver.known().condition().interfaces.iter().find(|interface| interface.name == **name);
            known.is_some_and(|interface| matches!(interface.attachment, Attachment::None(_)))
        };
        let meant = self.environment.interfaces.as_ref()?;
        Some(meant.iter().filter(|name| !absent(name)).cloned().collect())
    }

    /// Conditions that need attention, for people.
    fn warnings(&self, counted: &Counted) -> Vec<String> {
        let condition = self.driver.known().condition();
        let unfiltered = condition.interfaces.iter().filter_map(|interface| match &interface.attachment {
            Attachment::None(why) => Some(format!("{} is not filtered: {why}", interface.name)),
            Attachment::Native | Attachment::Generic | Attachment::Prerouting => None,
        });
        let kept = condition.warnings.iter().cloned().chain(self.state.notes()).chain(self.incidents.warning());
        let left = self.earlier_run.warning();
        let fallback = self.driver.fallback_warning().into_iter();
        fallback.chain(unfiltered).chain(kept).chain(left).chain(unenforced::warning(counted)).collect()
    }

    /// Why rules are not enforced as intended.
    fn dataplane_error(&self) -> Option<String> {
        let error = self.driver.outcomes().error.as_ref().map(ToString::to_string);
        error.or_else(|| self.driver.known().condition().not_enforced.clone())
    }

    fn peer_views(&self, counted: &Counted) -> Vec<PeerView> {
        let view = |entry: &PeerEntry| {
            let id = entry.id();
            let (rules, stale) = (self.engine.counts(id).rules, counted.stale(id));
            let view = entry.view(rules, stale, self.advertised(entry));
            PeerView { rule_states: counted.states_of(id), ..view }
        };
        self.sessions.table().iter().map(view).collect()
    }

    /// How many locally originated rules are advertised to a peer; `None` if it is not to get any.
    fn advertised(&self, entry: &PeerEntry) -> Option<u64> {
        let families = entry.advertised_families()?;
        let too_long = entry.too_long().iter().filter(|id| self.local.find(**id, self.engine).is_some());
        Some(self.local.originated().count(families).saturating_sub(too_long.count() as u64))
    }

    /// The peers to which a rule is advertised, and those for whose messages it is too long.
    fn advertised_to(&self, rule: &engine::RuleRef<'_>) -> (Vec<String>, Vec<String>) {
        if !rule.peers().any(|peer| peer == LOCAL) {
            return (Vec::new(), Vec::new());
        }
        let family = AfiSafi::Flow(rule.nlri().family());
        let gets_it = |entry: &&PeerEntry| entry.advertised_families().is_some_and(|all| all.contains(family));
        let peers = self.sessions.table().iter().filter(gets_it);
        let (too_long, peers): (Vec<_>, Vec<_>) = peers.partition(|entry| entry.too_long().contains(&rule.id()));
        let names = |entries: Vec<&PeerEntry>| entries.iter().map(|entry| entry.config().name.clone()).collect();
        (names(peers), names(too_long))
    }

    pub(super) fn rules_page(
        &self,
        filter: &RuleFilter,
        after: Option<Arc<Nlri>>,
    ) -> (Vec<RuleView>, Option<Arc<Nlri>>) {
        let began = Instant::now();
        let (mut views, mut octets) = (Vec::new(), 0);
        let mut last = None;
        for (index, rule) in self.engine.rules_after(after.as_ref()).enumerate() {
            if octets >= PAGE || (index % 16 == 15 && began.elapsed() >= PAGE_TIME) {
                return (views, last);
            }
            if filter.matches(&Candidate { rule: &rule, sessions: self.sessions }) {
                let view = self.view(&rule);
                octets += view.text.len() + view.nlri.len();
                views.push(view);
            }
            last = Some(Arc::clone(rule.nlri()));
        }
        (views, None)
    }

    /// Which rules a list has, as far as the time of one step goes.
    pub(super) fn select(
        &self,
        selection: &RuleSelection,
        after: Option<Arc<Nlri>>,
    ) -> (Vec<SelectedRule>, Option<Arc<Nlri>>) {
        let RuleSelection { filter, states, order } = selection;
        let began = Instant::now();
        let (mut selected, mut last) = (Vec::new(), None);
        for (index, rule) in self.engine.rules_after(after.as_ref()).enumerate() {
            if index % 16 == 15 && began.elapsed() >= PAGE_TIME {
                return (selected, last);
            }
            let is_in_state = states.is_empty() || states.contains(&convert::rule_state(&rule.state()));
            if is_in_state && (filter.is_empty() || filter.matches(&Candidate { rule: &rule, sessions: self.sessions }))
            {
                let rank = match order {
                    ListOrder::Enforcement => Rank::default(),
                    order => order.rank(self.traffic.activity(rule.id()), self.driver.known().counter(&rule)),
                };
                selected.push(SelectedRule { nlri: Arc::clone(rule.nlri()), rank });
            }
            last = Some(Arc::clone(rule.nlri()));
        }
        (selected, None)
    }

    /// Of these rules those that there still are.
    pub(super) fn rules_of(&self, nlris: &[Arc<Nlri>]) -> Vec<RuleView> {
        nlris.iter().filter_map(|nlri| Some(self.view(&self.engine.rule(nlri)?))).collect()
    }

    /// Local rules are found at once; others are searched in steps, each as long as a part of a
    /// list.
    pub(super) fn find(&self, id: RuleId, after: Option<Arc<Nlri>>) -> Found {
        if let Some(nlri) = self.local.find(id, self.engine) {
            return Found::Rule(Arc::clone(nlri));
        }
        let began = Instant::now();
        for (index, rule) in self.engine.rules_after(after.as_ref()).enumerate() {
            if rule.id() == id {
                return Found::Rule(Arc::clone(rule.nlri()));
            }
            if index % 256 == 255 && began.elapsed() >= PAGE_TIME {
                return Found::NotUntil(Arc::clone(rule.nlri()));
            }
        }
        Found::None
    }

    pub(super) fn view(&self, rule: &engine::RuleRef<'_>) -> RuleView {
        let nlri = rule.nlri();
        let mut octets = Vec::with_capacity(nlri.wire_len());
        nlri.encode_to(&mut octets);
        let state = rule.state();
        let counter = self.driver.known().counter(rule);
        let ActivityView { rate, peak, last_hit } = self.traffic.rule(rule.id());
        let has_limit = rule.enforced().is_some_and(|effect| is_limit(&effect));
        // What a policer did not drop, it let pass.
        let passed = |counter: Counter| counter.packets.checked_sub(counter.dropped_packets?);
        let passed_bytes = |counter: Counter| counter.bytes.checked_sub(counter.dropped_bytes?);
        let origins = rule.paths().map(|path| OriginView {
            peer: self.sessions.origin(path.peer),
            stale: path.stale,
            long_lived: path.long_lived,
            best: path.best,
            expires: path.expires.map(|end| timestamp(clock::date(end))),
            reason: path.objection,
        });
        let (advertised_to, too_long) = self.advertised_to(rule);
        let not_advertised = |peer| format!("it is not advertised to {peer}: it does not fit into a message for it");
        RuleView {
            id: rule.id().to_string(),
            family: nlri.family().into(),
            nlri: to_hex(&octets),
            text: rule.rule().to_string(),
            state: convert::rule_state(&state).into(),
            reason: state.reason(),
            notes: rule.notes().into_iter().chain(too_long.iter().map(not_advertised)).collect(),
            limits: rule.limits(),
            entries: state.entries(),
            origins: origins.collect(),
            advertised_to,
            since: Some(timestamp(clock::date(rule.announced()))),
            expires: rule.expires().map(|end| timestamp(clock::date(end))),
            packets: counter.map(|counter| counter.packets),
            bytes: counter.map(|counter| counter.bytes),
            dropped: counter.and_then(|counter| counter.dropped_packets),
            dropped_bytes: counter.and_then(|counter| counter.dropped_bytes),
            passed: counter.filter(|_| has_limit).and_then(passed),
            passed_bytes: counter.filter(|_| has_limit).and_then(passed_bytes),
            rate: rate.or_else(|| counter.and_then(idle)),
            peak,
            last_hit,
        }
    }
}

/// A rule that a filter is asked about.
struct Candidate<'a> {
    rule: &'a engine::RuleRef<'a>,
    sessions: &'a PeerSessions,
}

impl Filterable for Candidate<'_> {
    fn nlri(&self) -> &Nlri {
        self.rule.nlri()
    }

    fn state(&self) -> RuleState {
        convert::rule_state(&self.rule.state())
    }

    fn is_announced_by(&self, peer: &str) -> bool {
        self.rule
            .peers()
            .any(|id| if id == LOCAL { peer == "local" } else { self.sessions.table().name(id) == Some(peer) })
    }

    fn id(&self) -> String {
        self.rule.id().to_string()
    }

    fn text(&self) -> String {
        self.rule.rule().to_string()
    }
}

/// Of a rule that has counted nothing the rate is known without two readings.
fn idle(counter: Counter) -> Option<RateView> {
    let dropped_per_second = counter.dropped_packets.map(|_| 0.0);
    (counter.packets == 0).then_some(RateView { dropped_per_second, ..RateView::default() })
}

/// How an interface is filtered, in the form of the API.
fn attachment(interface: &Interface) -> AttachmentView {
    let (mode, reason) = match &interface.attachment {
        Attachment::Native => (AttachmentMode::Native, None),
        Attachment::Generic => (AttachmentMode::Generic, None),
        Attachment::Prerouting => (AttachmentMode::Prerouting, None),
        Attachment::None(why) => (AttachmentMode::None, Some(why.clone())),
    };
    AttachmentView { interface: interface.name.clone(), mode: mode.into(), reason }
}
