//! The request handlers.

use super::authorize::{Gate, RequestedBy, authorize};
use super::body;
use super::explain;
use super::failure::Failure;
use super::incidents;
use super::inspection;
use super::listen::Transport;
use super::page;
use super::rule_list::{self, RuleLists, rule_by_id};
use super::state::ApiState;
use crate::command::{Command, Overview, Paused, WithdrawError};
use crate::metrics::{Exposition, Snapshot};
use crate::reload::Reload;
use crate::rule_filter::RuleFilter;
use crate::samples::SampleEvent;
use crate::state_file::Saved;
use api::HumanDuration;
use api::{AnnounceRequest, Done, Event, PauseRequest, RuleState, RuleView, WithdrawRequest};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use flowspec::Nlri;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Longest wait for a change before the answer says that it is in progress.
pub(crate) const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the disk before the answer says that it is too slow.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// The service for one transport.
pub(crate) fn router(state: ApiState, transport: Transport) -> Router {
    let state = state.for_transport();
    Router::new()
        .route("/", get(page::serve))
        .route("/page/{*file}", get(page::serve))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/peers", get(peers))
        .route("/v1/rules", get(rules))
        .route("/v1/rules/list", get(rule_list::list))
        .route("/v1/rules/{id}", get(rule_list::rule))
        .route("/v1/traffic", get(traffic))
        .route("/v1/history", get(history))
        .merge(incidents::routes(state.commands.clone()))
        .route("/v1/events", get(events))
        .route("/v1/samples", get(samples))
        .route("/v1/announce", post(announce))
        .route("/v1/withdraw", post(withdraw))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/inspect", post(inspection::inspect))
        .route("/v1/policy", post(policy))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/clear", post(clear))
        .route("/v1/reload", post(reload))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "no such path; see the list in the manual"))
        .layer(Extension(RuleLists::default()))
        .layer(middleware::from_fn_with_state(Gate::new(transport), authorize))
        .layer(middleware::from_fn(body::whole))
        .layer(middleware::map_response(normalize_errors))
        .with_state(state)
}

/// Most octets of an error of the HTTP library that are passed on.
const MAX_ERROR_TEXT: usize = 4096;

/// Converts errors of the HTTP library to the form of all others.
async fn normalize_errors(response: Response) -> Response {
    let status = response.status();
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let words = axum::body::to_bytes(response.into_body(), MAX_ERROR_TEXT).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let words = if words.is_empty() { status.canonical_reason().unwrap_or("error") } else { &words };
    Failure::new(status, words).into_response()
}

async fn healthz(State(state): State<ApiState>) -> Result<&'static str, Failure> {
    let late = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no decisions are made");
    let status = tokio::time::timeout(Duration::from_secs(2), state.ask(Command::Status)).await.map_err(late)??;
    match status.dataplane_error.or(status.unfiltered).or(status.state_error) {
        None => Ok("ok\n"),
        Some(error) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)),
    }
}

async fn metrics(State(state): State<ApiState>, headers: HeaderMap) -> Result<impl IntoResponse, Failure> {
    let Overview { status, peers, traffic, rule_series, .. } = state.overview().await?;
    let rules = match rule_series {
        0 => None,
        most => Some(state.ask(|answer| Command::Busiest(most, answer)).await?),
    };
    let exposition = Exposition::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    let snapshot = Snapshot { status, peers, traffic, rules, commit: state.commit() };
    let text = crate::metrics::render(&snapshot, exposition)
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, exposition.content_type())], text))
}

async fn status(State(state): State<ApiState>) -> Result<impl IntoResponse, Failure> {
    Ok(Json(state.overview().await?.status))
}

async fn peers(State(state): State<ApiState>) -> Result<impl IntoResponse, Failure> {
    Ok(Json(state.overview().await?.peers))
}

