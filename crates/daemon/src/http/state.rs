//! What the handlers of requests need.

use super::failure::Failure;
use super::inspector::Inspector;
use super::limits::STREAMS;
use crate::command::{Command, Overview};
use crate::reload::Reload;
use axum::http::StatusCode;
use config::Config;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct ApiState {
    /// The controller.
    pub commands: mpsc::Sender<Command>,
    /// The supervisor, which owns the configuration.
    pub reload: mpsc::Sender<Reload>,
    /// Slots for long-lived connections; each transport has its own.
    streams: Arc<Semaphore>,
    /// The published status.
    shown: Option<watch::Receiver<PublishedOverview>>,
    /// The commit that the program was built from.
    commit: &'static str,
    /// The configuration in force.
    config: Arc<RwLock<Option<Arc<Config>>>>,
    /// What answers `/v1/inspect`.
    inspector: Option<Inspector>,
}

/// The published status, which is answered when the controller takes long.
pub(crate) type PublishedOverview = Option<Arc<Overview>>;

/// How long a request waits for the current status before it is answered with the published one, if
/// there are many rules.
const CURRENT_ANSWER_TIMEOUT: Duration = Duration::from_millis(20);

impl ApiState {
    /// With these channels.
    pub(crate) fn new(commands: mpsc::Sender<Command>, reload: mpsc::Sender<Reload>) -> Self {
        ApiState {
            commands,
            reload,
            streams: Arc::new(Semaphore::new(STREAMS)),
            shown: None,
            commit: "",
            config: Arc::default(),
            inspector: None,
        }
    }

    /// With what answers `/v1/inspect`.
    pub(crate) fn inspected_by(self, inspector: Inspector) -> Self {
        ApiState { inspector: Some(inspector), ..self }
    }

    /// This configuration is in force from now on.
    pub(crate) fn configure(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<Arc<Config>> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the page is served.
    pub(super) fn has_page(&self) -> bool {
        self.config().is_none_or(|config| config.api.page)
    }

    /// What answers `/v1/inspect`.
    pub(super) const fn inspector(&self) -> Option<Inspector> {
        self.inspector
    }

    /// With the published status, for answers that take long.
    pub(crate) fn with_published(self, shown: watch::Receiver<PublishedOverview>) -> Self {
        ApiState { shown: Some(shown), ..self }
    }

    /// With the commit that the program was built from.
    pub(crate) fn built_from(self, commit: &'static str) -> Self {
        ApiState { commit, ..self }
    }

    /// For a further transport, which has its own slots for long-lived connections.
    pub(super) fn for_transport(self) -> Self {
        ApiState { streams: Arc::new(Semaphore::new(STREAMS)), ..self }
    }

    /// The commit that the program was built from.
    pub(super) const fn commit(&self) -> &'static str {
        self.commit
    }

    /// The current status, or the published one while decisions are made on many rules.
    pub(super) async fn overview(&self) -> Result<Overview, Failure> {
        let now = self.ask(Command::Overview);
        let Some(shown) = self.shown.clone() else { return now.await };
        tokio::select! {
            biased;
            answer = now => answer,
            shown = published_overview(shown) => Ok(Overview::clone(&shown)),
        }
    }

    /// A slot for a long-lived connection.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let full = |_| {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("{STREAMS} already follow events or samples here"))
        };
        Arc::clone(&self.streams).try_acquire_owned().map_err(full)
    }

    /// The controller's answer.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Failure> {
        let stopping = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
        let (answer, reply) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| stopping())?;
        reply.await.map_err(|_| stopping())
    }
}

/// The published status, once [`CURRENT_ANSWER_TIMEOUT`] has passed and there are many rules;
/// pending forever if there are few. Whether there are many is checked all the time: when the first
/// of many rules come, a request may find few published, and the decision on the many may begin
/// before its answer.
async fn published_overview(mut shown: watch::Receiver<PublishedOverview>) -> Arc<Overview> {
    tokio::time::sleep(CURRENT_ANSWER_TIMEOUT).await;
    let is_many = |shown: &PublishedOverview| shown.as_ref().is_some_and(|shown| shown.many);
    let many = shown.wait_for(is_many).await.ok().and_then(|shown| shown.clone());
    match many {
        Some(overview) => overview,
        // The controller is gone: those who wait for its answer get an error.
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are few rules when the request comes; the decision on many begins before its answer.
    #[tokio::test]
    async fn who_asked_before_there_were_many_rules_does_not_wait_for_the_decision_on_them() {
        let (commands, mut inbox) = mpsc::channel(1);
        let (reload, _reloads) = mpsc::channel(1);
        let overview = |applied, many| {
            let status = api::StatusView { applied, ..Default::default() };
            Some(Arc::new(Overview { status, many, ..Overview::default() }))
        };
        let (show, shown) = watch::channel(overview(1, false));
        let state = ApiState::new(commands, reload).with_published(shown);
        let asked = tokio::spawn(async move { state.overview().await.map(|overview| overview.status.applied) });
        // The request is sent and never answered.
        let question = inbox.recv().await;
        assert!(matches!(question, Some(Command::Overview(_))));
        tokio::time::sleep(CURRENT_ANSWER_TIMEOUT * 2).await;
        assert!(!asked.is_finished(), "few rules are waited for");
        show.send_replace(overview(2, true));
        let applied = asked.await.unwrap().unwrap_or_else(|_| panic!("no answer"));
        assert_eq!(applied, 2, "what was shown before");
    }
}
