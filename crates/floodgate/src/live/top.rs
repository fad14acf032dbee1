//! `floodgate top`: the busiest rules, refreshed, with keys.

use super::args::{LiveArgs, TopArgs};
use super::ask::ask;
use super::rates::{PERIOD, Readings};
use super::rule_sort::RuleSort;
use super::rule_with_rate::RuleWithRate;
use super::show::rules_by_state;
use super::terminal::{Key, Terminal, window};
use super::units;
use crate::exit_status::OK;
use crate::output::Output;
use anyhow::Result;
use api::client::{Client, Failure};
use api::{Mode, StatusView};
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Rules that are shown without a terminal.
const MAX_RULES_SHOWN: usize = 30;

/// Rows and columns of a terminal that does not report them.
const DEFAULT_SIZE: (usize, usize) = (24, 80);

/// The settings that keys change.
#[derive(Debug, Default)]
struct View {
    sort: RuleSort,
    filter: String,
    /// The filter being typed.
    typing: Option<String>,
    paused: bool,
}

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
enum KeyEffect {
    /// Show the same readings in another form.
    Draw,
    /// Read again.
    Read,
    Quit,
}

impl View {
    fn press(&mut self, key: Key) -> KeyEffect {
        if key == Key::Interrupt {
            return KeyEffect::Quit;
        }
        let Some(typed) = &mut self.typing else { return self.command(key) };
        match key {
            Key::Char(c) => typed.push(c),
            Key::Back => drop(typed.pop()),
            Key::Escape => self.typing = None,
            Key::Enter => {
                self.filter = self.typing.take().unwrap_or_default();
                return KeyEffect::Read;
            }
            Key::Interrupt => {}
        }
        KeyEffect::Draw
    }

    fn command(&mut self, key: Key) -> KeyEffect {
        match key {
            Key::Char('q') | Key::Escape => return KeyEffect::Quit,
            Key::Char('/') => self.typing = Some(self.filter.clone()),
            Key::Char(' ') => self.paused = !self.paused,
            Key::Char(c) => {
                if let Some((_, sort, _)) = RuleSort::KEYS.iter().find(|(key, ..)| *key == c) {
                    self.sort = *sort;
                }
            }
            Key::Enter | Key::Back | Key::Interrupt => {}
        }
        KeyEffect::Draw
    }

    fn words(&self) -> Vec<String> {
        self.filter.split_whitespace().map(str::to_owned).collect()
    }

    /// The lines about the keys: one where it is not wider than that.
    fn lines(&self, columns: usize) -> Vec<String> {
        if let Some(typed) = &self.typing {
            return vec![format!("filter: {typed}_   (enter: use it, esc: do not)")];
        }
        let keys: Vec<String> = RuleSort::KEYS
            .iter()
            .map(
                |(key, sort, name)| {
                    if *sort == self.sort { format!("{key} [{name}]") } else { format!("{key} {name}") }
                },
            )
            .collect();
        let paused = if self.paused { "space PAUSED" } else { "space pause" };
        let filter = if self.filter.is_empty() { "/ filter".to_owned() } else { format!("/ {}", self.filter) };
        let (sort, other) = (keys.join("  "), format!("{paused}  q quit  {filter}"));
        if sort.chars().count() + other.chars().count() + 2 <= columns {
            return vec![format!("{sort}  {other}")];
        }
        vec![sort, other]
    }
}

/// The busiest rules: refreshed on a terminal, once with the rates of one second otherwise.
pub(super) fn top(args: &TopArgs) -> Result<u8> {
    ask(&args.live, async |client: &Client| -> Result<u8, Failure> {
        let mut view = View { filter: args.filter.join(" "), ..View::default() };
        let taken = if args.live.json { None } else { Terminal::take() };
        match taken {
            Some((terminal, keys)) => watch(client, &mut view, &terminal, keys).await,
            None => once(client, &view, &args.live).await,
        }
    })
}

