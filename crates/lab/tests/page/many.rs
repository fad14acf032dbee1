//! 100,000 rules, and 200 events a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flowspec::Rule;
use lab::scenario;
use lab::site::Site;
use lab::{Browser, Daemon, PATIENCE, needs};

use crate::place::{ADDRESS, api, configuration, go};

const RULES: usize = 100_000;

fn rule(number: usize) -> Result<Rule> {
    let [_, b, c, d] = u32::try_from(number)?.to_be_bytes();
    Ok(format!("dst 10.{b}.{c}.{d}/32 proto udp sport 123 then discard").parse()?)
}

/// From the address to the first rules on the screen, milliseconds.
const FIRST_VIEW: &str = "(async () => { const start = performance.timeOrigin; \
    while (!document.querySelectorAll('.rows .row a').length) await new Promise((go) => requestAnimationFrame(go)); \
    return performance.timeOrigin + performance.now() - start; })()";

/// The longest time without a frame while it is used for a while, milliseconds.
const LONGEST_FRAME: &str = "(async () => { let last = performance.now(), longest = 0; const end = last + 8000; \
    const list = document.querySelector('.virtual'); let step = 0; \
    while (performance.now() < end) { await new Promise((go) => requestAnimationFrame(go)); \
      const now = performance.now(); longest = Math.max(longest, now - last); last = now; \
      step += 1; if (step % 30 === 0) list.scrollTop = Math.random() * list.scrollHeight; } \
    return longest; })()";

#[test]
fn a_hundred_thousand_rules_and_two_hundred_events_a_second_stay_responsive() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let controller = scenario::listening_peer(&site, scenario::controller_config()?)?;
    let text = configuration().replace("backend = \"nftables\"\ninterfaces = [\"swp*\"]", "backend = \"none\"");
    let daemon = Daemon::start_with_api(&site.switch, &text, &api())?;
    daemon.wait_established("controller", PATIENCE)?;
    controller.announce((0..RULES).map(rule).collect::<Result<Vec<_>>>()?);
    let many = |status: &api::StatusView| status.rules_in(api::RuleState::Installed) == RULES as u64;
    daemon.wait_status("all rules", PATIENCE, many)?;

    let mut browser = Browser::start(&site.switch)?;
    browser.open("about:blank")?;
    browser.take_requests()?;
    browser.open(&format!("{ADDRESS}#/rules"))?;
    let first = browser.evaluate(FIRST_VIEW)?.as_f64().context("a time")?;
    let (requests, octets) = browser.take_requests()?;
    println!("first view of {RULES} rules: {first:.0} ms, {} requests, {octets} octets", requests.len());
    ensure!(octets <= 200_000, "{octets} octets for the first view: {requests:?}");
    for request in &requests {
        ensure!(request.starts_with(ADDRESS) || request.starts_with("about:"), "{request}");
        ensure!(!request.contains("/v1/rules?") && !request.ends_with("/v1/rules"), "all rules are asked for");
    }
    let rows = browser.evaluate("document.querySelectorAll('.rows .row').length")?;
    ensure!(rows.as_u64().is_some_and(|rows| rows < 60), "{rows} rows exist");
    browser.wait("the number", "document.querySelector('#tile-rules .value').textContent === '100,000'")?;

    // Events: 100 announcements and 100 withdrawals a second.
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let churn = std::thread::spawn(move || -> Result<lab::Speaker> {
        let mut number = RULES;
        while !stopped.load(Ordering::Relaxed) {
            let some = (number..number + 10).map(rule).collect::<Result<Vec<_>>>()?;
            controller.announce(some.clone());
            std::thread::sleep(Duration::from_millis(50));
            controller.withdraw(some.into_iter().map(|rule| rule.nlri));
            std::thread::sleep(Duration::from_millis(50));
            number += 10;
        }
        Ok(controller)
    });
    let longest = browser.evaluate(LONGEST_FRAME)?.as_f64().context("a time")?;
    println!("longest time without a frame while scrolling, with 200 events a second: {longest:.0} ms");
    // To the end of the list, with the keyboard; and to one rule of the middle, with the filter.
    browser.evaluate("document.querySelector('.virtual').focus()")?;
    browser.press("End")?;
    browser.wait("the last rule", "document.activeElement.closest('.row')?.getAttribute('aria-rowindex') >= 100000 && document.activeElement.textContent.includes('dst 10.1.')")?;
    browser.write("#filter", "10.1.0.77")?;
    browser.wait("the rule", "document.querySelectorAll('.rows .row a').length === 1 && document.querySelector('.rows .row a').textContent.includes('10.1.0.77/32')")?;
    let began = std::time::Instant::now();
    browser.write("#filter", "sport 12")?;
    browser.wait("all rules", "document.querySelector('main .quiet').textContent.startsWith('100,0')")?;
    println!("a filter that all rules match: {} ms", began.elapsed().as_millis());
    go(&mut browser, "events")?;
    browser.wait("events", "document.querySelectorAll('.events li').length > 100")?;
    go(&mut browser, "")?;
    browser.wait("the overview", "document.querySelector('.problems')")?;
    stop.store(true, Ordering::Relaxed);
    let _controller = churn.join().map_err(|_| anyhow::anyhow!("the peer panicked"))??;
    ensure!(browser.complaints().is_empty(), "complaints");
    Ok(())
}
