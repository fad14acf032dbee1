//! The log: lines on standard error. Logging never blocks the caller.

mod format;
mod log_queue;
mod throttle;

pub(crate) use log_queue::MAX_QUEUED_OCTETS;
pub(crate) use throttle::{MAX_LINES, Throttle, WINDOW};

use config::{Level, Log, LogFormat};
use format::{QuotedFields, SyslogPriority};
use log_queue::LogQueue;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Longest wait for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

type Filtered = Layered<reload::Layer<LevelFilter, Registry>, Registry>;
type Format = Box<dyn Layer<Filtered> + Send + Sync>;

struct Handles {
    log_queue: LogQueue,
    level: reload::Handle<LevelFilter, Registry>,
    format: reload::Handle<Format, Filtered>,
}

static HANDLES: OnceLock<Handles> = OnceLock::new();

/// Starts to log as configured. Only the first call in a process has an effect: tests run several
/// daemons in one.
///
/// # Errors
/// There can be no further thread.
pub(crate) fn start(config: &Log) -> std::io::Result<()> {
    if HANDLES.get().is_some() {
        return Ok(());
    }
    let log_queue = LogQueue::start(std::io::stderr())?;
    let (filter, level) = reload::Layer::new(filter(config));
    let (format, format_handle) = reload::Layer::new(layer(config, &log_queue));
    if tracing_subscriber::registry().with(filter).with(format).try_init().is_ok() {
        let _ = HANDLES.set(Handles { log_queue, level, format: format_handle });
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let backtrace = std::backtrace::Backtrace::capture();
            let backtrace = match backtrace.status() {
                std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
                _ => String::new(),
            };
            tracing::error!(thread = thread.name().unwrap_or("-"), "{panic}{backtrace}");
        }));
    }
    Ok(())
}

/// Changes the log configuration.
pub(crate) fn configure(config: &Log) {
    if let Some(handles) = HANDLES.get() {
        // This fails only after the subscriber is gone, which never happens.
        let _ = handles.level.reload(filter(config));
        let _ = handles.format.reload(layer(config, &handles.log_queue));
    }
}

/// Waits a little for the last lines to be written. False if they are not: nobody reads them.
pub(crate) fn finish() -> bool {
    HANDLES.get().is_none_or(|handles| handles.log_queue.drained(LAST_LINES))
}

/// Number of lines dropped since the start.
pub(crate) fn lost() -> u64 {
    log_queue::lost()
}

fn filter(config: &Log) -> LevelFilter {
    match config.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

fn layer(config: &Log, log_queue: &LogQueue) -> Format {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let journal = format::is_journal();
    let layer = tracing_subscriber::fmt::layer().with_writer(log_queue.clone());
    let text = tracing_subscriber::fmt::format().with_target(false);
    match config.format {
        LogFormat::Text => {
            layer.event_format(SyslogPriority::new(text, journal)).fmt_fields(QuotedFields).with_ansi(colour).boxed()
        }
        LogFormat::Json => {
            let inner = text.json().flatten_event(true);
            layer
                .event_format(SyslogPriority::new(inner, journal))
                .fmt_fields(JsonFields::new())
                .with_ansi(false)
                .boxed()
        }
    }
}
