//! axe-core finds nothing to complain about, in any view, in light, dark and on a phone.

use anyhow::{Result, ensure};
use lab::site::Site;
use lab::{Browser, needs};
use serde_json::Value;

use crate::place::{Attack, VIEWS, attacked, go, opened, sign_in};

const AXE: &str = include_str!("axe-core/axe.min.js");

/// What axe-core complains about.
fn violations(browser: &mut Browser) -> Result<Vec<String>> {
    let run = "axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })\
               .then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160) + ' ' + node.failureSummary).join('; ')}`))";
    let found = browser.evaluate(run)?;
    let Value::Array(found) = found else { anyhow::bail!("axe: {found}") };
    Ok(found.into_iter().map(|one| one.to_string()).collect())
}

#[test]
fn no_view_has_a_violation() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let (daemon, _controller) = attacked(&site)?;
    let _attack = Attack::start(&site)?;
    daemon.cli(&["announce", "dst 192.0.2.2/32 proto udp sport 19 then discard", "--for", "1h"])?;
    let rules = daemon.rules()?;
    let local = rules.iter().find(|rule| rule.expires.is_some()).expect("our rule");
    let one = format!("rules/{}", local.id);
    let mut browser = opened(&site)?;
    sign_in(&mut browser)?;
    browser.evaluate(AXE)?;
    let mut found = Vec::new();
    for (width, phone) in [(1280, false), (390, true)] {
        browser.resize(width, 844, phone)?;
        for dark in [false, true] {
            browser.set_dark(dark)?;
            for place in VIEWS.into_iter().chain([one.as_str()]) {
                go(&mut browser, place)?;
                match place {
                    "" => browser.wait("rules", "document.querySelector('.problems li')")?,
                    "rules" => browser.wait("rules", "document.querySelectorAll('.rows .row a').length === 4")?,
                    "packet" => {
                        browser.write("#p-to", "192.0.2.1")?;
                        browser.write("#p-from", "198.51.100.1")?;
                        browser.press("Enter")?;
                        browser.wait("the tree", "document.querySelector('.tree')")?
                    }
                    "paste" => {
                        browser.write("#paste", "dst 0.0.0.0/0 then discard")?;
                        browser.click("form button[type=submit]")?;
                        browser.wait("an answer", "document.querySelector('.inspected')")?
                    }
                    "events" => browser.wait("events", "document.querySelector('.events li')")?,
                    "history" => browser.wait("rules", "document.querySelector('.incidents tbody tr')")?,
                    "samples" => browser.wait("an answer", "document.querySelector('main .quiet')")?,
                    "peers" => browser.wait("peers", "document.querySelector('[data-peer]')")?,
                    _ => browser.wait("the rule", "document.querySelector('.terms')")?,
                };
                let place = format!("{place} {width} dark {dark}");
                found.extend(violations(&mut browser)?.into_iter().map(|one| format!("{place}: {one}")));
            }
            // Dialogs, too.
            for (button, ready) in
                [("#pause", "#pause-for"), ("#new-rule", "#rule-text"), ("[data-action=withdraw]", ".confirm")]
            {
                let place = if button == "#new-rule" { "rules".to_owned() } else { format!("rules/{}", local.id) };
                go(&mut browser, &place)?;
                browser.click(button)?;
                browser.wait("the dialog", &format!("document.querySelector('dialog {ready}')"))?;
                found.extend(violations(&mut browser)?.into_iter().map(|one| format!("{button} dark {dark}: {one}")));
                browser.press("Escape")?;
                browser.wait("its end", "!document.querySelector('dialog')")?;
            }
        }
    }
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

/// Everything is reached with Tab, and what has the focus is seen.
#[test]
fn the_keyboard_reaches_everything() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let (_daemon, _controller) = attacked(&site)?;
    let mut browser = opened(&site)?;
    go(&mut browser, "rules")?;
    browser.wait("rules", "document.querySelectorAll('.rows .row a').length === 3")?;
    browser.evaluate("document.activeElement.blur()")?;
    let mut seen = Vec::new();
    for _ in 0..40 {
        browser.press("Tab")?;
        let focus = "(() => { const e = document.activeElement; const s = getComputedStyle(e); \
                     return `${e.id || e.dataset.view || e.textContent.slice(0, 20)} ${s.outlineStyle}`; })()";
        seen.push(browser.text(focus)?);
    }
    for wanted in ["skip", "rules", "theme", "token", "pause", "filter", "state", "sort", "new-rule"] {
        ensure!(seen.iter().any(|focus| focus.starts_with(&format!("{wanted} "))), "{wanted}: {seen:?}");
    }
    ensure!(seen.iter().filter(|focus| focus.ends_with(" none")).count() <= 2, "no outline: {seen:?}");
    Ok(())
}
