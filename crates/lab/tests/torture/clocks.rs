//! Crashes, suspended machines, reboots and clocks that are set: no lifetime of a rule is shorter
//! than asked, and each ends.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flowspec::testing::Seed;
use lab::{Daemon, Site, needs, wait_until};
use rustix::mount::mount_bind;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::place::configuration;
use crate::{PATIENCE, amount, seed};

/// What a start of the daemon sees of the machine's clocks.
#[derive(Clone, Debug)]
struct Machine {
    /// Seconds that its time since the boot is ahead of the real one's.
    ahead: i64,
    /// Which boot it is.
    boot: u64,
}

impl Machine {
    /// Starts the daemon in this machine's time.
    fn launch(&self, daemon: &mut Daemon<'_>, scratch: &Path) -> Result<()> {
        let id = scratch.join("boot_id");
        fs::write(&id, format!("00000000-0000-4000-8000-{:012x}\n", self.boot))?;
        let id = CString::new(id.as_os_str().as_bytes())?;
        let offset = format!("boottime {} 0\n", self.ahead);
        daemon.launch_with(move |command: &mut Command| {
            let prepare = move || -> io::Result<()> {
                // SAFETY: no other thread of this process shares what is left.
                unsafe { unshare_unsafe(UnshareFlags::NEWTIME) }?;
                fs::write("/proc/self/timens_offsets", &offset)?;
                Ok(mount_bind(id.as_c_str(), c"/proc/sys/kernel/random/boot_id")?)
            };
            // SAFETY: between fork and exec only system calls are made, on values prepared before.
            unsafe { command.pre_exec(prepare) };
        })
    }
}

/// A rule that is to last for a time.
struct Life {
    text: String,
    /// On the clock below.
    began: Duration,
    length: Duration,
}

/// At most so much time has passed for rules: really, asleep, and since boots.
struct Elapsed {
    began: Instant,
    more: Duration,
}

impl Elapsed {
    fn now(&self) -> Duration {
        self.began.elapsed() + self.more
    }
}

/// Forgets lives that have ended, and complains of those that ended too early.
fn look(daemon: &Daemon<'_>, elapsed: &Elapsed, lives: &mut Vec<Life>) -> Result<()> {
    let there: Vec<String> = daemon.rules()?.into_iter().map(|rule| rule.text).collect();
    let now = elapsed.now();
    for life in lives.iter().filter(|life| !there.contains(&life.text)) {
        let lived = now.saturating_sub(life.began);
        ensure!(lived >= life.length, "{} ended after {lived:?}, not {:?}", life.text, life.length);
    }
    lives.retain(|life| there.contains(&life.text));
    Ok(())
}

fn announce(daemon: &Daemon<'_>, seed: &mut Seed, elapsed: &Elapsed, number: u32) -> Result<Life> {
    let text = format!("dst 10.5.{}.{}/32 then discard", number / 256, number % 256);
    let (began, length) = (elapsed.now(), Duration::from_millis(seed.within(500, 20_000)));
    daemon.cli(&["announce", &text, "--for", &format!("{}ms", length.as_millis())])?;
    Ok(Life { text, began, length })
}

fn without_bgp(backend: &str) -> String {
    configuration(backend).replace("[router]\n", "[router]\nlisten = []\n")
}