async fn watch(
    client: &Client,
    view: &mut View,
    terminal: &Terminal,
    mut keys: mpsc::Receiver<Key>,
) -> Result<u8, Failure> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut readings = Readings::default();
    let (mut status, mut rules) = readings.read(client, &view.words()).await?;
    let mut next = Instant::now() + PERIOD;
    loop {
        view.sort.order(&mut rules);
        let (rows, columns) = window().unwrap_or(DEFAULT_SIZE);
        terminal.show(&screen(&status, &rules, view, rows, columns));
        let then = tokio::select! {
            key = keys.recv() => key.map_or(KeyEffect::Quit, |key| view.press(key)),
            _ = terminate.recv() => KeyEffect::Quit,
            () = tokio::time::sleep_until(next) => if view.paused { KeyEffect::Draw } else { KeyEffect::Read },
        };
        match then {
            KeyEffect::Quit => return Ok(OK),
            KeyEffect::Read => (status, rules) = readings.read(client, &view.words()).await?,
            KeyEffect::Draw => {}
        }
        if next <= Instant::now() {
            next = Instant::now() + PERIOD;
        }
    }
}

async fn once(client: &Client, view: &View, args: &LiveArgs) -> Result<u8, Failure> {
    let mut readings = Readings::default();
    readings.read(client, &view.words()).await?;
    tokio::time::sleep(PERIOD).await;
    let (status, mut rules) = readings.read(client, &view.words()).await?;
    view.sort.order(&mut rules);
    rules.truncate(MAX_RULES_SHOWN);
    let mut output = Output::new();
    if args.json {
        rules.iter().try_for_each(|rule| output.json(rule))?;
    } else {
        let lines = screen(&status, &rules, view, usize::MAX, usize::MAX);
        // Without keys there is no line about them.
        let keys = view.lines(usize::MAX);
        lines.iter().filter(|line| !keys.contains(line)).try_for_each(|line| output.line(line))?;
    }
    output.finish()?;
    Ok(OK)
}

/// Lines of at most this many columns, one fewer than rows. A rule's text is below its figures, on
/// as many lines as it needs.
fn screen(status: &StatusView, rules: &[RuleWithRate], view: &View, rows: usize, columns: usize) -> Vec<String> {
    let most = rows.saturating_sub(1).max(1);
    let mut lines = heading(status, columns);
    lines.extend(view.lines(columns));
    let head = ["STATE", "PACKETS/S", "BITS/S", "DROPPED/S", "PACKETS", "BYTES", "PEAK", "LAST HIT", "PEER"];
    lines.push(figures(head, columns));
    let mut lines: Vec<String> = lines.into_iter().map(|line| cut(&line, columns)).collect();
    if rules.is_empty() {
        lines.push(cut(if view.filter.is_empty() { "no rules" } else { "no such rules" }, columns));
    }
    let mut left = rules.len();
    for rated in rules {
        let block = block(rated, columns);
        // A rule is shown whole or not at all; the last line says how many are not.
        let room = most.saturating_sub(lines.len() + usize::from(left > 1));
        if block.len() > room {
            lines.truncate(most.saturating_sub(1));
            lines.push(cut(&format!("{left} more rules"), columns));
            break;
        }
        lines.extend(block);
        left -= 1;
    }
    lines.truncate(most);
    lines
}

