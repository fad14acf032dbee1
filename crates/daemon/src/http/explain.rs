//! `POST /v1/explain`: what happens to a packet.

use super::failure::Failure;
use super::state::ApiState;
use crate::command::{Command, ExplainResult, Search};
use api::explanation::parse_packet;
use api::hex::parse_hex;
use api::{ExplainRequest, packet_text};
use axum::Json;
use axum::extract::State;

/// The octets of a packet that is given in hex, or in words.
fn packet_octets(text: &str) -> Result<Vec<u8>, Failure> {
    let hex = match parse_hex(text) {
        Ok(octets) => return Ok(octets),
        Err(error) => error,
    };
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let is_word = |word: &String| word.bytes().any(|octet| octet.is_ascii_alphabetic() && !octet.is_ascii_hexdigit());
    if !words.first().is_some_and(is_word) {
        return Err(Failure::bad(hex));
    }
    packet_text::packet(&words).map_err(Failure::bad)
}

/// The explanation of the packet of a request.
pub(super) async fn explain(
    State(state): State<ApiState>,
    Json(request): Json<ExplainRequest>,
) -> Result<Json<api::Explanation>, Failure> {
    let packet = packet_octets(&request.packet)?;
    let mut explanation = explain_octets(&state, &packet).await?;
    explanation.described = parse_packet(&packet).ok().map(|packet| packet_text::describe(&packet));
    Ok(Json(explanation))
}

/// What happens to a packet.
pub(super) async fn explain_octets(state: &ApiState, packet: &[u8]) -> Result<api::Explanation, Failure> {
    // Many rules are searched in steps, so that decisions do not wait.
    let mut search = Search::default();
    loop {
        let packet = packet.to_vec();
        let not_looked_at = |error| Failure::bad(format!("not a packet that rules can match: {error}"));
        match state.ask(|answer| Command::Explain { packet, search, answer }).await?.map_err(not_looked_at)? {
            ExplainResult::Explanation(explanation) => return Ok(*explanation),
            ExplainResult::NotYet(further) => search = further,
        }
    }
}
