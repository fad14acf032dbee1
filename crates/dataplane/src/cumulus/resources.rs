//! Usage of the ASIC's tables as reported by switchd: `cl-resource-query`, if the switch has it.
//!
//! Rules may be in the kernel and not in the ASIC. The kernel's listing does not show that; this
//! does. It runs in parallel with everything else, so that a slow answer does not delay a change.

use super::settings::Settings;
use flowspec::IpVersion;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program, in the directory of cl-acltool.
const PROGRAM: &str = "cl-resource-query";

/// How often it runs.
const INTERVAL: Duration = Duration::from_secs(60);

/// How soon it runs after a change.
const AFTER_CHANGE: Duration = Duration::from_secs(2);

/// Timeout of a run.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Entries of the ASIC's ingress tables, as far as they are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Of IPv4 (on Broadcom also of rules for MAC addresses).
    pub(super) v4: Option<Used>,
    /// Of IPv6.
    pub(super) v6: Option<Used>,
    /// Port range checkers.
    pub(super) ranges: Option<Used>,
}

/// Usage of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Number in use.
    pub(super) count: u64,
    /// The maximum, if it is reported.
    pub(super) most: Option<u64>,
}

impl Used {
    fn plus(self, other: Used) -> Used {
        let most = self.most.zip(other.most).map(|(one, another)| one + another);
        Used { count: self.count + other.count, most }
    }
}

impl Resources {
    /// Parses the output of `cl-resource-query`: on Broadcom `Ingress ACL ipv4_mac filter table:
    /// 36,  14% of maximum value  256 (allocated: 256)`, on Spectrum, from 4.4 on, `Ingress ACL
    /// ipv4 mangle table:  0  18B : 0 36B : 0 54B : 0`. Up to 4.3 Spectrum prints Broadcom's lines
    /// with 0 of 0 in them, which say nothing.
    pub(super) fn read(text: &str) -> Self {
        let mut found = Resources::default();
        for line in text.lines() {
            let Some((name, values)) = line.trim().split_once(':') else { continue };
            let words: Vec<&str> = name.split_whitespace().collect();
            let resource = match words[..] {
                ["Ingress", "ACL", "ipv4" | "ipv4_mac", "filter" | "mangle", "table"] => &mut found.v4,
                ["Ingress", "ACL", "ipv6", "filter" | "mangle", "table"] => &mut found.v6,
                ["ACL", "L4", "port", "range", "checkers"] => &mut found.ranges,
                _ => continue,
            };
            let Some(used) = used(values) else { continue };
            *resource = Some(resource.map_or(used, |before| before.plus(used)));
        }
        found
    }

    /// Why the rules cannot all be in the ASIC, if so: each line of the policy file takes at least
    /// one entry.
    pub(super) fn missing_from_hardware(&self, lines: (u64, u64)) -> Option<String> {
        [(IpVersion::V4, self.v4, lines.0), (IpVersion::V6, self.v6, lines.1)].into_iter().find_map(|(version, used, lines)| {
            let used = used.map(|used| used.count).filter(|used| *used < lines)?;
            let name = if version == IpVersion::V4 { "IPv4" } else { "IPv6" };
            Some(format!(
                "cl-resource-query shows {used} {name} ACL entries in use, and ours alone take {lines}: rules are in the kernel that are not in the hardware"
            ))
        })
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = [(self.v4, "IPv4 entries"), (self.v6, "IPv6 entries"), (self.ranges, "port range checkers")];
        let mut separator = "";
        for (used, name) in resources {
            match used {
                None => continue,
                Some(Used { count, most: Some(most) }) => write!(f, "{separator}{count} of {most} {name}")?,
                Some(Used { count, most: None }) => write!(f, "{separator}{count} {name}")?,
            }
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("nothing that is known") } else { Ok(()) }
    }
}

/// Parses `36,  14% of maximum value  256`, or a number alone. `None` for anything else, or for a
/// table without any room.
fn used(values: &str) -> Option<Used> {
    let (count, rest) = values.trim().split_once([',', ' ']).unwrap_or((values.trim(), ""));
    let most = rest.split_once("maximum value").and_then(|(_, most)| most.split_whitespace().next()?.parse().ok());
    let used = Used { count: count.parse().ok()?, most };
    (used.most != Some(0)).then_some(used)
}

/// Runs it and waits for its output; `None` if the switch has no such program.
pub(super) fn query(settings: &Settings) -> Option<Resources> {
    let output = Command::new(settings.tool.with_file_name(PROGRAM)).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| Resources::read(&String::from_utf8_lossy(&output.stdout)))
}

/// Runs it at intervals, without blocking.
#[derive(Debug)]
pub(super) struct ResourceQuery {
    program: PathBuf,
    running: Option<(Child, File, Instant)>,
    next: Instant,
    /// The last output.
    latest: Option<Resources>,
}

impl ResourceQuery {
    /// The program beside cl-acltool.
    pub(super) fn new(settings: &Settings) -> Self {
        let program = settings.tool.with_file_name(PROGRAM);
        ResourceQuery { program, running: None, next: Instant::now(), latest: None }
    }

    /// The last output, if it is still valid.
    pub(super) const fn latest(&self) -> Option<Resources> {
        self.latest
    }

    /// Rules have changed: the last output is no longer valid.
    pub(super) fn changed(&mut self) {
        self.stop();
        self.latest = None;
        self.next = Instant::now() + AFTER_CHANGE;
    }

