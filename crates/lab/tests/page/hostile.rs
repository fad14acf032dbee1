//! What peers can write reaches the page as text: wherever a string stands in an answer, it is
//! replaced by markup and scripts here, and none of it becomes one.

use anyhow::{Result, ensure};
use lab::scenario;
use lab::site::Site;
use lab::{Browser, Daemon, PATIENCE, needs};

use crate::place::{ADDRESS, VIEWS, api, attacked, configuration, opened, sign_in};

/// Puts it into each string of each answer but those that are names of the API or addresses of
/// rules and peers, before the page sees it.
const REPLACE: &str = r#"
const evil = '"\'><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>javascript:window.hacked=3 \u202Eevil\u2066 {{7*7}} ${window.hacked=4} then accept';
const kept = new Set(['state', 'family', 'backend', 'mode', 'dataplane', 'id', 'nlri', 'time', 'since', 'expires', 'started',
  'next_try', 'paused_until', 'packets_time', 'bits_time', 'last_hit', 'event', 'verdict']);
const change = (value, key) => {
  if (typeof value === 'string') return kept.has(key) ? value : value + evil;
  if (Array.isArray(value)) return value.map((some) => change(some, key));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, some]) => [name, change(some, name)]));
  if (value === null && ['reason', 'last_error', 'unfiltered', 'dataplane_error', 'state_error', 'protected', 'inactive', 'text'].includes(key)) return evil;
  return value;
};
const json = Response.prototype.json;
Response.prototype.json = async function () { return change(await json.call(this), null); };
"#;

fn unharmed(browser: &mut Browser, place: &str) -> Result<()> {
    let hacked = browser.evaluate("window.hacked ?? null")?;
    ensure!(hacked.is_null(), "{place}: a script ran: {hacked}");
    let strange = browser.evaluate(
        "[...document.querySelectorAll('#content img, #strip img, #banner img, #toasts img, dialog img, iframe, object, embed, \
         body script, [onerror], [onclick], [onload], style, [style*=url], a[href^=javascript]')].map((e) => e.outerHTML.slice(0, 100))",
    )?;
    ensure!(strange == serde_json::json!([]), "{place}: {strange}");
    let wide = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
    ensure!(wide == 0, "{place}: it is {wide} pixels too wide");
    Ok(())
}

#[test]
fn whatever_stands_in_an_answer_is_shown_as_text() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let (daemon, _controller) = attacked(&site)?;
    let rule = daemon.rules()?.swap_remove(0);
    let mut browser = opened(&site)?;
    sign_in(&mut browser)?;
    browser.run_before_each_page(REPLACE)?;
    let one = format!("rules/{}", rule.id);
    for place in VIEWS.into_iter().chain([one.as_str(), "rules/%3Cimg%20src=x%20onerror=window.hacked=5%3E"]) {
        browser.open("about:blank")?;
        browser.open(&format!("{ADDRESS}#/{place}"))?;
        browser.wait(
            "the view",
            "document.querySelector('#content h1') && document.querySelector('#tile-peers .value')?.textContent",
        )?;
        match place {
            "" => browser.wait("problems", "document.querySelector('.problems')?.textContent.includes('onerror')")?,
            "peers" => browser.wait("peers", "document.querySelector('main').textContent.includes('<script>')")?,
            "rules" => browser.wait("rules", "document.querySelector('.rows')?.textContent.includes('onerror')")?,
            "events" => browser.wait("events", "document.querySelector('.events')?.textContent.includes('onerror')")?,
            "history" => {
                browser.wait("rules", "document.querySelector('.incidents tbody')?.textContent.includes('onerror')")?
            }
            "packet" => {
                browser.write("#p-to", "192.0.2.1")?;
                browser.write("#p-from", "198.51.100.1")?;
                browser.press("Enter")?;
                browser.wait("the tree", "document.querySelector('#explanation')?.textContent.includes('onerror')")?
            }
            "paste" => {
                browser.write("#paste", "dst 192.0.2.1/32 then discard\n<img src=x onerror=window.hacked=6>")?;
                browser.click("form button[type=submit]")?;
                browser.wait("an answer", "document.querySelector('#inspection')?.textContent.includes('onerror')")?
            }
            _ => browser.wait("a second reading", "document.querySelector('#tile-age .value')?.textContent")?,
        };
        unharmed(&mut browser, place)?;
    }
    Ok(())
}

/// The last words of a peer (RFC 9003) are what somebody else can write without asking.
#[test]
fn the_last_words_of_a_peer_are_shown_as_text() -> Result<()> {
    needs!(root, "ip", "nft", "chromium");
    let site = Site::new()?;
    let controller = scenario::listening_peer(&site, scenario::controller_config()?)?;
    let daemon = Daemon::start_with_api(&site.switch, &configuration(), &api())?;
    daemon.wait_established("controller", PATIENCE)?;
    let words = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>";
    // A NOTIFICATION: Cease, Administrative Shutdown, and the words with their length.
    let length = u16::try_from(22 + words.len())?.to_be_bytes();
    let parts = [&[0xff; 16][..], &length, &[3, 6, 2, u8::try_from(words.len())?], words.as_bytes()];
    controller.send_raw(parts.concat());
    daemon.wait_peer("controller", "its last words", PATIENCE, |peer| {
        peer.last_error.as_deref().is_some_and(|error| error.contains("onerror"))
    })?;
    let mut browser = opened(&site)?;
    for place in ["peers", "events", ""] {
        browser.open("about:blank")?;
        browser.open(&format!("{ADDRESS}#/{place}"))?;
        browser.wait("the words", "document.querySelector('main')?.textContent.includes('onerror=window.hacked=1')")?;
        unharmed(&mut browser, place)?;
    }
    Ok(())
}
