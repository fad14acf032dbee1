//! Answers to what the API asks.

use super::Controller;
use super::measurements::READING_PATIENCE;
use super::state_writer::pause_end;
use super::tally::Counted;
use crate::clock::{self, now};
use crate::command::{Command, Explained, Found, Overview, Paused, Requester, RuleFilter, Search, WithdrawError};
use crate::convert::{self, LOCAL};
use crate::events::{About, Kind, timestamp};
use crate::net::PeerId;
use crate::peer_table::PeerEntry;
use crate::state_file::{Pause, Saved};
use api::explanation::{parse_packet, verdict, words_of};
use api::hex::to_hex;
use api::{AttachmentView, Explanation, FallbackView, OriginView, PeerView, RuleView, StatusView};
use dataplane::{Attachment, Interface};
use engine::Route;
use flowspec::{Exemption, Nlri, Packet, PacketError, Rule, RuleId, Scope};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Octets of text of one part of a long answer, or a little more: each reader has a few such parts in memory.
const PAGE: usize = 32 * 1024;

/// How long one part may take: decisions wait no longer.
const PAGE_TIME: Duration = Duration::from_millis(5);

/// From so many rules on, decisions may take a while.
const MANY: usize = 2_000;

/// How often what is shown without asking is renewed.
const SHOW: Duration = Duration::from_millis(100);

/// Mismatches told by `explain`.
const MISSES: usize = 20;

impl Controller {
    pub(super) fn command(&mut self, command: Command) {
        let shows_counters =
            matches!(command, Command::Status(_) | Command::Overview(_) | Command::Rules { after: None, .. });
        if shows_counters && self.driver.measure(Instant::now()) {
            self.waiting.push((Instant::now() + READING_PATIENCE, command));
        } else {
            self.answer(command);
        }
    }

    /// New counters are there.
    pub(super) fn answer_what_waits(&mut self) {
        for (_, command) in std::mem::take(&mut self.waiting) {
            self.answer(command);
        }
    }

