//! What the page shows, while an attack is dropped.

use anyhow::{Result, ensure};
use lab::site::Site;
use lab::{PATIENCE, needs};

use crate::place::{ADDRESS, Attack, attacked, go, no_complaints, opened, picture, sign_in};

#[test]
fn each_view_shows_what_the_daemon_says_in_light_dark_and_on_a_phone() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let (mut daemon, _controller) = attacked(&site)?;
    let attack = Attack::start(&site)?;
    let mut browser = opened(&site)?;
    sign_in(&mut browser)?;

    // Always in sight.
    let tile = |name: &str| format!("document.querySelector('#tile-{name}').textContent");
    ensure!(browser.text(&tile("state"))?.contains("FILTERING"));
    browser.wait("drops", &format!("/[1-9][0-9. k]*p\\/s/.test({})", tile("drops")))?;
    ensure!(browser.text(&tile("peers"))?.contains("1 of 2"));
    ensure!(browser.text(&tile("unenforced"))?.contains("1 refused"));
    ensure!(browser.text(&tile("interfaces"))?.contains('3'), "{}", browser.text(&tile("interfaces"))?);
    browser.wait("the age", &format!("{}.includes('live')", tile("age")))?;
    let problems = browser.text("document.querySelector('.problems').innerText")?;
    ensure!(
        problems.contains("1 rule is announced and not in force") && problems.contains("1 peer has no session"),
        "{problems}"
    );
    browser.wait("the busiest rule", "document.querySelector('.busiest tbody')?.innerText.includes('sport 123')")?;
    let refused = browser.text("document.querySelector('main').innerText")?;
    ensure!(refused.contains("redirect 65000:1"), "{refused}");
    browser.wait("a curve", "document.querySelectorAll('.chart polyline').length > 0")?;

    // Rules: the filter is the one of the command.
    go(&mut browser, "rules")?;
    browser.wait("three rules", "document.querySelectorAll('.rows .row a').length === 3")?;
    browser.choose("#sort", "packets")?;
    browser.wait("the busiest first", "document.querySelector('.rows .row a')?.textContent.includes('sport 123')")?;
    browser.write("#filter", "refused")?;
    browser.wait("one rule", "document.querySelectorAll('.rows .row a').length === 1")?;
    let row = browser.text("document.querySelector('.rows .row').innerText")?;
    ensure!(row.contains("192.0.2.9"), "{row}");
    browser.write("#filter", "nothing-is-called-so")?;
    browser.wait("no rule", "document.querySelector('.nothing')?.textContent.includes('No rule matches')")?;
    browser.write("#filter", "192.0.2.1")?;
    browser.wait("two rules", "document.querySelectorAll('.rows .row a').length === 2")?;
    // With the keyboard alone.
    browser.evaluate("document.querySelector('.virtual').focus()")?;
    browser.press("ArrowDown")?;
    browser.press("ArrowDown")?;
    browser.press("Enter")?;
    browser.wait("one rule", "/^#.rules.[0-9a-f]{12}$/.test(location.hash) && document.querySelector('.terms')?.innerText.includes('Entries')")?;
    browser.wait("its events", "document.querySelector('.events li[data-event=announced]')")?;
    let rule = browser.text("document.querySelector('main').innerText")?;
    for word in ["controller", "Matched", "Peak", "Override for an hour", "announced"] {
        ensure!(rule.contains(word), "{word}: {rule}");
    }

    go(&mut browser, "peers")?;
    browser.wait("peers", "document.querySelectorAll('[data-peer]').length === 2")?;
    let peer = browser.text("document.querySelector('[data-peer=controller]').innerText")?;
    for word in ["established", "2 accepted", "1 refused", "ipv4-flow", "203.0.113.1", "Matched now"] {
        ensure!(peer.contains(word), "{word}: {peer}");
    }

    go(&mut browser, "packet")?;
    browser.write("#p-from", "198.51.100.7")?;
    browser.write("#p-sport", "123")?;
    browser.write("#p-to", "192.0.2.1")?;
    browser.write("#p-dport", "4000")?;
    browser.press("Enter")?;
    browser.wait("the explanation", "document.querySelector('.tree')?.innerText.includes('Verdict: discard')")?;
    let tree = browser.text("document.querySelector('.tree').innerText")?;
    ensure!(tree.contains("This rule matches and decides") && tree.contains("sport 123"), "{tree}");

    go(&mut browser, "paste")?;
    browser.write("#paste", "0c0120c000020103811106817b")?;
    browser.click("form button[type=submit]")?;
    browser.wait("the rule", "document.querySelector('.inspected')?.innerText.includes('proto udp sport 123')")?;
    let costs = browser.text("document.querySelector('.costs').innerText")?;
    for plane in ["nftables", "xdp", "flower", "cumulus", "sonic", "in use"] {
        ensure!(costs.contains(plane), "{plane}: {costs}");
    }
    browser.write("#paste", "dst 192.0.2.0/24 then dropp")?;
    browser.click("form button[type=submit]")?;
    browser.wait("the mistake", "document.querySelector('#inspection .problem')?.textContent.includes('dropp')")?;

    go(&mut browser, "samples")?;
    browser.wait("an answer", "document.querySelector('.quiet')?.textContent.length > 10")?;
    go(&mut browser, "events")?;
    browser.wait("events", "document.querySelectorAll('.events li').length >= 4")?;
    browser.write("#filter", "peer-up")?;
    browser.wait("one event", "document.querySelectorAll('.events li').length === 1")?;

    go(&mut browser, "history")?;
    browser
        .wait("what is remembered", "document.querySelector('.incidents tbody')?.innerText.includes('sport 123')")?;
    browser.write("#h-rule", "192.0.2.9")?;
    browser.press("Enter")?;
    browser.wait("one of them", "document.querySelectorAll('.incidents tbody tr').length === 1")?;
    browser.click(".incidents tbody a")?;
    browser.wait("its states", "document.querySelector('.events')?.innerText.includes('refused')")?;
    no_complaints(&mut browser)?;

    pictures(&mut browser)?;
    attack.stop()?;
    go(&mut browser, "")?;
    browser.wait("the overview", "document.querySelector('.problems li')")?;
    let status = daemon.stop()?;
    ensure!(status.success(), "{status}");

    // The daemon is gone: what is shown says so, and from when it is.
    browser.wait("that nobody answers", "document.querySelector('#tile-state').textContent.includes('NO ANSWER')")?;
    let banner = browser.text("document.querySelector('#banner').textContent")?;
    ensure!(banner.contains("has not answered since") && banner.contains("from then"), "{banner}");
    browser.screenshot(&picture("gone")?)?;
    daemon.launch()?;
    daemon.wait_established("controller", PATIENCE)?;
    browser.wait("its answer", "document.querySelector('#tile-state').textContent.includes('FILTERING')")?;
    ensure!(browser.text("location.href")?.starts_with(ADDRESS));
    Ok(())
}

