//! The story of the demo, followed on the page: an attack, a rule, the attack dropped, the rule
//! withdrawn.

use anyhow::Result;
use lab::scenario::{self, NTP};
use lab::site::Site;
use lab::{Daemon, PATIENCE, needs};

use crate::place::{Attack, api, configuration, go, no_complaints, opened};

#[test]
fn the_demo_can_be_followed_on_the_page() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let daemon = Daemon::start_with_api(&site.switch, &configuration(), &api())?;
    let mut browser = opened(&site)?;
    let tile = |name: &str| format!("document.querySelector('#tile-{name}').textContent");
    browser.wait("no rules", &format!("{}.startsWith('Rules0')", tile("rules")))?;
    browser.wait("no session", &format!("{}.includes('0 of 2')", tile("peers")))?;

    let controller = scenario::listening_peer(&site, scenario::controller_config()?)?;
    daemon.wait_established("controller", PATIENCE)?;
    browser.wait("the session", &format!("{}.includes('1 of 2')", tile("peers")))?;
    let attack = Attack::start(&site)?;
    controller.announce_text(NTP)?;
    browser.wait("the rule", &format!("{}.startsWith('Rules1')", tile("rules")))?;
    browser.wait("drops", &format!("!/^Dropped0 p/.test({})", tile("drops")))?;
    browser.wait("the busiest rule", "document.querySelector('.busiest tbody')?.innerText.includes('sport 123')")?;
    browser.wait(
        "the event",
        "[...document.querySelectorAll('.events li')].some((e) => e.dataset.event === 'announced')",
    )?;

    controller.withdraw_text(NTP)?;
    browser.wait("no rules", &format!("{}.startsWith('Rules0')", tile("rules")))?;
    browser.wait("the end of the drops", &format!("/^Dropped0 p/.test({})", tile("drops")))?;
    attack.stop()?;
    controller.shutdown();
    go(&mut browser, "peers")?;
    browser.wait("the lost session", "document.querySelector('[data-peer=controller] .badge.bad') !== null")?;
    no_complaints(&mut browser)
}
