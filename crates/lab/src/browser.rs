//! A real browser: Debian's Chromium without a window, driven through the DevTools protocol.
//!
//! Its messages go over two pipes (`--remote-debugging-pipe`), each JSON with a zero octet at its
//! end: that needs neither a port, nor a WebSocket, nor a driver that fits the version.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{Netns, PATIENCE, Process};

/// The program.
pub const CHROMIUM: &str = "chromium";
/// Where Chromium reads messages and where it writes them.
const DESCRIPTORS: [i32; 2] = [3, 4];

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    /// Before the process, so that its pipe is closed first.
    to: File,
    from: Receiver<Value>,
    process: Process,
    _profile: tempfile::TempDir,
    last: u64,
    session: Option<String>,
    /// What the browser said beside its answers.
    events: Vec<Value>,
}

impl Browser {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(netns: &Netns) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut command = netns.command(CHROMIUM)?;
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
            "--window-size=1280,900",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path());
        let (reads, to) = std::io::pipe()?;
        let (from, writes) = std::io::pipe()?;
        let ends = [reads.as_raw_fd(), writes.as_raw_fd()];
        // SAFETY: between fork and exec only system calls are made, on values prepared before. The
        // ends are moved out of the way first, as one may have the number that the other shall get.
        unsafe {
            command.pre_exec(move || {
                let mut moved = [0; 2];
                for (place, end) in moved.iter_mut().zip(ends) {
                    *place = libc::fcntl(end, libc::F_DUPFD_CLOEXEC, 10);
                    if *place < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                for (end, wanted) in moved.into_iter().zip(DESCRIPTORS) {
                    if libc::dup2(end, wanted) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
        let process = Process::spawn(CHROMIUM, command)?;
        drop((reads, writes));
        let (sender, receiver) = channel();
        let from = File::from(std::os::fd::OwnedFd::from(from));
        std::thread::Builder::new().name("chromium".to_owned()).spawn(move || {
            let mut reader = BufReader::new(from);
            let mut message = Vec::new();
            while reader.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                let text = message.strip_suffix(&[0]).unwrap_or(&message);
                let Ok(value) = serde_json::from_slice(text) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        })?;
        let to = File::from(std::os::fd::OwnedFd::from(to));
        let mut browser =
            Browser { to, from: receiver, process, _profile: profile, last: 0, session: None, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Asks something of the protocol.
    ///
    /// # Errors
    /// The browser refuses, or is gone.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut octets = serde_json::to_vec(&message)?;
        octets.push(0);
        self.to.write_all(&octets).with_context(|| format!("{method}: {}", self.process.log()))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let answer = match self.from.recv_timeout(left) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => bail!("{method}: no answer"),
                Err(RecvTimeoutError::Disconnected) => bail!("{method}: it ended: {}", self.process.log()),
            };
            if answer["id"] == json!(self.last) {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
            self.events.push(answer);
        }
    }

    /// Opens an address and waits until its scripts have begun.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn open(&mut self, address: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": address }))?;
        ensure!(answer["errorText"].is_null(), "{address}: {}", answer["errorText"]);
        self.wait("the page", "document.readyState === 'complete'").map(|_| ())
    }

    /// The value of an expression, which may be a promise.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters)?;
        ensure!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]["exception"]["description"]
        );
        Ok(answer["result"]["value"].clone())
    }

    /// The text of an expression.
    ///
    /// # Errors
    /// It throws, or is no text.
    pub fn text(&mut self, expression: &str) -> Result<String> {
        let value = self.evaluate(expression)?;
        value.as_str().map(str::to_owned).with_context(|| format!("{expression} is {value}"))
    }

    /// Waits until an expression is true in the sense of JavaScript, and returns its value.
    ///
    /// # Errors
    /// It never is; with what the page shows.
    pub fn wait(&mut self, what: &str, expression: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            // While a page is being left, there is nothing to evaluate in.
            let value = self.evaluate(expression);
            if let Ok(value) = &value
                && !matches!(value, Value::Null | Value::Bool(false))
                && value != ""
                && value != 0
            {
                return Ok(value.clone());
            }
            if Instant::now() >= end {
                let shown = self.text("document.body.innerText").unwrap_or_default();
                bail!("still waiting for {what}: {expression} is {value:?}; {:?}\n{shown}", self.complaints());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits for an element and clicks it, as a user does: with its middle in sight and nothing
    /// above it.
    ///
    /// # Errors
    /// There is none.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let place = format!(
            "(() => {{ const e = document.querySelector({0}); if (!e || e.disabled) return null; \
             e.scrollIntoView({{ block: 'nearest' }}); const b = e.getBoundingClientRect(); \
             const [x, y] = [b.x + b.width / 2, b.y + b.height / 2]; \
             return e.contains(document.elementFromPoint(x, y)) ? {{ x, y }} : null; }})()",
            json!(selector)
        );
        let place = self.wait(selector, &place)?;
        for kind in ["mousePressed", "mouseReleased"] {
            let parameters =
                json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", parameters)?;
        }
        Ok(())
    }

    /// Waits for a field, and types into it in the place of what it has.
    ///
    /// # Errors
    /// There is none.
    pub fn write(&mut self, selector: &str, text: &str) -> Result<()> {
        let selector = json!(selector);
        self.wait(
            "a field",
            &format!("(() => {{ const e = document.querySelector({selector}); e?.focus(); e?.select?.(); return e !== null; }})()"),
        )?;
        if text.is_empty() {
            return self.press("Backspace");
        }
        self.call("Input.insertText", json!({ "text": text })).map(|_| ())
    }

    /// Chooses a value of a list.
    ///
    /// # Errors
    /// There is no such list.
    pub fn choose(&mut self, selector: &str, value: &str) -> Result<()> {
        let (selector, value) = (json!(selector), json!(value));
        self.wait(
            "a list",
            &format!(
                "(() => {{ const e = document.querySelector({selector}); if (!e) return false; e.value = {value}; \
                 e.dispatchEvent(new Event('change', {{ bubbles: true }})); return e.value === {value}; }})()"
            ),
        )
        .map(|_| ())
    }

    /// Presses a key, such as `Enter`, `Tab`, `ArrowDown`, `Escape`.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "Backspace" => (8, ""),
            "ArrowDown" => (40, ""),
            "ArrowUp" => (38, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            _ => bail!("no key {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut parameters = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                parameters["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", parameters)?;
        }
        Ok(())
    }

    /// The size of the page, and whether it is a phone's.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn resize(&mut self, width: u32, height: u32, is_phone: bool) -> Result<()> {
        let scale = if is_phone { 2 } else { 1 };
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", parameters).map(|_| ())
    }

    /// Whether the system's colours are dark.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn set_dark(&mut self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let parameters = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", parameters).map(|_| ())
    }

    /// A script that each page runs before its own.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn run_before_each_page(&mut self, script: &str) -> Result<()> {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).map(|_| ())
    }

    /// What is in sight, as PNG.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn screenshot(&mut self, path: &Path) -> Result<()> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = answer["data"].as_str().context("no picture")?;
        std::fs::write(path, base64(data)?).with_context(|| path.display().to_string())
    }

    /// Exceptions, and what the browser refused or complained about, since the last call.
    pub fn complaints(&mut self) -> Vec<String> {
        let complaint = |event: &Value| {
            let parameters = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
                "Log.entryAdded" if parameters["entry"]["level"] == "error" => Some(parameters["entry"].to_string()),
                "Runtime.consoleAPICalled" if parameters["type"] == "error" => Some(parameters["args"].to_string()),
                _ => None,
            }
        };
        let events = std::mem::take(&mut self.events);
        events.iter().filter_map(complaint).collect()
    }

    /// The requests that were sent since the last call of this or of [`Self::complaints`], and the
    /// octets that came for them.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn take_requests(&mut self) -> Result<(Vec<String>, u64)> {
        // What was said before this is here then.
        self.evaluate("0")?;
        let events = std::mem::take(&mut self.events);
        let of = |method: &'static str| events.iter().filter(move |event| event["method"] == method);
        let sent = of("Network.requestWillBeSent").filter_map(|event| event["params"]["request"]["url"].as_str());
        let sent = sent.map(str::to_owned).collect();
        let octets = of("Network.loadingFinished").filter_map(|event| event["params"]["encodedDataLength"].as_f64());
        Ok((sent, octets.sum::<f64>() as u64))
    }
}

/// Octets of base64 (RFC 4648 §4).
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("no base64"),
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_read() {
        for (text, octets) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9vYg==", b"foob"), ("+/8=", &[251, 255])]
        {
            assert_eq!(super::base64(text).unwrap(), octets, "{text}");
        }
        assert!(super::base64("Z g=").is_err());
    }
}
