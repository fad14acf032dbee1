//! Delays the end of a failed start. ExaBGP restarts a process that ends at once, and after five
//! such starts in a minute ExaBGP ends with all of its sessions.

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

/// How long a failed start waits before it ends: three fit in a minute.
pub(crate) const HOLD_OFF: Duration = Duration::from_secs(20);

/// Reports why the start failed, and waits. ExaBGP's lines are read meanwhile, so that it never
/// blocks on us; when it ends, we end.
pub(crate) fn hold_off(error: &anyhow::Error) {
    let hint = match rustix::process::geteuid() {
        uid if uid.is_root() => String::new(),
        uid => format!(
            " It runs as the user {}, and needs the rights of root: exabgp.daemon.user=root in exabgp.env (version 5: \
             exabgp_daemon_user=root), or a `run` line with sudo.",
            nix::unistd::User::from_uid(uid.as_raw().into())
                .ok()
                .flatten()
                .map_or_else(|| uid.to_string(), |user| user.name)
        ),
    };
    let seconds = HOLD_OFF.as_secs();
    // A closed standard error is no reason to end earlier.
    let _ = writeln!(
        io::stderr(),
        "floodgate: cannot start: {error:#}.{hint} Ending in {seconds} s, since ExaBGP gives up, with all of its sessions, after five starts in a minute."
    );
    let (ended, end) = mpsc::channel();
    let reader = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    match reader {
        Ok(_) => drop(end.recv_timeout(HOLD_OFF)),
        Err(_) => std::thread::sleep(HOLD_OFF),
    }
}
