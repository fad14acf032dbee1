//! What the page changes: with a token, confirmed, and undone.

use anyhow::{Result, ensure};
use lab::scenario::NTP;
use lab::site::Site;
use lab::{Browser, Daemon, PATIENCE, needs};

use crate::place::{attacked, go, no_complaints, opened, picture, sign_in};

const MINE: &str = "dst 192.0.2.2/32 proto udp sport 19 then discard";

/// What the last toast says.
fn told(browser: &mut Browser, words: &str) -> Result<()> {
    let toasts = "[...document.querySelectorAll('.toast')].at(-1)?.textContent";
    browser.wait(words, &format!("{toasts}?.includes({})", serde_json::json!(words)))?;
    Ok(())
}

fn undo(browser: &mut Browser) -> Result<()> {
    let count = browser.evaluate("document.querySelectorAll('.toast').length")?;
    browser.evaluate("[...document.querySelectorAll('.toast .undo')].at(-1).click()")?;
    // The message that it is undone comes in the place of the one with the button.
    browser.wait("the way back", &format!("![...document.querySelectorAll('.toast')].at(-1).querySelector('.undo') && document.querySelectorAll('.toast').length <= {count}"))?;
    Ok(())
}

fn local(daemon: &Daemon<'_>, count: usize) -> Result<()> {
    let ours = |rules: &[api::RuleView]| {
        rules.iter().filter(|rule| rule.origins.iter().any(|origin| origin.peer == "local")).count() == count
    };
    daemon.wait_rules("our rules", PATIENCE, ours).map(|_| ())
}