async fn traffic(State(state): State<ApiState>) -> Result<impl IntoResponse, Failure> {
    Ok(Json(state.overview().await?.traffic))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesQuery {
    #[serde(default)]
    filter: String,
}

/// Streamed: for a reader that does not read, only a few parts are in memory.
async fn rules(State(state): State<ApiState>, Query(query): Query<RulesQuery>) -> Response {
    let filter = RuleFilter::parse(&query.filter);
    let (chunks, body) = mpsc::channel::<Result<Bytes, &'static str>>(2);
    tokio::spawn(async move {
        let mut after = None;
        loop {
            let next = state.ask(|answer| Command::Rules { filter: filter.clone(), after, answer }).await;
            let Ok((rules, more)) = next else {
                // Abort the connection: a list that ended normally would look complete.
                let _ = chunks.send(Err("the daemon is stopping")).await;
                return;
            };
            let mut lines = Vec::with_capacity(rules.len() * 256);
            for rule in &rules {
                if serde_json::to_writer(&mut lines, rule).is_ok() {
                    lines.push(b'\n');
                }
            }
            if !lines.is_empty() && chunks.send(Ok(lines.into())).await.is_err() {
                return;
            }
            after = more;
            if after.is_none() {
                return;
            }
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    #[serde(default = "default_history_count")]
    count: usize,
}

const fn default_history_count() -> usize {
    100
}

async fn history(State(state): State<ApiState>, Query(query): Query<HistoryQuery>) -> Result<Response, Failure> {
    let events = state.ask(|answer| Command::History(query.count, answer)).await?;
    Ok(Json(events.iter().map(|event| &**event).collect::<Vec<&Event>>()).into_response())
}

async fn events(State(state): State<ApiState>) -> Result<impl IntoResponse, Failure> {
    let place = state.stream()?;
    let watcher = state.ask(Command::Watch).await?;
    let stream = futures_util::stream::unfold((watcher, place), async |(mut watcher, place)| {
        let item = match watcher.recv().await {
            Ok(event) => axum::response::sse::Event::default().id(event.number.to_string()).json_data(&*event),
            // The reader was too slow: it is told how many it missed.
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Ok(axum::response::sse::Event::default().event("missed").data(missed.to_string()))
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((item, (watcher, place)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// Packets as they are sampled. An `event: lost` says how many were lost before they were read;
/// `missed` says how many this reader was too slow for.
async fn samples(State(state): State<ApiState>) -> Result<impl IntoResponse, Failure> {
    let place = state.stream()?;
    let samples =
        state.ask(Command::Samples).await?.map_err(|why| Failure::new(StatusCode::CONFLICT, why.to_string()))?;
    let failed = |error: std::io::Error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let listener = samples.listen().map_err(failed)?;
    let stream = futures_util::stream::unfold((listener, place), async |(mut listener, place)| {
        let event = axum::response::sse::Event::default();
        let item = match listener.recv().await {
            Ok(SampleEvent::Sample(sample)) => event.json_data(&*sample),
            Ok(SampleEvent::Lost(count)) => Ok(event.event("lost").data(count.to_string())),
            Err(broadcast::error::RecvError::Lagged(missed)) => Ok(event.event("missed").data(missed.to_string())),
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((item, (listener, place)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

async fn announce(
    State(state): State<ApiState>,
    RequestedBy(by, grant): RequestedBy,
    Json(request): Json<AnnounceRequest>,
) -> Result<Json<Done>, Failure> {
    let (rule, notes) = api::rule_text::parse(&request.rule).map_err(Failure::bad)?;
    let lifetime = request.lifetime.as_deref().map(HumanDuration::lifetime).transpose().map_err(Failure::bad)?;
    let lifetime = lifetime.map(|age| age.0);
    let nlri = Arc::new(rule.nlri.clone());
    let announced = state.ask(|answer| Command::Announce { rule: Box::new(rule), lifetime, by, grant, answer }).await?;
    let (id, saved) = announced.map_err(|why| Failure::new(StatusCode::FORBIDDEN, why.to_string()))?;
    let view = wait_until_applied(&state, &nlri).await?;
    on_disk(saved).await?;
    let message = match &view {
        Some(RuleView { id, state, reason: Some(reason), .. }) => format!("{id} is {state}: {reason}"),
        Some(RuleView { id, state, .. }) => format!("{id} is {state}"),
        None => format!("{id} was withdrawn again"),
    };
    let message = notes.iter().fold(message, |message, note| format!("{message}; note: {note}"));
    Ok(Json(Done { message, rule: view }))
}

/// The rule once the data plane has applied it, or as it is at the timeout.
async fn wait_until_applied(state: &ApiState, nlri: &Arc<Nlri>) -> Result<Option<RuleView>, Failure> {
    let deadline = tokio::time::Instant::now() + CHANGE_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    loop {
        let view = state.ask(|answer| Command::Rule(Arc::clone(nlri), answer)).await?;
        let pending = view.as_ref().is_some_and(|view| view.state == RuleState::Pending);
        if !pending || tokio::time::Instant::now() >= deadline {
            return Ok(view);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until the data plane has removed what was withdrawn, or until the timeout. A failed change
/// is retried, as `status` shows.
async fn removed(state: &ApiState) -> Result<(), Failure> {
    let applied = state.ask(Command::Applied).await?;
    let _ = tokio::time::timeout(CHANGE_TIMEOUT, applied).await;
    Ok(())
}

async fn withdraw(
    State(state): State<ApiState>,
    RequestedBy(by, grant): RequestedBy,
    Json(request): Json<WithdrawRequest>,
) -> Result<Json<Done>, Failure> {
    let text = request.rule.trim();
    let rule = match text.parse() {
        Ok(id) => rule_by_id(&state, id).await?,
        Err(_) => Arc::new(api::rule_text::parse_match(text).map_err(Failure::bad)?),
    };
    let outcome = state.ask(|answer| Command::Withdraw { rule, by, grant, answer }).await?;
    let (text, saved) = outcome.map_err(|why| {
        let status = match why {
            WithdrawError::Grant(_) => StatusCode::FORBIDDEN,
            WithdrawError::Unknown | WithdrawError::NotLocal { .. } => StatusCode::NOT_FOUND,
        };
        Failure::new(status, why.to_string())
    })?;
    on_disk(saved).await?;
    removed(&state).await?;
    Ok(Json(Done { message: format!("withdrawn: {text}"), rule: None }))
}

async fn policy(
    State(state): State<ApiState>,
    Json(question): Json<api::PolicyQuestion>,
) -> Result<Json<api::PolicyExplanation>, Failure> {
    state.ask(|answer| Command::Policy(question, answer)).await?.map(Json).map_err(Failure::bad)
}

/// An acknowledged change survives a crash.
async fn on_disk(saved: Option<Saved>) -> Result<(), Failure> {
    let Some(saved) = saved else { return Ok(()) };
    let failed = |why: &dyn std::fmt::Display| {
        let words = format!("it is done, but would not outlive a restart: {why}");
        Failure::new(StatusCode::INSUFFICIENT_STORAGE, words)
    };
    match tokio::time::timeout(DISK_PATIENCE, saved).await {
        Ok(Ok(outcome)) => outcome.map_err(|why| failed(&why)),
        Ok(Err(_)) => Err(failed(&"the state file is written no more")),
        Err(_) => Err(failed(&"the disk has not taken it yet")),
    }
}

/// Waits until filtering is as requested, and will be after a restart.
async fn followed(outcome: Paused) -> Result<(bool, Option<String>), Failure> {
    if let Some(applied) = outcome.applied {
        let stopping = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
        applied.await.map_err(stopping)?.map_err(|error| {
            Failure::new(StatusCode::BAD_GATEWAY, format!("the data plane did not follow yet: {error}"))
        })?;
    }
    on_disk(outcome.saved).await?;
    Ok((outcome.changed, outcome.until))
}

async fn pause(
    State(state): State<ApiState>,
    RequestedBy(by, _): RequestedBy,
    body: Bytes,
) -> Result<Json<Done>, Failure> {
    let request: PauseRequest = match body.trim_ascii() {
        b"" => PauseRequest::default(),
        body => serde_json::from_slice(body).map_err(Failure::bad)?,
    };
    let lifetime = request.lifetime.as_deref().map(HumanDuration::lifetime).transpose().map_err(Failure::bad)?;
    let lifetime = lifetime.map(|age| age.0);
    let (changed, until) = followed(state.ask(|answer| Command::Pause { lifetime, by, answer }).await?).await?;
    let message = match (changed, until) {
        (true, None) => "paused: nothing is filtered until `floodgate resume`".to_owned(),
        (true, Some(end)) => format!("paused: nothing is filtered until {end}, or `floodgate resume`"),
        (false, None) => "already paused, until `floodgate resume`".to_owned(),
        (false, Some(end)) => format!("already paused, until {end} or `floodgate resume`"),
    };
    Ok(Json(Done { message, rule: None }))
}

async fn resume(State(state): State<ApiState>, RequestedBy(by, _): RequestedBy) -> Result<Json<Done>, Failure> {
    let (changed, _) = followed(state.ask(|answer| Command::Resume(by, answer)).await?).await?;
    let message = if changed { "resumed: filtering is back" } else { "was not paused" };
    Ok(Json(Done { message: message.to_owned(), rule: None }))
}

async fn clear(State(state): State<ApiState>, RequestedBy(by, _): RequestedBy) -> Result<Json<Done>, Failure> {
    let (count, saved) = state.ask(|answer| Command::Clear(by, answer)).await?;
    on_disk(saved).await?;
    removed(&state).await?;
    Ok(Json(Done { message: format!("{} withdrawn", api::rule_text::counted(count, "local rule")), rule: None }))
}

async fn reload(State(state): State<ApiState>, RequestedBy(by, _): RequestedBy) -> Result<Json<Done>, Failure> {
    let stopping = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (done, reply) = oneshot::channel();
    state.reload.send(Reload { by, done }).await.map_err(|_| stopping())?;
    let reloaded = reply.await.map_err(|_| stopping())?.map_err(Failure::bad)?;
    Ok(Json(Done { message: reloaded.to_string(), rule: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// What a reader of all rules gets from a controller that answers this many requests and then
    /// ends.
    async fn list(pages: usize) -> Result<Bytes, axum::Error> {
        let (commands, mut inbox) = mpsc::channel(1);
        let (reload, _reloads) = mpsc::channel(1);
        let engine = async move {
            for page in 0..pages {
                let Some(Command::Rules { answer, .. }) = inbox.recv().await else { return };
                let rule: flowspec::Rule = format!("dst 192.0.2.{page}/32 then discard").parse().unwrap();
                let view = RuleView { text: rule.to_string(), ..RuleView::default() };
                let more = (page < 2).then(|| Arc::new(rule.nlri));
                answer.send((vec![view], more)).unwrap();
            }
        };
        let query = RulesQuery { filter: String::new() };
        // It answers while the list is read: unread parts delay the next request.
        tokio::spawn(engine);
        let response = rules(State(ApiState::new(commands, reload)), Query(query)).await;
        axum::body::to_bytes(response.into_body(), usize::MAX).await
    }

    #[tokio::test]
    async fn a_list_that_ends_early_is_an_error_to_its_reader() {
        let whole = list(3).await.unwrap();
        assert_eq!(whole.iter().filter(|octet| **octet == b'\n').count(), 3);
        for pages in 0..3 {
            assert!(list(pages).await.is_err(), "{pages} pages look complete");
        }
    }
}
