//! Reads the body of a request before the request is handled, also where no body is needed:
//! otherwise a client that sends its body after the head would find the connection closed and never
//! read the answer.

use super::failure::Failure;
use super::limits::{BODY, BODY_TIME, MAX_DISCARDED_BODY};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

/// Passes the request on once its body is complete, or returns what is wrong with it.
pub(super) async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIME, read(body)).await {
        Ok(Ok(octets)) => octets,
        Ok(Err(failure)) => return failure.into_response(),
        Err(_) => return Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took too long").into_response(),
    };
    next.run(Request::from_parts(head, Body::from(body))).await
}

async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let (mut kept, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::bad(format!("the body cannot be read: {error}")))?;
        let Ok(octets) = frame.into_data() else { continue };
        length += octets.len();
        if length <= BODY {
            kept.extend_from_slice(&octets);
        } else if length > MAX_DISCARDED_BODY {
            break;
        }
    }
    if length > BODY {
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY} octets")));
    }
    Ok(kept.into())
}