/// The status in one line.
fn heading(status: &StatusView, columns: usize) -> Vec<String> {
    let rules = rules_by_state(status).unwrap_or_else(|| "no rules".to_owned());
    let filtering = match (status.paused, status.mode.known()) {
        (true, _) => "PAUSED",
        (false, Some(Mode::Monitor)) => "monitor, nothing is dropped",
        (false, _) => "enforcing",
    };
    let rate = status.traffic.rate.map(|rate| {
        let matched = units::rate(rate.packets_per_second, "pps");
        let dropped = rate.dropped_per_second.map(|dropped| format!(", {} dropped", units::rate(dropped, "pps")));
        format!("; {matched} matched{}", dropped.unwrap_or_default())
    });
    let mut lines = vec![format!(
        "floodgate {}: {filtering}; {}; {} of {} peers; {rules}{}",
        status.version,
        status.backend,
        status.established,
        status.peers,
        rate.unwrap_or_default()
    )];
    if let Some(error) = &status.dataplane_error {
        lines.push(format!("FAILED: {error}"));
    }
    if status.interfaces.as_ref().is_some_and(Vec::is_empty) {
        lines.push("NOTHING IS FILTERED: no interface has a configured name".to_owned());
    }
    lines.iter().flat_map(|line| wrap(line, "", columns)).collect()
}

/// From so many columns on, there is room for all figures.
const WIDE: usize = 100;

fn figures(columns: [&str; 9], width: usize) -> String {
    let [state, packets, bits, dropped, total, bytes, peak, hit, peer] = columns;
    let more = if width >= WIDE { format!(" {peak:>10} {hit:>8}") } else { String::new() };
    format!("{state:<13} {packets:>10} {bits:>10} {dropped:>10} {total:>8} {bytes:>8}{more}  {peer}")
}

fn block(RuleWithRate { rule, rate }: &RuleWithRate, columns: usize) -> Vec<String> {
    let none = || "-".to_owned();
    let peers: Vec<&str> = rule.origins.iter().map(|origin| origin.peer.as_str()).collect();
    let dropped = rate.and_then(|rate| rate.dropped_per_second);
    let peak = rule.peak.as_ref().map(|peak| units::rate(peak.packets_per_second, "pps"));
    let row = figures(
        [
            rule.state.name(),
            &rate.map_or_else(none, |rate| units::rate(rate.packets_per_second, "pps")),
            &rate.map_or_else(none, |rate| units::rate(rate.bits_per_second, "bps")),
            &dropped.map_or_else(none, |dropped| units::rate(dropped, "pps")),
            &rule.packets.map_or_else(none, units::count),
            &rule.bytes.map_or_else(none, units::octets),
            &peak.unwrap_or_else(none),
            &units::ago(rule.last_hit.as_deref(), SystemTime::now()),
            &peers.join(", "),
        ],
        columns,
    );
    let mut lines = vec![cut(&row, columns)];
    lines.extend(wrap(&format!("{}  {}", rule.id, rule.text), "  ", columns));
    lines
}

/// Text wrapped to this width; a longer word is broken.
fn wrap(text: &str, indent: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(indent.len() + 1);
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    let mut rest: Vec<char> = text.chars().collect();
    while !rest.is_empty() {
        let room = columns - indent.len();
        if rest.len() <= room {
            line.extend(rest.drain(..));
        } else {
            let end = rest[..room].iter().rposition(|c| matches!(c, ' ' | ',')).map_or(room, |at| at + 1);
            line.extend(rest.drain(..end));
        }
        lines.push(line.trim_end().to_owned());
        line = indent.to_owned();
    }
    lines
}

