//! A small HTTP client for the daemon's Unix socket.

use crate::ErrorBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Why a request has no answer, or not the expected one.
#[derive(Debug)]
pub enum Failure {
    /// No daemon answers.
    Unreachable(io::Error),
    /// The daemon refuses; its message.
    Refused(String),
    /// Anything else, such as an invalid answer.
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Other(error.into())
    }
}

/// What to do when no daemon answers.
pub fn advice(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::PermissionDenied => "Run this as root, or as a member of the group `floodgate`.",
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "Start it with `systemctl start floodgate` or `floodgate run`; if its api.socket is elsewhere, say --socket PATH."
        }
        _ => "See its log: `journalctl -u floodgate`.",
    }
}

/// One daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens on this Unix socket.
    pub fn new(socket: &Path) -> Self {
        Client { socket: socket.to_owned() }
    }

    /// Requests one object.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let body = self.stream(Method::GET, path, Bytes::new()).await?.collect().await?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// Requests text, such as `/metrics`.
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        let body = self.stream(Method::GET, path, Bytes::new()).await?.collect().await?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// Sends an object, or nothing, and receives one.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, object: Option<&impl Serialize>) -> Result<T, Failure> {
        let body = object.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let body = self.stream(Method::POST, path, body.into()).await?.collect().await?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// Requests lines; `each` is called with them as they arrive, and says whether to continue.
    pub async fn lines(&self, path: &str, mut each: impl FnMut(&str) -> Result<bool, Failure>) -> Result<(), Failure> {
        let mut body = self.stream(Method::GET, path, Bytes::new()).await?;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            rest.extend_from_slice(&data);
            let mut start = 0;
            while let Some(length) = rest[start..].iter().position(|octet| *octet == b'\n') {
                let line = String::from_utf8_lossy(&rest[start..start + length]);
                start += length + 1;
                if !each(line.trim_end_matches('\r'))? {
                    return Ok(());
                }
            }
            rest.drain(..start);
        }
        Ok(())
    }

    async fn stream(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Failure::Unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "floodgate")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response: Response<Incoming> = sender.send_request(request).await?;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let message = serde_json::from_slice::<ErrorBody>(&body)
            .map_or_else(|_| format!("{status}: {}", String::from_utf8_lossy(&body)), |body| body.error.message);
        Err(Failure::Refused(message))
    }
}

/// Text as part of a query string.
pub fn escape(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}
