//! Error responses.

use api::{ErrorBody, ErrorMessage};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A request that failed.
pub(super) struct Failure(StatusCode, String);

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Failure(status, message.into())
    }

    pub(super) fn bad(message: impl ToString) -> Self {
        Failure(StatusCode::BAD_REQUEST, message.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: ErrorMessage { message: self.1 } })).into_response()
    }
}
