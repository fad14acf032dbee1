//! Serves the page at `/`, and its files.

use super::failure::Failure;
use super::state::ApiState;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use page::Asset;

/// What each answer with a file of the page has beside its contents. A file is asked for again at
/// each visit, so that a page never mixes files of two versions; what has not changed is not sent
/// again.
fn headers(asset: &'static Asset) -> [(HeaderName, HeaderValue); 10] {
    [
        (header::CONTENT_TYPE, asset.content_type),
        (header::ETAG, asset.etag),
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "accept-encoding"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// A file of the page, if the page is on.
pub(super) async fn serve(State(state): State<ApiState>, uri: Uri, headers: HeaderMap) -> Response {
    if !state.has_page() {
        return Failure::new(StatusCode::NOT_FOUND, "the page is off: [api] page = false").into_response();
    }
    match page::find(uri.path()) {
        Some(asset) => answer(asset, &headers),
        None => Failure::new(StatusCode::NOT_FOUND, "the page has no such file").into_response(),
    }
}

fn answer(asset: &'static Asset, asked: &HeaderMap) -> Response {
    let mut response = if is_known(asset.etag, asked) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if accepts_gzip(asked) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        (encoding, Body::from(Bytes::from_static(asset.gzip))).into_response()
    } else {
        Body::from(Bytes::from_static(asset.octets)).into_response()
    };
    response.headers_mut().extend(headers(asset));
    response
}

/// All values of a header that is a list (RFC 9110 §5.6.1).
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether the browser has this version (RFC 9110 §13.1.2: a weak comparison).
fn is_known(etag: &str, asked: &HeaderMap) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    items(asked, &header::IF_NONE_MATCH).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}

/// Whether the client reads gzip (RFC 9110 §12.5.3).
fn accepts_gzip(asked: &HeaderMap) -> bool {
    items(asked, &header::ACCEPT_ENCODING).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        is_gzip && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&HeaderName, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| ((*name).clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn gzip_is_sent_only_to_who_reads_it() {
        let encoding = |value| accepts_gzip(&asked(&[(&header::ACCEPT_ENCODING, value)]));
        for value in ["gzip", "br, GZIP;q=0.5", "gzip, deflate, br, zstd"] {
            assert!(encoding(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.0", "x-gzip", "identity", "gzip;q=x"] {
            assert!(!encoding(value), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_version_that_is_known_is_not_sent_again() {
        let known = |value| is_known("W/\"12\"", &asked(&[(&header::IF_NONE_MATCH, value)]));
        assert!(known("W/\"12\"") && known("\"12\"") && known("\"1\", W/\"12\"") && known("*"));
        assert!(!known("\"1\"") && !known("") && !known("12"));
    }

    #[test]
    fn each_answer_has_what_keeps_others_out() {
        let asset = page::find("/").unwrap();
        for headers in [
            HeaderMap::new(),
            asked(&[(&header::ACCEPT_ENCODING, "gzip")]),
            asked(&[(&header::IF_NONE_MATCH, asset.etag)]),
        ] {
            let response = answer(asset, &headers);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            for word in ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"] {
                assert!(policy.contains(word), "{word}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        }
    }
}