fn cut(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Backend, OriginView, PeakView, RateView, RuleState, RuleView, TrafficView};

    fn rated(id: &str, text: &str, rate: f64, total: u64) -> RuleWithRate {
        let origins = vec![OriginView { peer: "detector".to_owned(), ..OriginView::default() }];
        RuleWithRate {
            rule: RuleView {
                id: id.to_owned(),
                text: text.to_owned(),
                state: RuleState::Installed.into(),
                packets: Some(total),
                bytes: Some(total * 100),
                origins,
                ..RuleView::default()
            },
            rate: Some(RateView {
                packets_per_second: rate,
                bits_per_second: rate * 800.0,
                dropped_per_second: Some(rate),
            }),
        }
    }

    const LONG: &str = "dst 2001:db8:1234:5678::/64 src 2001:db8:8765:4321::/64 proto udp sport 53,123,161,389,1900,11211 length >=1200 then rate 1mbps mark 10";

    #[test]
    fn no_rule_is_cut_on_80_columns_and_no_line_is_wider_than_the_window() {
        let status = StatusView {
            peers: 1,
            backend: Backend::Nftables.into(),
            mode: Mode::Enforce.into(),
            ..StatusView::default()
        };
        let rules: Vec<RuleWithRate> =
            (0..30).map(|n| rated(&format!("{n:012}"), LONG, 30.0 - f64::from(n), 5)).collect();
        let view = View::default();
        for (rows, columns) in [(2, 10), (10, 40), (24, 80), (60, 200)] {
            let lines = screen(&status, &rules, &view, rows, columns);
            assert!(lines.len() < rows, "{rows} {columns}: {lines:#?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{rows} {columns}: {lines:#?}");
        }
        let lines = screen(&status, &rules, &view, 24, 80);
        let text = lines.join("\n").replace("\n  ", "");
        assert_eq!(text.matches("then rate 1mbps mark 10").count(), 6, "{lines:#?}");
        assert!(lines.last().unwrap().ends_with("24 more rules"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("p [packets/s]") && line.ends_with("t total")), "{lines:#?}");
        assert!(lines.iter().any(|line| line == "space pause  q quit  / filter"), "{lines:#?}");
        let wide = screen(&status, &rules, &view, 60, 200);
        assert!(wide.iter().any(|line| line.contains("LAST HIT") && line.ends_with("PEER")), "{wide:#?}");
        let failed = StatusView { dataplane_error: Some("no room".to_owned()), ..status };
        assert!(screen(&failed, &[], &view, 24, 80).contains(&"FAILED: no room".to_owned()));
    }

    #[test]
    fn the_head_says_how_busy_all_rules_are() {
        let rate = RateView { packets_per_second: 12_300.0, dropped_per_second: Some(11_000.0), ..RateView::default() };
        let traffic = TrafficView { rate: Some(rate), ..TrafficView::default() };
        let status = StatusView { traffic, ..StatusView::default() };
        let text = screen(&status, &[], &View::default(), 24, 200).join("\n");
        assert!(text.contains("; 12.3 kpps matched, 11.0 kpps dropped\n"), "{text}");
    }

    #[test]
    fn a_wide_window_has_the_peak() {
        let peak = PeakView { packets_per_second: 456.0, ..PeakView::default() };
        let mut rule = rated("a", "x", 1.0, 5);
        rule.rule.peak = Some(peak);
        let figures = |columns| block(&rule, columns).remove(0);
        assert!(figures(120).contains("456 pps") && !figures(80).contains("456 pps"));
    }

    #[test]
    fn keys_sort_filter_pause_and_quit() {
        let mut view = View::default();
        assert_eq!(view.press(Key::Char('b')), KeyEffect::Draw);
        assert_eq!(view.sort, RuleSort::Bits);
        view.press(Key::Char('/'));
        for c in "gx".chars() {
            view.press(Key::Char(c));
        }
        view.press(Key::Back);
        view.press(Key::Char('q'));
        assert!(view.lines(80)[0].starts_with("filter: gq_"));
        assert_eq!((view.press(Key::Enter), view.filter.as_str()), (KeyEffect::Read, "gq"));
        view.press(Key::Char('/'));
        view.press(Key::Char('z'));
        assert_eq!((view.press(Key::Escape), view.filter.as_str()), (KeyEffect::Draw, "gq"));
        view.press(Key::Char(' '));
        assert!(view.paused && view.lines(80)[1].contains("PAUSED"));
        assert_eq!(view.press(Key::Char('q')), KeyEffect::Quit);
        view.press(Key::Char('/'));
        assert_eq!(view.press(Key::Interrupt), KeyEffect::Quit);
    }
}
