//! The listeners of the API.

use super::host_names::HostNames;
use super::serve::serve;
use crate::tokens::Access;
use config::Config;
use nix::errno::Errno;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The listener that a request came through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Transport {
    /// The Unix socket: whoever may open it may do everything.
    Unix,
    /// TCP.
    Tcp {
        /// Who may do what.
        access: Arc<Access>,
        /// The names of this machine.
        names: Arc<HostNames>,
    },
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The Unix socket could not be opened.
    #[error("API socket {}: {error}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A TCP socket could not be opened.
    #[error("API address {address}: {error}")]
    Address {
        /// Its address.
        address: SocketAddr,
        /// The error.
        error: io::Error,
    },
}

/// The listening sockets of the API.
#[derive(Debug, Default)]
pub(crate) struct ApiListeners {
    unix: Option<(PathBuf, Option<String>, JoinHandle<()>)>,
    tcp: Vec<(SocketAddr, Transport, JoinHandle<()>)>,
}

impl ApiListeners {
    /// Opens the configured sockets; unchanged ones are kept. `router` makes the service for a
    /// transport.
    ///
    /// # Errors
    /// A socket could not be opened.
    pub(crate) async fn set(
        &mut self,
        config: &Config,
        router: impl Fn(Transport) -> axum::Router,
    ) -> Result<(), ListenError> {
        let api = &config.api;
        let access = Arc::new(Access::new(config));
        let tcp = Transport::Tcp { access, names: Arc::new(HostNames::new(&api.hosts)) };
        let same = self.unix.as_ref().is_some_and(|(path, group, _)| *path == api.socket && *group == api.group);
        if !same {
            let listener = unix(&api.socket, api.group.as_deref())
                .await
                .map_err(|error| ListenError::Socket { path: api.socket.clone(), error })?;
            let service = router(Transport::Unix);
            let task = tokio::spawn(serve(listener, service));
            if let Some((path, _, old)) = self.unix.replace((api.socket.clone(), api.group.clone(), task)) {
                old.abort();
                if path != api.socket {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        let wanted: Vec<SocketAddr> =
            api.listen.iter().map(|l| SocketAddr::new(l.address, l.port.unwrap_or(0))).collect();
        let mut gone = Vec::new();
        self.tcp.retain(|(address, transport, task)| {
            let keep = wanted.contains(address) && *transport == tcp;
            if !keep {
                task.abort();
                gone.push(*address);
            }
            keep
        });
        // An aborted task closes its socket only when it is next polled.
        tokio::task::yield_now().await;
        for address in wanted {
            if self.tcp.iter().any(|(open, ..)| *open == address) {
                continue;
            }
            let failed = |error| ListenError::Address { address, error };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let task = tokio::spawn(serve(listener, router(tcp.clone())));
            self.tcp.push((address, tcp.clone(), task));
        }
        Ok(())
    }

    /// Removes the socket's file.
    pub(crate) fn close(&mut self) {
        if let Some((path, _, task)) = self.unix.take() {
            task.abort();
            let _ = std::fs::remove_file(path);
        }
        self.tcp.drain(..).for_each(|(.., task)| task.abort());
    }
}

/// Opens the socket for root and the group alone. A socket file that nobody answers on is left from
/// an earlier run and replaced.
async fn unix(path: &Path, group: Option<&str>) -> io::Result<UnixListener> {
    // Create only the last directory: a typing mistake in a longer path must be an error, not a
    // tree of directories.
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        std::fs::create_dir(directory)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there"));
    }
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    // Nobody else may connect between bind and chmod.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    match gid(group)? {
        Some(gid) => match std::os::unix::fs::chown(path, None, Some(gid)) {
            Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?,
            Err(error) => {
                let refused = error.kind() == io::ErrorKind::PermissionDenied;
                match group {
                    Some(name) if refused => {
                        let advice = format!(
                            "may not give it to the group `{name}`: this user is not a member; for the service add \
                             SupplementaryGroups={name} to its unit"
                        );
                        return Err(io::Error::new(error.kind(), advice));
                    }
                    // The group was not configured: the socket stays accessible to this user alone.
                    None if refused => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?,
                    _ => return Err(error),
                }
            }
        },
        None => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?,
    }
    Ok(listener)
}

fn gid(group: Option<&str>) -> io::Result<Option<u32>> {
    let find = |name: &str| match nix::unistd::Group::from_name(name) {
        // getgrnam(3) lists these beside 0 for a group that there is not: a container may have no
        // /etc/group.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        found => found.map_err(io::Error::from),
    };
    match group {
        Some(name) => match find(name)? {
            Some(group) => Ok(Some(group.gid.as_raw())),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no group `{name}`"))),
        },
        None => Ok(find("floodgate")?.map(|group| group.gid.as_raw())),
    }
}
