//! Sampled packets for any number of listeners: one thread reads them from the data plane while
//! there is a listener, and sends each to all.

use api::SampleView;
use api::hex::to_hex;
use dataplane::{Sample, SampleSource};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// Most samples that a listener may be behind.
const LISTENER_BACKLOG: usize = 4096;
/// Longest wait for samples before the thread checks for listeners.
const PATIENCE: Duration = Duration::from_millis(100);
/// Samples read before the thread checks anything else.
const BATCH: usize = 1024;

/// An event for a listener.
#[derive(Clone, Debug)]
pub(crate) enum SampleEvent {
    /// A packet.
    Sample(Arc<SampleView>),
    /// This many packets were to be sampled and were lost: the buffer was full.
    Lost(u64),
}

/// The samples of one data plane.
#[derive(Clone)]
pub(crate) struct Samples(Arc<Mutex<State>>);

struct State {
    /// `None` while the thread has it.
    source: Option<Box<dyn SampleSource>>,
    listeners: broadcast::Sender<SampleEvent>,
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Samples")
    }
}

impl Samples {
    /// The samples of this source.
    pub(crate) fn new(source: Box<dyn SampleSource>) -> Self {
        Samples(Arc::new(Mutex::new(State {
            source: Some(source),
            listeners: broadcast::Sender::new(LISTENER_BACKLOG),
        })))
    }

    /// All samples from now on.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn listen(&self) -> std::io::Result<broadcast::Receiver<SampleEvent>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = state.listeners.subscribe();
        if let Some(mut source) = state.source.take() {
            let (shared, listeners) = (self.0.clone(), state.listeners.clone());
            source.skip();
            std::thread::Builder::new()
                .name("samples".to_owned())
                .spawn(move || follow(source, &shared, &listeners))?;
        }
        Ok(listener)
    }
}

/// Reads until there is no listener; then returns the source.
fn follow(mut source: Box<dyn SampleSource>, shared: &Mutex<State>, listeners: &broadcast::Sender<SampleEvent>) {
    loop {
        source.wait(PATIENCE);
        let lost = source.read(BATCH, &mut |sample| drop(listeners.send(SampleEvent::Sample(Arc::new(view(&sample))))));
        if lost > 0 {
            let _ = listeners.send(SampleEvent::Lost(lost));
        }
        if listeners.receiver_count() > 0 {
            continue;
        }
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // A listener may have come in the meantime.
        if listeners.receiver_count() == 0 {
            state.source = Some(source);
            return;
        }
    }
}

fn view(sample: &Sample) -> SampleView {
    SampleView {
        time: humantime::format_rfc3339_nanos(sample.time).to_string(),
        rule: sample.rule.map(|id| id.to_string()),
        interface: name(sample.interface).unwrap_or_else(|| sample.interface.to_string()),
        length: sample.length,
        octets: to_hex(&sample.octets),
    }
}

/// The interface's current name.
fn name(interface: u32) -> Option<String> {
    let any = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(any, interface).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Instant, SystemTime};

    static SKIPPED: AtomicUsize = AtomicUsize::new(0);

    /// One packet and one loss for each reading.
    struct Steady;

    impl SampleSource for Steady {
        fn skip(&mut self) {
            SKIPPED.fetch_add(1, Ordering::Relaxed);
        }
        fn wait(&mut self, _: Duration) {
            std::thread::sleep(Duration::from_millis(1));
        }
        fn read(&mut self, _: usize, each: &mut dyn FnMut(Sample)) -> u64 {
            each(Sample { time: SystemTime::now(), rule: None, interface: 1, length: 60, octets: vec![1, 2] });
            3
        }
    }

    #[test]
    fn all_listeners_get_the_same_and_nothing_is_read_without_listeners() {
        let samples = Samples::new(Box::new(Steady));
        for round in 1..=2 {
            let mut listeners = [samples.listen().unwrap(), samples.listen().unwrap()];
            for listener in &mut listeners {
                let heard = listener.blocking_recv().unwrap();
                assert!(matches!(heard, SampleEvent::Sample(view) if view.interface == "lo" && view.octets == "0102"));
                assert!(matches!(listener.blocking_recv().unwrap(), SampleEvent::Lost(3)));
            }
            assert_eq!(SKIPPED.load(Ordering::Relaxed), round, "one thread for both");
            drop(listeners);
            let until = Instant::now() + Duration::from_secs(10);
            while samples.0.lock().unwrap().source.is_none() {
                assert!(Instant::now() < until, "the thread ends");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