#[test]
fn changes_need_the_token_are_confirmed_and_can_be_undone() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let (daemon, _controller) = attacked(&site)?;
    let mut browser = opened(&site)?;

    // A wrong token changes nothing, and says so.
    browser.click("#token")?;
    browser.write("#token-input", "a-wrong-token-of-somebody")?;
    browser.press("Enter")?;
    browser.wait("the refusal", "document.querySelector('dialog .problem').textContent.includes('not the token')")?;
    browser.press("Escape")?;
    browser.complaints();
    sign_in(&mut browser)?;

    // A new rule: its cost is seen before; a mistake cannot be sent.
    go(&mut browser, "rules")?;
    browser.click("#new-rule")?;
    browser.write("#rule-text", "dst 192.0.2.2/32 proto udp sport 19 then dropp")?;
    browser.wait(
        "the mistake",
        "document.querySelector('dialog .problem') && document.querySelector('dialog .confirm').disabled",
    )?;
    browser.write("#rule-text", MINE)?;
    browser
        .wait("the cost", "document.querySelector('dialog [data-backend=nftables] .number')?.textContent === '1'")?;
    browser.screenshot(&picture("new-rule")?)?;
    browser.choose("#rule-for", "10m")?;
    browser.click("dialog .confirm")?;
    told(&mut browser, "is installed")?;
    local(&daemon, 1)?;
    let rule = daemon.rules()?.into_iter().find(|rule| rule.text == MINE).expect("the rule");
    ensure!(rule.expires.is_some(), "{rule:?}");
    undo(&mut browser)?;
    local(&daemon, 0)?;

    // Extend, and back to the end that it had.
    daemon.cli(&["announce", MINE, "--for", "5m"])?;
    let before =
        daemon.rules()?.into_iter().find(|rule| rule.text == MINE).and_then(|rule| rule.expires).expect("an end");
    let minute = |text: &str| text[..15].to_owned();
    go(&mut browser, &format!("rules/{}", rule.id))?;
    browser.click("[data-action=extend]")?;
    browser.choose("#extend-for", "24h")?;
    browser.click("dialog .confirm")?;
    told(&mut browser, "is installed")?;
    let expires = |daemon: &Daemon<'_>| -> Result<String> {
        let rules = daemon.rules()?;
        Ok(rules.into_iter().find(|rule| rule.text == MINE).and_then(|rule| rule.expires).unwrap_or_default())
    };
    ensure!(expires(&daemon)? > before, "not extended");
    undo(&mut browser)?;
    ensure!(minute(&expires(&daemon)?) == minute(&before), "{} is not {before}", expires(&daemon)?);

    // Withdraw, and back.
    browser.click("[data-action=withdraw]")?;
    browser.click("dialog .cancel")?;
    local(&daemon, 1)?;
    browser.click("[data-action=withdraw]")?;
    browser.click("dialog .confirm")?;
    told(&mut browser, "withdrawn")?;
    local(&daemon, 0)?;
    undo(&mut browser)?;
    local(&daemon, 1)?;
    ensure!(!expires(&daemon)?.is_empty(), "it came back without an end");

    // A peer's rule is not ours to withdraw: it is overridden for an hour.
    let theirs = daemon.rules()?.into_iter().find(|rule| rule.text == NTP).expect("the peer's rule");
    go(&mut browser, &format!("rules/{}", theirs.id))?;
    browser.click("[data-action=override]")?;
    browser.click("dialog .confirm")?;
    told(&mut browser, "is installed")?;
    let rules = daemon.rules()?;
    let over = rules.iter().find(|rule| rule.id == theirs.id).expect("the rule");
    let ours = over.origins.iter().find(|origin| origin.peer == "local").expect("our part");
    ensure!(over.text.ends_with("then accept") && ours.best && ours.expires.is_some(), "{over:?}");
    undo(&mut browser)?;
    daemon.wait_rules("the peer's actions", PATIENCE, |rules| rules.iter().any(|rule| rule.text == NTP))?;

    // A pause with a countdown, and back.
    browser.click("#pause")?;
    browser.click("dialog .confirm")?;
    browser
        .wait("the pause", "document.querySelector('#tile-state').textContent.match(/PAUSED(29|30):[0-9]{2} left/)")?;
    ensure!(daemon.status()?.paused);
    browser.screenshot(&picture("paused")?)?;
    undo(&mut browser)?;
    ensure!(!daemon.status()?.paused);
    browser.wait("the button", "document.querySelector('#pause').textContent === 'Pause'")?;
    browser.click("#pause")?;
    browser.click("dialog .confirm")?;
    browser.wait("the button", "document.querySelector('#pause').textContent === 'Resume'")?;
    browser.click("#pause")?;
    browser.click("dialog .confirm")?;
    browser.wait("the end of the pause", "document.querySelector('#tile-state').textContent.includes('FILTERING')")?;
    ensure!(!daemon.status()?.paused);

    // Everything, and the own session: asked once more; without the second yes nothing happens.
    let text = "dst 0.0.0.0/0 then discard";
    for yes in [false, true] {
        go(&mut browser, "rules")?;
        browser.click("#new-rule")?;
        browser.write("#rule-text", text)?;
        browser.wait(
            "the warning",
            "document.querySelector('dialog .costs .banner')?.textContent.includes('all IPv4 packets')",
        )?;
        browser.click("dialog .confirm")?;
        browser
            .wait("the question", "document.querySelector('dialog h2').textContent === 'This rule may lock you out'")?;
        let hazards = browser.text("document.querySelector('.hazards').textContent")?;
        ensure!(hazards.contains("all IPv4 packets") && hazards.contains("your own session"), "{hazards}");
        if yes {
            browser.click("dialog .confirm")?;
            // It would take packets of the redirect that is refused, and so is refused itself.
            told(&mut browser, "cc538929cdd7 is refused")?;
            local(&daemon, 2)?;
            undo(&mut browser)?;
            local(&daemon, 1)?;
        } else {
            browser.screenshot(&picture("asked-again")?)?;
            browser.press("Escape")?;
            browser.wait("the end of the question", "!document.querySelector('dialog')")?;
            local(&daemon, 1)?;
        }
    }

    // A token that was changed: the next action asks for the new one.
    browser.evaluate("sessionStorage.setItem('floodgate-token', 'the-old-one-of-yesterday')")?;
    browser.open("about:blank")?;
    browser.open(&format!("{}#/rules/{}", crate::place::ADDRESS, rule.id))?;
    browser.click("[data-action=withdraw]")?;
    browser.click("dialog .confirm")?;
    browser.write("#token-input", crate::place::TOKEN)?;
    browser.press("Enter")?;
    told(&mut browser, "withdrawn")?;
    local(&daemon, 0)?;
    no_complaints(&mut browser)
}
