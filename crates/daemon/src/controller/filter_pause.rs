//! A pause: all filters are removed until a resume, or until the pause ends by itself.

use super::dataplane_driver::DataplaneDriver;
use super::event_log::EventLog;
use super::state_writer::{StateWriter, pause_end};
use crate::clock::{now, whole_seconds};
use crate::command::{Paused, Requester};
use crate::events::EventSubject;
use crate::state_file::Pause;
use api::EventKind;
use engine::{Engine, Timestamp};
use std::time::Duration;

/// What a pause acts on.
pub(super) struct PauseContext<'a> {
    /// The desired state.
    pub(super) engine: &'a mut Engine,
    /// The data plane, whose counters are kept meanwhile.
    pub(super) driver: &'a mut DataplaneDriver,
    /// The event log.
    pub(super) events: &'a mut EventLog,
    /// The state file.
    pub(super) state: &'a mut StateWriter,
}

/// The pause, if there is one: then, and only then, the engine is paused. Each change has been
/// passed to the state file when it is answered.
#[derive(Debug, Default)]
pub(super) struct FilterPause(Option<Pause>);

impl FilterPause {
    /// Continues the pause of an earlier run.
    pub(super) fn restore(&mut self, pause: Pause, engine: &mut Engine) {
        tracing::warn!("paused since the last run: nothing is filtered");
        engine.pause();
        self.0 = Some(pause);
    }

    /// The pause, if there is one.
    pub(super) const fn get(&self) -> Option<Pause> {
        self.0
    }

    /// Whether filtering is paused.
    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Pauses, or changes the duration.
    pub(super) fn begin(&mut self, lifetime: Option<Duration>, by: Requester, context: PauseContext<'_>) -> Paused {
        let PauseContext { engine, driver, events, state } = context;
        let until = lifetime.map(|lifetime| now().plus(whole_seconds(lifetime)));
        let changed = self.0.is_none();
        if !changed && self.0.is_some_and(|pause| pause.until == until) {
            return Paused { changed: false, until: pause_end(self.0), applied: None, saved: None };
        }
        self.0 = Some(Pause { until });
        let end = pause_end(self.0);
        let words = end.as_ref().map_or_else(|| "until it is resumed".to_owned(), |end| format!("until {end}"));
        tracing::warn!("paused {words}: nothing is filtered");
        events.record(EventKind::Paused, EventSubject::asked_by(Some(by)).with_message(words));
        let saved = state.save_pause(self.0);
        let applied = changed.then(|| {
            driver.keep_counts();
            engine.pause();
            driver.when_applied()
        });
        Paused { changed, until: end, applied, saved }
    }

    /// Ends the pause.
    pub(super) fn end(&mut self, by: Option<Requester>, context: PauseContext<'_>) -> Paused {
        let PauseContext { engine, driver, events, state } = context;
        let changed = self.0.take().is_some();
        let (applied, saved) = if changed {
            tracing::warn!("resumed");
            events.record(EventKind::Resumed, EventSubject::asked_by(by));
            let saved = state.save_pause(None);
            engine.resume();
            (Some(driver.when_applied()), saved)
        } else {
            (None, None)
        };
        Paused { changed, until: None, applied, saved }
    }

    /// Whether it has to end by itself now.
    pub(super) fn is_over(&self, time: Timestamp) -> bool {
        self.0.and_then(|pause| pause.until).is_some_and(|end| end <= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_environment::HostEnvironment;
    use engine::EngineConfig;
    use engine::capability::Capabilities;
    use std::path::Path;

    #[test]
    fn the_engine_is_paused_as_long_as_there_is_a_pause() {
        let text = "[router]\nas = 65001\nid = \"192.0.2.1\"\n[dataplane]\nbackend = \"none\"\n";
        let config = config::Config::parse(text, Path::new("test")).unwrap();
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        let (mut driver, _) = DataplaneDriver::spawn(&config, &HostEnvironment::default(), reports).unwrap();
        let mut engine = Engine::new(EngineConfig {
            capabilities: Capabilities::everything("none"),
            protection: Default::default(),
            peers: Default::default(),
            monitor: false,
        });
        let (mut events, mut state) = (EventLog::new(100), StateWriter::default());
        let mut pause = FilterPause::default();
        let mut change = |begin: Option<Option<Duration>>| {
            let context =
                PauseContext { engine: &mut engine, driver: &mut driver, events: &mut events, state: &mut state };
            let outcome = match begin {
                Some(lifetime) => pause.begin(lifetime, "root".to_owned(), context),
                None => pause.end(Some("root".to_owned()), context),
            };
            assert_eq!(pause.is_on(), engine.is_paused());
            assert_eq!(outcome.applied.is_some(), outcome.changed, "who changed something waits for it");
            (outcome.changed, outcome.until.is_some(), pause.get().and_then(|pause| pause.until))
        };
        assert_eq!(change(None), (false, false, None), "there is nothing to resume");
        assert_eq!(change(Some(None)), (true, false, None));
        assert_eq!(change(Some(None)), (false, false, None));
        // Changes the duration only; filtering is paused already.
        let (changed, ends, end) = change(Some(Some(Duration::from_secs(60))));
        assert!(!changed && ends);
        let end = end.expect("an end");
        assert_eq!(change(None), (true, false, None));
        pause.restore(Pause { until: Some(end) }, &mut engine);
        assert!(engine.is_paused() && pause.is_over(end) && !pause.is_over(Timestamp(end.0 - 1)));
    }
}