#[test]
fn torture_clocks() -> Result<()> {
    needs!(root, "ip");
    let count = amount(8, 400);
    let site = Site::new()?;
    let scratch = tempfile::tempdir()?;
    let mut daemon = Daemon::start(&site.switch, &without_bgp("none"))?;
    daemon.kill()?;
    fs::remove_file(daemon.configuration().with_file_name("state"))?;
    let mut seed = seed("clocks")?;
    let mut machine = Machine { ahead: 0, boot: 1 };
    let mut elapsed = Elapsed { began: Instant::now(), more: Duration::ZERO };
    machine.launch(&mut daemon, scratch.path())?;
    let (mut lives, mut made, mut boots, mut sleeps) = (Vec::new(), 0, 0, 0);
    for round in 0..count {
        let step = (|| -> Result<()> {
            for _ in 0..seed.below(4) {
                lives.push(announce(&daemon, &mut seed, &elapsed, made)?);
                made += 1;
            }
            look(&daemon, &elapsed, &mut lives)?;
            daemon.kill()?;
            let seconds = seed.below(8);
            match seed.below(3) {
                0 => {}
                // The machine slept.
                1 => {
                    machine.ahead += seconds as i64;
                    elapsed.more += Duration::from_secs(seconds);
                    sleeps += 1;
                }
                // It was off, for a time that nobody knows, and is up again for so long.
                _ => {
                    let up = clock_gettime(ClockId::Boottime).tv_sec;
                    machine = Machine { ahead: seconds as i64 - up, boot: machine.boot + 1 };
                    elapsed.more += Duration::from_secs(seconds + 1);
                    boots += 1;
                }
            }
            machine.launch(&mut daemon, scratch.path())?;
            look(&daemon, &elapsed, &mut lives)
        })();
        step.with_context(|| format!("round {round}, {machine:?}\n{}", daemon.explain()))?;
    }
    wait_until("the end of all lives", PATIENCE, || {
        look(&daemon, &elapsed, &mut lives).map(|()| lives.is_empty().then_some(())).transpose()
    })
    .with_context(|| daemon.explain())??;
    println!(
        "{count} crashes in {:.0?}, {sleeps} of them of a machine asleep, {boots} with another boot: {made} lives, 0 shorter than asked, 0 without an end",
        elapsed.began.elapsed()
    );
    Ok(())
}

/// Puts the machine's clock right again.
struct WallClock {
    wall: Timespec,
    since: Instant,
}

impl Drop for WallClock {
    fn drop(&mut self) {
        let seconds = i64::try_from(self.since.elapsed().as_secs()).unwrap_or_default();
        let _ = clock_settime(ClockId::Realtime, Timespec { tv_sec: self.wall.tv_sec + seconds, ..self.wall });
    }
}

#[test]
#[ignore = "it sets the machine's clock; make kernels runs it on machines of its own"]
fn torture_wall_clock() -> Result<()> {
    needs!(root, "ip");
    ensure!(lab::is_emulated(), "it would set this machine's clock");
    let site = Site::new()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("nftables"))?;
    let one = crate::place::speaker(&site, crate::place::SECOND)?;
    daemon.wait_established("one", PATIENCE)?;
    let mut seed = seed("wall clock")?;
    let elapsed = Elapsed { began: Instant::now(), more: Duration::ZERO };
    let _clock = WallClock { wall: clock_gettime(ClockId::Realtime), since: Instant::now() };
    let (mut lives, mut crashes) = (Vec::new(), 0);
    for round in 0..40 {
        let step = (|| -> Result<()> {
            lives.push(announce(&daemon, &mut seed, &elapsed, round)?);
            // From 1970 to 2100.
            let seconds = i64::try_from(seed.within(1, 4_102_444_800))?;
            clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: 0 })?;
            look(&daemon, &elapsed, &mut lives)?;
            if round % 8 == 7 {
                daemon.kill()?;
                daemon.launch()?;
                crashes += 1;
                daemon.wait_established("one", PATIENCE)?;
            }
            daemon.status()?;
            look(&daemon, &elapsed, &mut lives)
        })();
        step.with_context(|| format!("round {round}\n{}", daemon.explain()))?;
    }
    ensure!(one.status().sessions == crashes + 1, "a session was lost: {:?}", one.status());
    wait_until("the end of all lives", PATIENCE, || {
        look(&daemon, &elapsed, &mut lives).map(|()| lives.is_empty().then_some(())).transpose()
    })
    .with_context(|| daemon.explain())??;
    println!(
        "40 times another time of day in {:.0?}, {crashes} crashes: 0 sessions lost, 0 lives shorter than asked",
        elapsed.began.elapsed()
    );
    Ok(())
}