fn pictures(browser: &mut lab::Browser) -> Result<()> {
    let views = [
        ("overview", "", "document.querySelector('.busiest tbody')?.children.length > 0"),
        ("rules", "rules?sort=packets", "document.querySelectorAll('.rows .row a').length === 3"),
        ("peers", "peers", "document.querySelectorAll('[data-peer]').length === 2"),
    ];
    for (width, height, is_phone, size) in [(1280, 860, false, ""), (390, 844, true, "-phone")] {
        browser.resize(width, height, is_phone)?;
        for dark in [false, true] {
            browser.set_dark(dark)?;
            let colours = if dark { "-dark" } else { "" };
            for (name, place, ready) in views {
                go(browser, place)?;
                browser.wait(name, ready)?;
                let wide =
                    browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
                ensure!(wide == 0, "{name}{colours}{size} is {wide} pixels too wide");
                browser.screenshot(&picture(&format!("{name}{colours}{size}"))?)?;
            }
            go(browser, "rules?filter=sport+123")?;
            browser.wait("the rule", "document.querySelectorAll('.rows .row a').length === 1")?;
            let place = browser.text("document.querySelector('.rows .row a').hash.slice(2)")?;
            go(browser, &place)?;
            browser.wait("its facts", "document.querySelectorAll('.chart').length === 2")?;
            browser.screenshot(&picture(&format!("rule{colours}{size}"))?)?;
            go(browser, "packet?proto=udp&from=198.51.100.7&sport=123&to=192.0.2.1&dport=4000")?;
            browser.click("form button[type=submit]")?;
            browser.wait("the explanation", "document.querySelector('.tree') !== null")?;
            browser.screenshot(&picture(&format!("packet{colours}{size}"))?)?;
            go(browser, "paste")?;
            browser.write("#paste", "dst 192.0.2.0/24 proto udp sport 123 length >=400 then rate 1mbps")?;
            browser.click("form button[type=submit]")?;
            browser.wait("the rule", "document.querySelector('.inspected') !== null")?;
            browser.screenshot(&picture(&format!("paste{colours}{size}"))?)?;
        }
    }
    browser.set_dark(false)?;
    browser.resize(1280, 860, false)
}
