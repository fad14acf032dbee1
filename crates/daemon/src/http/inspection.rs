//! `POST /v1/inspect`: what a text means, and what each back end would make of it.

use super::explain::explain_octets;
use super::failure::Failure;
use super::serve::ClientSession;
use super::state::ApiState;
use api::hex::parse_hex;
use api::{HazardView, InspectRequest, Inspection};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::sync::Semaphore;

/// Most octets of a text that is inspected.
pub(crate) const INSPECTED_TEXT: usize = 64 * 1024;

/// Texts are inspected one at a time, on a thread beside that of the sessions.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// The session of the request.
pub(super) struct AskedThrough(Option<ClientSession>);

impl<S: Sync> FromRequestParts<S> for AskedThrough {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(AskedThrough(parts.extensions.get().copied()))
    }
}

/// What the text means.
pub(super) async fn inspect(
    State(state): State<ApiState>,
    AskedThrough(session): AskedThrough,
    Json(request): Json<InspectRequest>,
) -> Result<Json<Inspection>, Failure> {
    let none = || Failure::new(StatusCode::NOT_IMPLEMENTED, "this program inspects nothing");
    let inspector = state.inspector().ok_or_else(none)?;
    if request.text.len() > INSPECTED_TEXT {
        let message = format!("a text that is inspected has at most {INSPECTED_TEXT} octets");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let dataplane = state.config().map(|config| config.dataplane.clone()).unwrap_or_default();
    let stopping = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let place = ONE_AT_A_TIME.acquire().await.map_err(stopping)?;
    let work = tokio::task::spawn_blocking(move || {
        // Kept until it is done, also if the client goes away.
        let _place = place;
        inspector(&request, session, &dataplane)
    });
    let failed = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the text could not be inspected");
    let mut inspection = work.await.map_err(failed)?;
    for rule in &mut inspection.rules {
        let mut kept = Vec::new();
        for hazard in std::mem::take(&mut rule.hazards) {
            if !is_protected(&state, &hazard).await? {
                kept.push(hazard);
            }
        }
        rule.hazards = kept;
    }
    Ok(Json(inspection))
}

/// Whether no rule can take these packets.
async fn is_protected(state: &ApiState, hazard: &HazardView) -> Result<bool, Failure> {
    let Some(packet) = hazard.packet.as_deref().and_then(|packet| parse_hex(packet).ok()) else { return Ok(false) };
    Ok(explain_octets(state, &packet).await?.protected.is_some())
}
