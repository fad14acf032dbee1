//! The format of log lines beyond that of the library: values with blanks in quotes, and a priority
//! for the journal.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::{MakeExt, RecordFields};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer, debug_fn};
use tracing_subscriber::registry::LookupSpan;

/// Writes the syslog priority before a line (`<6>`); journald interprets and removes it.
pub(super) struct SyslogPriority<F> {
    inner: F,
    journal: bool,
}

impl<F> SyslogPriority<F> {
    /// `journal`: journald reads the lines.
    pub(super) const fn new(inner: F, journal: bool) -> Self {
        SyslogPriority { inner, journal }
    }
}

impl<S, N, F> FormatEvent<S, N> for SyslogPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.journal {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        self.inner.format_event(context, writer, event)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Whether standard error goes to the journal: systemd sets the device and the inode of that stream
/// in JOURNAL_STREAM.
pub(super) fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// `name=value` for each field; values with blanks are quoted.
#[derive(Debug, Default)]
pub(super) struct QuotedFields;

impl<'w> FormatFields<'w> for QuotedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let fields_of = debug_fn(|writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
            let text = format!("{value:?}");
            match field.name() {
                "message" => writer.write_str(&text),
                name if text.contains(' ') && !text.starts_with('"') => write!(writer, "{name}={text:?}"),
                name => write!(writer, "{name}={text}"),
            }
        });
        FormatFields::format_fields(&fields_of.delimited(" "), writer, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(journal: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let inner = tracing_subscriber::fmt::format().with_target(false).without_time().with_ansi(false);
        let layer = tracing_subscriber::fmt::layer()
            .event_format(SyslogPriority::new(inner, journal))
            .fmt_fields(QuotedFields)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(rule = %"dst 192.0.2.1/32 then discard", id = %"037af410fd40", name = "a b", "announced locally");
            tracing::error!("gone");
        });
        let octets = lines.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn values_with_blanks_are_quoted_and_the_journal_gets_priorities() {
        let plain =
            " INFO announced locally rule=\"dst 192.0.2.1/32 then discard\" id=037af410fd40 name=\"a b\"\nERROR gone\n";
        assert_eq!(logged(false), plain);
        assert_eq!(logged(true), format!("<6>{}", plain.replace("\nERROR", "\n<3>ERROR")));
    }
}
