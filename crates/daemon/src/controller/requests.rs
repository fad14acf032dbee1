//! Requests of the API that wait for new counters.

use crate::command::Command;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests that wait. Each leaves this list exactly once, in the order in which they came: when
/// new counters have come, or at its deadline with the last known counters.
#[derive(Debug)]
pub(super) struct Requests {
    patience: Duration,
    waiting: VecDeque<(Instant, Command)>,
}

impl Requests {
    /// Longest wait of each request.
    pub(super) const fn new(patience: Duration) -> Self {
        Requests { patience, waiting: VecDeque::new() }
    }

    /// Adds a request.
    pub(super) fn wait(&mut self, command: Command, now: Instant) {
        self.waiting.push_back((now + self.patience, command));
    }

    /// New counters have come: removes all requests.
    pub(super) fn take_all(&mut self) -> Vec<Command> {
        self.waiting.drain(..).map(|(_, command)| command).collect()
    }

    /// Whether the deadline of a request has passed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|until| until <= now)
    }

    /// The deadline of the first request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn history(count: usize) -> Command {
        Command::History(count, oneshot::channel().0)
    }

    fn counts(commands: Vec<Command>) -> Vec<usize> {
        let count = |command| match command {
            Command::History(count, _) => count,
            other => panic!("{other:?}"),
        };
        commands.into_iter().map(count).collect()
    }

    #[test]
    fn each_waits_until_counters_come_or_its_patience_ends_and_leaves_once() {
        let patience = Duration::from_millis(500);
        let (mut requests, start) = (Requests::new(patience), Instant::now());
        assert!(requests.deadline().is_none() && !requests.is_overdue(start));
        requests.wait(history(1), start);
        requests.wait(history(2), start + patience / 2);
        assert_eq!(requests.deadline(), Some(start + patience));
        assert!(!requests.is_overdue(start + patience / 2) && requests.is_overdue(start + patience));
        assert_eq!(counts(requests.take_all()), [1, 2]);
        assert!(requests.take_all().is_empty() && !requests.is_overdue(start + 2 * patience));
    }
}
