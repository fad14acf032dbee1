//! Requests for the history on disk. Each reads the file in a thread of its own, for a limited
//! time; few at once.

use super::failure::Failure;
use super::incident_views;
use super::limits::{HISTORY_PATIENCE, HISTORY_READERS, INCIDENTS};
use crate::command::Command;
use api::{IncidentReport, IncidentView, RateBucketView, parse_moment};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use flowspec::RuleId;
use history::{AddressRange, HistoryError, IncidentFilter, Reader, Time};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Rules in one part of a long answer.
const PART: usize = 256;

/// What these handlers need.
#[derive(Clone, Debug)]
struct Source {
    commands: mpsc::Sender<Command>,
    /// Slots for readers of the file.
    readers: Arc<Semaphore>,
}

/// The paths of the history on disk; `commands` go to the controller.
pub(super) fn routes<S>(commands: mpsc::Sender<Command>) -> Router<S> {
    let source = Source { commands, readers: Arc::new(Semaphore::new(HISTORY_READERS)) };
    Router::new()
        .route("/v1/incidents", get(incidents))
        .route("/v1/incidents/{which}", get(incident))
        .route("/v1/rates", get(rates))
        .route("/v1/rules/at", get(rules_at))
        .with_state(source)
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let status = match error {
            HistoryError::TooLong => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, format!("the history: {error}"))
    }
}

/// The file, and a slot to read it.
async fn open(source: &Source) -> Result<(Reader, OwnedSemaphorePermit), Failure> {
    let slot = Arc::clone(&source.readers).acquire_owned();
    let busy = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "others read the history already");
    let slot = tokio::time::timeout(HISTORY_PATIENCE, slot).await.map_err(|_| busy())?.map_err(|_| busy())?;
    let stopping = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (answer, reply) = oneshot::channel();
    source.commands.send(Command::HistoryFile(answer)).await.map_err(|_| stopping())?;
    let file = reply.await.map_err(|_| stopping())?;
    let none = || Failure::new(StatusCode::NOT_FOUND, "there is no history: [history] file is empty");
    let file = file.ok_or_else(none)?;
    let opened = tokio::task::spawn_blocking(move || match file.exists() {
        true => Reader::open(&file).map_err(Failure::from),
        false => Err(Failure::new(StatusCode::NOT_FOUND, "there is no history yet")),
    });
    Ok((finished(opened.await)?, slot))
}

/// What is read from the file, for a limited time.
async fn read<T: Send + 'static>(
    source: &Source,
    question: impl FnOnce(&Reader) -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Failure> {
    let (reader, slot) = open(source).await?;
    let interrupt = reader.interrupt();
    let answer = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        question(&reader).map_err(Failure::from)
    });
    let mut answer = std::pin::pin!(answer);
    match tokio::time::timeout(HISTORY_PATIENCE, &mut answer).await {
        Ok(answer) => finished(answer),
        Err(_) => {
            interrupt.interrupt();
            finished(answer.await)
        }
    }
}

fn finished<T>(outcome: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    outcome.unwrap_or_else(|_| Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the history could not be read")))
}

fn moment(text: Option<&String>) -> Result<Option<Time>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = parse_moment(text, SystemTime::now()).map_err(Failure::bad)?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Ok(Some(Time::try_from(since).unwrap_or(Time::MAX)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentsQuery {
    since: Option<String>,
    until: Option<String>,
    rule: Option<String>,
    peer: Option<String>,
    state: Option<String>,
    before: Option<i64>,
    count: Option<u32>,
}

impl IncidentsQuery {
    fn filter(&self) -> Result<IncidentFilter, Failure> {
        let word =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let rule = word(&self.rule);
        let destination = rule.as_deref().and_then(|rule| {
            let net = rule.parse().or_else(|_| rule.parse::<std::net::IpAddr>().map(ipnet::IpNet::from)).ok()?;
            Some(AddressRange::of_prefix(net.addr(), net.prefix_len()))
        });
        Ok(IncidentFilter {
            since: moment(self.since.as_ref())?,
            until: moment(self.until.as_ref())?,
            rule: rule.filter(|_| destination.is_none()),
            destination,
            peer: word(&self.peer),
            state: word(&self.state),
            before: self.before,
            most: Some(self.count.unwrap_or(100).min(INCIDENTS)),
        })
    }
}

async fn incidents(
    State(source): State<Source>,
    Query(query): Query<IncidentsQuery>,
) -> Result<Json<Vec<IncidentView>>, Failure> {
    let filter = query.filter()?;
    let found = read(&source, move |reader| reader.incidents(&filter)).await?;
    Ok(Json(found.into_iter().map(incident_views::incident).collect()))
}

/// By its number, or the latest of the rule with this id.
async fn incident(State(source): State<Source>, Path(which): Path<String>) -> Result<Json<IncidentReport>, Failure> {
    let rule: Option<RuleId> = which.parse().ok();
    let number: Option<i64> = which.parse().ok();
    if rule.is_none() && number.is_none() {
        return Err(Failure::bad(format!("`{which}` is neither the number of an incident nor the id of a rule")));
    }
    let found = read(&source, move |reader| {
        let found = match (rule, number) {
            (Some(rule), _) => reader.latest_of(rule.as_u64())?,
            (None, number) => reader.incident(number.unwrap_or(0))?,
        };
        found.map(|found| incident_views::report(found, reader)).transpose()
    });
    found.await?.map(Json).ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "the history has no such incident"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesQuery {
    since: Option<String>,
    until: Option<String>,
}

/// What all rules matched, of the last day unless something else is asked for.
async fn rates(
    State(source): State<Source>,
    Query(query): Query<RatesQuery>,
) -> Result<Json<Vec<RateBucketView>>, Failure> {
    let since = moment(Some(&query.since.unwrap_or_else(|| "1d".to_owned())))?.unwrap_or(0).div_euclid(1000);
    let until = moment(query.until.as_ref())?.map_or(i64::MAX, |until| until.div_euclid(1000));
    let found = read(&source, move |reader| reader.rates_of_all(since, until)).await?;
    Ok(Json(found.iter().map(incident_views::rate).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AtQuery {
    time: String,
}

/// The rules that were in force at a time, in no order. Streamed: a list that breaks off was not
/// complete.
async fn rules_at(State(source): State<Source>, Query(query): Query<AtQuery>) -> Result<Response, Failure> {
    let time = moment(Some(&query.time))?.ok_or_else(|| Failure::bad("no time"))?;
    let (reader, slot) = open(&source).await?;
    let (parts, body) = mpsc::channel::<Result<Bytes, HistoryError>>(2);
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let end = Instant::now() + HISTORY_PATIENCE;
        let mut lines = Vec::new();
        let mut rules = 0_usize;
        let outcome = reader.in_state_at(time, &["installed", "stale"], |rule| {
            if serde_json::to_writer(&mut lines, &incident_views::rule_at(&rule)).is_ok() {
                lines.push(b'\n');
            }
            rules += 1;
            let is_part = rules.is_multiple_of(PART);
            !is_part || (Instant::now() < end && parts.blocking_send(Ok(std::mem::take(&mut lines).into())).is_ok())
        });
        let last = match outcome {
            Ok(true) => Ok(lines.into()),
            Ok(false) => Err(HistoryError::TooLong),
            Err(error) => Err(error),
        };
        let _ = parts.blocking_send(last);
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
