//! From a file to a checked configuration, with the secrets that it refers to.

use crate::error::ConfigError;
use crate::file::Config;
use crate::limits::{MD5_OCTETS, TOKEN_OCTETS};
use crate::{beside, check, read, report};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

impl Config {
    /// Reads and checks the file, and the secrets that it refers to.
    ///
    /// # Errors
    /// All errors of the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, |config, report| {
            for (index, peer) in config.peers.iter_mut().enumerate() {
                if let Some(why) = peer.md5_error.take() {
                    let place = [report::Step::Key("peer"), report::Step::Index(index), report::Step::Key("md5-file")];
                    report.at(&place, format!("md5-file of peer {}: {why}", peer.name));
                }
            }
        })
    }

    /// The same for the start of the daemon: a peer whose `md5-file` has no secret does not prevent
    /// the start; its [`md5_error`](crate::Peer::md5_error) says why there is no session with it.
    ///
    /// # Errors
    /// All other errors of the file.
    pub fn load_to_start(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, |_, _| {})
    }

    fn load_with(
        path: &Path,
        judge_secrets: impl FnOnce(&mut Config, &mut report::Report<'_>),
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::unreadable(path, &source))?;
        let (config, mut problems) = read::read(&text);
        let Some(mut config) = config else { return Err(ConfigError::new(path, problems)) };
        let mut report = report::Report::new(&text);
        config.read_secrets(&mut report);
        judge_secrets(&mut config, &mut report);
        problems.extend(report.into_problems());
        problems.sort_by_key(|problem| problem.place.unwrap_or_default());
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::new(path, problems)) }
    }

    /// Checks a configuration; `path` is for messages only.
    ///
    /// # Errors
    /// All errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        match read::read(text) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(ConfigError::new(path, problems)),
        }
    }

    /// Advice: what is allowed but probably not intended, a sentence each.
    pub fn advice(&self) -> Vec<String> {
        check::advice(self)
    }

    /// Advice about a router on this machine; `own` are its addresses.
    pub fn advice_beside_a_router(&self, own: &std::collections::BTreeSet<IpAddr>) -> Vec<String> {
        beside::advice(self, own)
    }

    /// Reads the secrets that have files of their own.
    fn read_secrets(&mut self, report: &mut report::Report<'_>) {
        use report::Step::Key;
        for peer in &mut self.peers {
            let Some(file) = &peer.md5_file else { continue };
            match first_line(file) {
                Ok(secret) if secret.len() <= MD5_OCTETS => peer.md5 = Some(secret),
                outcome => {
                    let why = outcome.map_or_else(
                        |error| error.to_string(),
                        |secret| {
                            format!(
                                "{} octets in {}; a TCP-MD5 secret has 1 to {MD5_OCTETS}",
                                secret.len(),
                                file.display()
                            )
                        },
                    );
                    peer.md5_error = Some(why);
                }
            }
        }
        if let Some(file) = &self.api.token_file {
            match first_line(file) {
                Ok(token) if token.len() >= TOKEN_OCTETS => self.api.token = Some(token),
                outcome => {
                    let why = outcome.map_or_else(
                        |error| error.to_string(),
                        |_| format!("the token in {} is shorter than {TOKEN_OCTETS} characters", file.display()),
                    );
                    report.at(&[Key("api"), Key("token-file")], format!("token-file of [api]: {why}"));
                }
            }
        }
    }
}

/// Why a file has no secret.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    /// Its first line is empty.
    #[error("{} is empty", file.display())]
    Empty { file: PathBuf },
}

/// Reads the secret in a file.
fn first_line(file: &Path) -> Result<String, SecretError> {
    let unreadable = |error| SecretError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| SecretError::Empty { file: file.to_owned() })
}
