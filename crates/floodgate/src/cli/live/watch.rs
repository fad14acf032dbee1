//! Commands that go on looking.

use super::client::{Client, Failure};
use super::show::{event_line, fetch_rules, rules_table, status_text};
use super::{LiveArgs, OK, ask};
use crate::api::{RuleView, StatusView};
use crate::cli::output::{Output, complain};
use anyhow::Result;
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Rules shown by `top`.
const SHOWN: usize = 30;

/// Events as they happen, until interrupted.
pub(super) fn watch(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let mut output = Output::new();
        let mut missed = false;
        client
            .lines("/v1/events", |line| {
                if let Some(kind) = line.strip_prefix("event: ") {
                    missed = kind == "missed";
                } else if let Some(data) = line.strip_prefix("data: ") {
                    match (std::mem::take(&mut missed), args.json) {
                        (true, _) => complain(format_args!("floodgate: too slow: {data} events were missed")),
                        (false, true) => output.line(data)?,
                        (false, false) => output.line(&event_line(&serde_json::from_str(data)?))?,
                    }
                    output.flush()?;
                }
                Ok(true)
            })
            .await?;
        Ok(OK)
    })
}

/// The busiest rules, again and again on a terminal, once otherwise.
pub(super) fn top(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let again = std::io::stdout().is_terminal() && !args.json;
        loop {
            let mut status: StatusView = client.get("/v1/status").await?;
            let mut rules: Vec<RuleView> = fetch_rules(client, &[], usize::MAX).await?;
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.packets));
            rules.truncate(SHOWN);
            let mut output = Output::new();
            if args.json {
                rules.iter().try_for_each(|rule| output.json(rule))?;
            } else {
                status.advice.clear();
                let (status, rules) = (status_text(&status), rules_table(&rules));
                let text = match window().filter(|_| again) {
                    Some((rows, columns)) => format!("\x1b[H\x1b[2J{}", screen(&status, &rules, rows, columns)),
                    None => format!("{status}\n\n{rules}"),
                };
                output.line(&text)?;
            }
            output.finish()?;
            if !again {
                return Ok(OK);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Rows and columns of the terminal, where standard output is one that tells.
fn window() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a `winsize` to the pointer, which is to one that outlives the call.
    let outcome = unsafe { libc::ioctl(std::io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (outcome == 0 && size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

/// As much as fits without scrolling, lines cut at the edge: on a small window only what matters most of the status, so that there is
/// room for rules.
fn screen(status: &str, rules: &str, rows: usize, columns: usize) -> String {
    const SMALL: usize = 24;
    const VITAL: [&str; 4] = ["peers", "rules", "filtering", "data plane"];
    let vital = |line: &&str| rows >= SMALL || VITAL.iter().any(|key| line.trim_start().starts_with(key));
    let lines = status.lines().filter(vital).chain([""]).chain(rules.lines());
    // The last row stays free for the cursor.
    let cut = lines.take(rows.saturating_sub(1)).map(|line| line.chars().take(columns).collect::<String>());
    cut.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_never_longer_or_wider_than_the_window() {
        let status = StatusView { asn: 65140, peers: 1, backend: "none".to_owned(), ..StatusView::default() };
        let rules: Vec<_> =
            (0..30).map(|n| RuleView { text: format!("{n} ").repeat(99), ..RuleView::default() }).collect();
        let (status, rules) = (status_text(&status), rules_table(&rules));
        for (rows, columns) in [(1, 1), (10, 40), (24, 80), (60, 500)] {
            let screen = screen(&status, &rules, rows, columns);
            assert!(screen.lines().count() < rows.max(1), "{rows} {columns}: {screen}");
            assert!(screen.lines().all(|line| line.chars().count() <= columns), "{rows} {columns}: {screen}");
        }
        let small = screen(&status, &rules, 10, 80);
        assert!(
            small.contains("peers       0 of 1") && small.contains(" ID ") && !small.contains("listening"),
            "{small}"
        );
    }
}
