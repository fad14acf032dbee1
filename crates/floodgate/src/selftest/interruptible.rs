//! Work that a signal ends in good order.

use crate::output::print_error;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Says what comes next.
pub(super) fn progress(what: &str) {
    print_error(format!("selftest: {what}"));
}

/// Does the work on a thread beside; a signal tells it to stop, and that it is `ending`.
pub(super) fn interruptible<T: Send + 'static>(
    ending: &'static str,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async move {
        let mut signals = [
            signal(SignalKind::interrupt()).context("signals")?,
            signal(SignalKind::terminate()).context("signals")?,
            signal(SignalKind::hangup()).context("signals")?,
        ];
        let [interrupt, terminate, hangup] = &mut signals;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut test = tokio::task::spawn_blocking(move || work(&told));
        loop {
            tokio::select! {
                found = &mut test => return found.context("the self-test has a bug"),
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            progress(&format!("ending; {ending}"));
            stop.store(true, Ordering::Relaxed);
        }
    })
}