    /// New counters take too long: those that are known must do.
    pub(super) fn expire_waiters(&mut self) {
        if self.waiting.first().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.answer_what_waits();
        }
    }

    fn answer(&mut self, command: Command) {
        // Who asked may have gone: a failed answer is no error.
        match command {
            Command::Status(answer) => drop(answer.send(self.status())),
            Command::Overview(answer) => drop(answer.send(self.overview())),
            Command::Rules { filter, after, answer } => drop(answer.send(self.rules_page(&filter, after))),
            Command::Find { id, after, answer } => drop(answer.send(self.find(id, after))),
            Command::Rule(nlri, answer) => drop(answer.send(self.engine.rule(&nlri).map(|rule| self.view(&rule)))),
            Command::Announce { rule, lifetime, by, answer } => drop(answer.send(self.announce(*rule, lifetime, by))),
            Command::Withdraw { rule, by, answer } => drop(answer.send(self.withdraw(&rule, by))),
            Command::Pause { lifetime, by, answer } => drop(answer.send(self.pause(lifetime, by))),
            Command::Resume(by, answer) => drop(answer.send(self.resume(Some(by)))),
            Command::Clear(by, answer) => drop(answer.send(self.clear(by))),
            Command::Applied(answer) => drop(answer.send(self.driver.when_applied())),
            Command::Explain { packet, search, answer } => drop(answer.send(self.explain(&packet, search))),
            Command::History(count, answer) => drop(answer.send(self.events.latest(count))),
            Command::Samples(answer) => drop(answer.send(self.driver.samples())),
            Command::Watch(answer) => drop(answer.send(self.events.watch())),
        }
    }

    fn status(&self) -> StatusView {
        let (driver, known, outcomes) = (&self.driver, self.driver.known(), self.driver.outcomes());
        let counted = self.tally.counted(&self.engine);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: timestamp(self.started),
            asn: self.config.router.asn,
            router_id: self.config.router.id.to_string(),
            listen: self.listening.iter().map(ToString::to_string).collect(),
            peers: self.sessions.table().iter().count() as u64,
            established: self.sessions.table().established() as u64,
            rules: counted.states.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            backend: driver.backend().to_owned(),
            fallback: driver.fallback().map(|why| FallbackView {
                configured: self.config.dataplane.backend.name().to_owned(),
                reason: why.to_owned(),
            }),
            interfaces: self.filtered_interfaces(),
            unfiltered: self.engine.unfiltered().map(str::to_owned),
            mode: if self.engine.is_monitoring() { "monitor" } else { "enforce" }.to_owned(),
            paused: self.engine.is_paused(),
            paused_until: pause_end(self.pause),
            entries: known.usage().entries,
            capacity: known.usage().capacity,
            dataplane_memory: known.usage().memory,
            attachments: known.condition().interfaces.iter().map(attachment).collect(),
            warnings: self.warnings(&counted),
            statistics: known.condition().statistics.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            dataplane: match (self.dataplane_error(), driver.is_busy() || self.engine.has_pending_changes()) {
                (Some(_), _) => "failed",
                (None, true) => "applying",
                (None, false) => "applied",
            }
            .to_owned(),
            dataplane_error: self.dataplane_error(),
            state_error: self.state.trouble(),
            applied: outcomes.applied,
            failures: outcomes.failures,
            damages: outcomes.damages,
            apply_ms: outcomes.took.as_secs_f64() * 1000.0,
            protected: convert::protected(&self.config, &self.environment.addresses),
            counters_age: known.age(Instant::now()).map(|age| age.as_secs_f64()),
            advice: self.config.advice(),
            log_lines_lost: crate::logging::lost(),
        }
    }

    fn overview(&self) -> Overview {
        Overview { status: self.status(), peers: self.peer_views(), many: self.engine.rule_count() > MANY }
    }

    /// Shows how things are to those who do not wait for an answer.
    fn show(&mut self) {
        self.next_show = Instant::now() + SHOW;
        self.tally.shown();
        let overview = Arc::new(self.overview());
        self.shown.send_replace(Some(overview));
    }

    /// The same before something that may take long, if it is not known anyway.
    pub(super) fn show_before(&mut self) {
        if self.next_show <= Instant::now() && self.tally.is_unshown() {
            self.show();
        }
    }

    /// Those that are to be filtered and are there; `None` means all.
    fn filtered_interfaces(&self) -> Option<Vec<String>> {
        let absent = |name: &&String| {
            let known = self.driver.known().condition().interfaces.iter().find(|interface| interface.name == **name);
            known.is_some_and(|interface| matches!(interface.attachment, Attachment::None(_)))
        };
        let meant = self.environment.interfaces.as_ref()?;
        Some(meant.iter().filter(|name| !absent(name)).cloned().collect())
    }

    /// What deserves a look, in words.
    fn warnings(&self, counted: &Counted) -> Vec<String> {
        let condition = self.driver.known().condition();
        let unfiltered = condition.interfaces.iter().filter_map(|interface| match &interface.attachment {
            Attachment::None(why) => Some(format!("{} is not filtered: {why}", interface.name)),
            Attachment::Native | Attachment::Generic | Attachment::Prerouting => None,
        });
        let kept = condition.warnings.iter().cloned().chain(self.state.notes());
        let left = self.leftovers.as_ref().map(super::leftovers::Leftovers::warning);
        let fallback = self.driver.fallback_warning().into_iter();
        fallback.chain(unfiltered).chain(kept).chain(left).chain(Self::unenforced_warning(counted)).collect()
    }

    /// Why rules are not enforced as they should be.
    fn dataplane_error(&self) -> Option<String> {
        let error = self.driver.outcomes().error.as_ref().map(ToString::to_string);
        error.or_else(|| self.driver.known().condition().not_enforced.clone())
    }

    fn peer_views(&self) -> Vec<PeerView> {
        let stale = self.tally.counted(&self.engine).stale;
        let view = |entry: &PeerEntry| {
            let id = engine::PeerId(entry.id().0);
            entry.view(self.engine.counts(id).rules, stale.get(&id).copied().unwrap_or(0))
        };
        self.sessions.table().iter().map(view).collect()
    }

    fn rules_page(&self, filter: &RuleFilter, after: Option<Arc<Nlri>>) -> (Vec<RuleView>, Option<Arc<Nlri>>) {
        let began = Instant::now();
        let (mut views, mut octets) = (Vec::new(), 0);
        let mut last = None;
        for (index, rule) in self.engine.rules_after(after.as_ref()).enumerate() {
            if octets >= PAGE || (index % 16 == 15 && began.elapsed() >= PAGE_TIME) {
                return (views, last);
            }
            let view = self.view(&rule);
            if filter.matches(rule.nlri(), &view) {
                octets += view.text.len() + view.nlri.len();
                views.push(view);
            }
            last = Some(Arc::clone(rule.nlri()));
        }
        (views, None)
    }

    /// Local rules are found at once, others in parts that take as long as a part of the list.
    fn find(&self, id: RuleId, after: Option<Arc<Nlri>>) -> Found {
        if let Some(nlri) = self.local_ids.get(&id).filter(|nlri| self.engine.rule(nlri).is_some()) {
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

    fn view(&self, rule: &engine::RuleRef<'_>) -> RuleView {
        let nlri = rule.nlri();
        let mut octets = Vec::with_capacity(nlri.wire_len());
        nlri.encode_to(&mut octets);
        let state = rule.state();
        let counter = self.driver.known().counter(rule);
        let origins = rule.paths().map(|path| OriginView {
            peer: self.origin(path.peer),
            stale: path.stale,
            best: path.best,
            reason: path.objection,
        });
        RuleView {
            id: rule.id().to_string(),
            family: nlri.family().name().to_owned(),
            nlri: to_hex(&octets),
            text: rule.rule().to_string(),
            state: state.name().to_owned(),
            reason: state.reason(),
            notes: rule.notes(),
            limits: rule.limits(),
            entries: state.entries(),
            origins: origins.collect(),
            since: Some(timestamp(clock::date(rule.announced()))),
            expires: rule.expires().map(|end| timestamp(clock::date(end))),
            packets: counter.map(|counter| counter.packets),
            bytes: counter.map(|counter| counter.bytes),
            dropped: counter.and_then(|counter| counter.dropped_packets),
        }
    }

    pub(super) fn origin(&self, peer: engine::PeerId) -> String {
        if peer == LOCAL {
            return "local".to_owned();
        }
        self.sessions.name(PeerId(peer.0))
    }

    fn announce(&mut self, rule: Rule, lifetime: Option<Duration>, by: Requester) -> (RuleId, Option<Saved>) {
        let id = rule.nlri.id();
        match lifetime {
            Some(age) => {
                tracing::info!(%id, %rule, lifetime = %format_args!("{}s", whole_seconds(age)), "announced here")
            }
            None => tracing::info!(%id, %rule, "announced here"),
        }
        self.events.record(Kind::Announced, local(id, rule.to_string(), by));
        let route = Route { next_hop: rule.next_hop, ..Route::local(rule.actions) };
        let expires = lifetime.map(|lifetime| now().plus(whole_seconds(lifetime)));
        let nlri = Arc::new(rule.nlri);
        self.engine.announce(LOCAL, Arc::clone(&nlri), None, Arc::new(route), now(), expires);
        self.local_ids.insert(id, Arc::clone(&nlri));
        (id, self.state.save_rules(&mut self.engine, self.sessions.table(), &[nlri]))
    }

    fn withdraw(&mut self, nlri: &Arc<Nlri>, by: Requester) -> Result<(String, Option<Saved>), WithdrawError> {
        let (nlri, text) = {
            let rule = self.engine.rule(nlri).ok_or(WithdrawError::Unknown)?;
            let others: Vec<String> = rule.peers().map(|peer| self.origin(peer)).collect();
            if !others.iter().any(|origin| origin == "local") {
                return Err(WithdrawError::NotLocal { rule: Arc::clone(rule.nlri()), peers: others.join(", ") });
            }
            (Arc::clone(rule.nlri()), rule.rule().to_string())
        };
        self.engine.withdraw(LOCAL, Arc::clone(&nlri), None);
        self.local_ids.remove(&nlri.id());
        tracing::info!(id = %nlri.id(), rule = text, "withdrawn here");
        self.events.record(Kind::Withdrawn, local(nlri.id(), text.clone(), by));
        Ok((text, self.state.save_rules(&mut self.engine, self.sessions.table(), &[nlri])))
    }

    fn pause(&mut self, lifetime: Option<Duration>, by: Requester) -> Paused {
        let until = lifetime.map(|lifetime| now().plus(whole_seconds(lifetime)));
        let changed = self.pause.is_none();
        if !changed && self.pause.is_some_and(|pause| pause.until == until) {
            return Paused { changed: false, until: pause_end(self.pause), applied: None, saved: None };
        }
        self.pause = Some(Pause { until });
        self.look_at_leftovers();
        let end = pause_end(self.pause);
        let words = end.as_ref().map_or_else(|| "until it is resumed".to_owned(), |end| format!("until {end}"));
        tracing::warn!("paused {words}: nothing is filtered");
        self.events.record(Kind::Paused, About::asked_by(Some(by)).saying(words));
        let saved = self.state.save_pause(self.pause);
        let applied = changed.then(|| {
            self.driver.keep_counts();
            self.engine.pause();
            self.driver.when_applied()
        });
        Paused { changed, until: end, applied, saved }
    }

    fn resume(&mut self, by: Option<Requester>) -> Paused {
        let changed = self.pause.take().is_some();
        let (applied, saved) = if changed {
            tracing::warn!("resumed");
            self.events.record(Kind::Resumed, About::asked_by(by));
            let saved = self.state.save_pause(self.pause);
            self.engine.resume();
            (Some(self.driver.when_applied()), saved)
        } else {
            (None, None)
        };
        Paused { changed, until: None, applied, saved }
    }

    /// A pause ends by itself.
    pub(super) fn end_pause_if_due(&mut self) {
        let end = self.pause.and_then(|pause| pause.until);
        if end.is_some_and(|end| end <= clock::passed()) {
            tracing::warn!("the pause is over");
            self.resume(None);
        }
    }

    fn clear(&mut self, by: Requester) -> (usize, Option<Saved>) {
        let local: Vec<Arc<Nlri>> = self
            .engine
            .rules()
            .filter(|rule| rule.peers().any(|peer| peer == LOCAL))
            .map(|rule| Arc::clone(rule.nlri()))
            .collect();
        for nlri in &local {
            self.engine.withdraw(LOCAL, Arc::clone(nlri), None);
        }
        self.local_ids.clear();
        let count = api::rule_text::counted(local.len(), "local rule");
        self.events.record(Kind::Cleared, About::asked_by(Some(by)).saying(count));
        (local.len(), self.state.save_rules(&mut self.engine, self.sessions.table(), &local))
    }

    fn explain(&self, octets: &[u8], mut search: Search) -> Result<Explained, PacketError> {
        let packet = parse_packet(octets)?;
        let inactive = match (self.engine.is_paused(), self.engine.is_monitoring()) {
            _ if let Some(why) = self.engine.unfiltered() => Some(format!("nothing is done to it: {why}")),
            (true, _) => Some("filtering is paused: nothing is done to it".to_owned()),
            (false, true) => Some("monitor mode: it is counted, and nothing is done to it".to_owned()),
            (false, false) => None,
        };
        let exempt = Exemption::of(&packet).map(|exempt| exempt.to_string());
        if let Some(protected) = exempt.or_else(|| Some(self.engine.protecting(&packet)?.what.clone())) {
            return Ok(Explained::Explanation(Box::new(Explanation {
                verdict: "accept".to_owned(),
                protected: Some(protected),
                inactive,
                ..Explanation::default()
            })));
        }
        if !self.look_for(&packet, &mut search) {
            return Ok(Explained::NotYet(search));
        }
        let rules = &search.candidates;
        let (decision, missed) = flowspec::explain(rules.iter().map(|(_, rule)| rule), &packet, Scope::Global);
        let decided = decision.ended_by.map(|index| &rules[index]);
        // Of the rules that did not match, those that speak of this destination are worth telling.
        let missed = missed.iter().map(|(index, mismatch)| (&rules[*index].1, mismatch));
        let missed = missed.filter(|(rule, _)| rule.nlri.destination().is_some());
        Ok(Explained::Explanation(Box::new(Explanation {
            packet: 0,
            verdict: verdict(&decision.effect).to_owned(),
            rule: decided.map(|(number, _)| *number),
            id: decided.map(|(_, rule)| rule.nlri.id().to_string()),
            actions: words_of(decision.effect),
            continued: decision.continued.iter().map(|index| rules[*index].0).collect(),
            text: decided.map(|(_, rule)| rule.to_string()),
            passed: decision.continued.iter().map(|index| rules[*index].1.to_string()).collect(),
            missed: missed.take(MISSES).map(|(rule, mismatch)| format!("{rule}: {mismatch}")).collect(),
            protected: None,
            inactive,
        })))
    }

    /// Looks through the rules in force for those that may match, for as long as a part of the list takes; whether all that matter are
    /// found.
    fn look_for(&self, packet: &Packet, search: &mut Search) -> bool {
        let began = Instant::now();
        let after = search.after.take();
        for (index, rule) in self.engine.rules_after(after.as_ref()).enumerate() {
            if rule.enforced().is_some() {
                let number = search.passed;
                search.passed += 1;
                if may_match(rule.nlri(), packet) {
                    let rule = rule.rule();
                    let ends =
                        rule.nlri.matches(packet).is_ok() && !rule.nlri.family().is_vpn() && !rule.effect().continues;
                    search.candidates.push((number, rule));
                    if ends {
                        return true;
                    }
                }
            }
            if index % 256 == 255 && began.elapsed() >= PAGE_TIME {
                search.after = Some(Arc::clone(rule.nlri()));
                return false;
            }
        }
        true
    }
}

/// How an interface is filtered, as the API has it.
fn attachment(interface: &Interface) -> AttachmentView {
    let (mode, reason) = match &interface.attachment {
        Attachment::Native => ("native", None),
        Attachment::Generic => ("generic", None),
        Attachment::Prerouting => ("prerouting", None),
        Attachment::None(why) => ("none", Some(why.clone())),
    };
    AttachmentView { interface: interface.name.clone(), mode: mode.to_owned(), reason }
}

/// Whether the packet goes where the rule looks; the rest of the rule is another matter.
fn may_match(nlri: &Nlri, packet: &Packet) -> bool {
    nlri.destination().is_none_or(|prefix| match (prefix, packet.destination()) {
        (flowspec::Prefix::V4(net), std::net::IpAddr::V4(address)) => net.contains(&address),
        (flowspec::Prefix::V6(pattern), std::net::IpAddr::V6(address)) => pattern.contains(address),
        _ => false,
    })
}

/// Lives are counted in whole seconds: what is asked for is the least.
fn whole_seconds(lifetime: Duration) -> u64 {
    lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0)
}

fn local(id: RuleId, text: String, by: Requester) -> About {
    let (peer, id) = (Some("local".to_owned()), Some(id.to_string()));
    About { peer, id, rule: Some(text), by: Some(by), message: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_never_shorter_than_asked() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([1, 1000, 1500, 2000].map(seconds), [1, 1, 2, 2]);
    }
}
