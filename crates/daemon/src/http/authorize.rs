//! Whether a request may be answered, and in whose name.

use super::failure::Failure;
use super::guesses::Guesses;
use super::host_names::HostNames;
use super::listen::Transport;
use super::serve::Caller;
use crate::command::Requester;
use crate::tokens::{Denied, Grant, Identity, Need};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What decides about the requests of a listener.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    transport: Transport,
    guesses: Guesses,
}

impl Gate {
    pub(super) fn new(transport: Transport) -> Self {
        Gate { transport, guesses: Guesses::default() }
    }
}

/// In whose name a request is answered.
#[derive(Clone, Debug)]
struct Principal {
    requester: Requester,
    grant: Option<Arc<Grant>>,
}

/// Passes a request on if it may be answered. Over the Unix socket all may.
pub(super) async fn authorize(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let caller = *request.extensions().get::<Caller>().unwrap_or(&Caller::Unknown);
    let mut principal = Principal { requester: caller.to_string(), grant: None };
    let need = need(request.method(), request.uri().path());
    if let Transport::Tcp { access, names } = &gate.transport {
        if let Err(refusal) = check_browser(names, &request) {
            return refusal.into_response();
        }
        let address = match caller {
            Caller::Host(address) => address,
            Caller::User(_) | Caller::Unknown => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let shown = token(request.headers());
        let now = Instant::now();
        if let Some(wait) = shown.and_then(|_| gate.guesses.must_wait(address, now)) {
            return too_many_guesses(wait.as_secs() + 1);
        }
        // The page's files say nothing of this machine; what it shows it asks for.
        let is_page =
            matches!(request.uri().path(), "/" | "/favicon.ico") || request.uri().path().starts_with("/page/");
        if is_page && need == Need::Look {
            return next.run(request).await;
        }
        match access.admit(shown, address, need, SystemTime::now()) {
            Ok(Identity::Named(token)) => {
                let grant = token.grant();
                principal = Principal { requester: grant.requester(), grant: Some(grant) };
            }
            Ok(Identity::Anonymous | Identity::Single) => {}
            Err(denied) => {
                if shown.is_some() && denied == Denied::Unknown {
                    gate.guesses.wrong(address, now);
                    tracing::warn!(%address, "a wrong token was shown to the API");
                }
                return refusal(&denied).into_response();
            }
        }
    }
    if matches!(need, Need::Announce | Need::Administer) {
        tracing::info!(by = principal.requester, request = request.uri().path(), "change requested");
    }
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// What a request does.
fn need(method: &Method, path: &str) -> Need {
    match path {
        _ if method == Method::GET || method == Method::HEAD => Need::Look,
        "/v1/explain" | "/v1/policy" | "/v1/inspect" => Need::Ask,
        "/v1/announce" | "/v1/withdraw" => Need::Announce,
        _ => Need::Administer,
    }
}

/// The token that a request shows.
fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
    Some(value.strip_prefix("Bearer ").unwrap_or_default().trim())
}

/// Refuses what a browser sends for the page of somebody else.
fn check_browser(names: &HostNames, request: &Request) -> Result<(), Failure> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = request.headers().get(header::HOST).map(text);
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    let is_for_all = matches!(request.uri().path(), "/metrics" | "/healthz");
    if !is_for_all && !names.is_ours(&host) {
        let message = format!("`{host}` is not a name of this machine; add it to hosts of [api], or use an address");
        return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, message));
    }
    match request.headers().get(header::ORIGIN).map(text) {
        Some(origin) if !HostNames::is_same_origin(&origin, &host) => {
            Err(Failure::new(StatusCode::FORBIDDEN, "pages of other sites may not send requests here"))
        }
        _ => Ok(()),
    }
}

fn refusal(denied: &Denied) -> Failure {
    let status = match denied {
        Denied::Unknown | Denied::Expired(_) => StatusCode::UNAUTHORIZED,
        Denied::ReadOnly | Denied::Source(_) | Denied::Role(_) => StatusCode::FORBIDDEN,
    };
    Failure::new(status, denied.to_string())
}

fn too_many_guesses(seconds: u64) -> Response {
    let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens came from this address");
    let mut response = failure.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Who sent the request, and what its rules may be.
pub(super) struct RequestedBy(pub(super) Requester, pub(super) Option<Arc<Grant>>);

impl<S: Sync> FromRequestParts<S> for RequestedBy {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(requested_by(&parts.extensions))
    }
}

fn requested_by(extensions: &Extensions) -> RequestedBy {
    match extensions.get::<Principal>() {
        Some(Principal { requester, grant }) => RequestedBy(requester.clone(), grant.clone()),
        None => RequestedBy(Caller::Unknown.to_string(), None),
    }
}