    /// Starts it or reads its answer; never blocks. True when there is a new answer.
    pub(super) fn poll(&mut self) -> bool {
        if let Some((child, _, since)) = &mut self.running {
            match child.try_wait() {
                Ok(None) if since.elapsed() < ANSWER_TIMEOUT => return false,
                Ok(Some(status)) if status.success() => {
                    let output = self.running.take().map(|(_, output, _)| text_of(&output)).unwrap_or_default();
                    self.latest = Some(Resources::read(&output));
                    return true;
                }
                _ => self.stop(),
            }
        }
        if self.next <= Instant::now() {
            self.next = Instant::now() + INTERVAL;
            self.start();
        }
        false
    }

    fn start(&mut self) {
        if !self.program.exists() {
            return;
        }
        let output = rustix::fs::memfd_create("cl-resource-query", rustix::fs::MemfdFlags::CLOEXEC).map(File::from);
        let Ok(output) = output else { return };
        let Ok(writer) = output.try_clone() else { return };
        let child = Command::new(&self.program).stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn();
        self.running = child.ok().map(|child| (child, output, Instant::now()));
    }

    fn stop(&mut self) {
        if let Some((mut child, _, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for ResourceQuery {
    fn drop(&mut self) {
        self.stop();
    }
}

fn text_of(output: &File) -> String {
    let mut octets = vec![0; 1 << 16];
    let read = output.read_at(&mut octets, 0).unwrap_or_default();
    String::from_utf8_lossy(&octets[..read]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manuals_listing_is_read() {
        // "Resource Diagnostics Using cl-resource-query" of 3.7, a Tomahawk.
        let text = "IPv4/IPv6 host entries:                 0,   0% of maximum value  40960\n\
            IPv4 neighbors:                         0\n\
            Ingress ACL entries:                  195,  12% of maximum value   1536\n\
            Ingress ACL ipv4_mac filter table:     36,  14% of maximum value    256 (allocated: 256)\n\
            Ingress ACL ipv6 filter table:         29,  11% of maximum value    256 (allocated: 256)\n\
            Ingress ACL mirror table:               0,   0% of maximum value      0 (allocated: 0)\n\
            Ingress PBR ipv4_mac filter table:      0,   0% of maximum value      0 (allocated: 0)\n\
            Ingress ACL ipv4_mac mangle table:      0,   0% of maximum value      0 (allocated: 0)\n\
            Egress ACL ipv4_mac filter table:      29,  11% of maximum value    256 (allocated: 256)\n\
            ACL L4 port range checkers:             2,   6% of maximum value     32\n";
        let read = Resources::read(text);
        // The mangle tables have nothing allocated.
        let used = |count, most| Some(Used { count, most: Some(most) });
        assert_eq!(read, Resources { v4: used(36, 256), v6: used(29, 256), ranges: used(2, 32) });
        assert_eq!(read.to_string(), "36 of 256 IPv4 entries, 29 of 256 IPv6 entries, 2 of 32 port range checkers");
        assert_eq!(read.missing_from_hardware((36, 29)), None);
        assert!(
            read.missing_from_hardware((37, 0))
                .unwrap()
                .contains("shows 36 IPv4 ACL entries in use, and ours alone take 37")
        );
        assert!(read.missing_from_hardware((0, 30)).unwrap().contains("IPv6"));
        // The same page, a Spectrum: none of it can be used.
        let text = "Ingress ACL entries:                    0,   0% of maximum value      0\n\
            Ingress ACL ipv4_mac filter table:      0,   0% of maximum value      0 (allocated: 0)\n\
            Ingress ACL ipv6 filter table:          0,   0% of maximum value      0 (allocated: 0)\n\
            ACL L4 port range checkers:             0,   0% of maximum value      0\n\
            ACL Regions:                            4,   1% of maximum value    400\n\
            ACL 18B Rules Key:                      2,   0% of maximum value   2256\n";
        assert_eq!(Resources::read(text), Resources::default());
        assert_eq!(Resources::read(text).missing_from_hardware((1000, 1000)), None);
        // The page of 4.4 to 5.17, a Spectrum-2 (numbers of ours in two lines).
        let text = "Ingress ACL entries:                    0\n\
            ACL Regions:                            4,   1% of maximum value    400\n\
            ACL 18B Rules Key:                      1,   0% of maximum value  57476\n\
            Ingress ACL mac filter table:           0    18B : 0 36B : 0 54B : 0 \n\
            Ingress ACL ipv4 filter table:          7    18B : 7 36B : 0 54B : 0 \n\
            Ingress ACL ipv6 filter table:          0    18B : 0 36B : 0 54B : 0 \n\
            Egress ACL ipv4 filter table:           0    18B : 0 36B : 0 54B : 0 \n\
            Ingress ACL ipv4 mangle table:          5    18B : 5 36B : 0 54B : 0 \n\
            Ingress PBR ipv4 filter table:          0    18B : 0 36B : 0 54B : 0 \n";
        let used = |count| Some(Used { count, most: None });
        let read = Resources::read(text);
        assert_eq!(read, Resources { v4: used(12), v6: used(0), ranges: None });
        assert_eq!(read.missing_from_hardware((12, 0)), None);
        assert!(read.missing_from_hardware((13, 0)).unwrap().contains("shows 12 IPv4 ACL entries in use"));
        // What is not reported contradicts nothing.
        assert_eq!(Resources::read("something else\n").missing_from_hardware((1000, 1000)), None);
    }
}
