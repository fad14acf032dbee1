//! A full disk at any moment: what was acknowledged survives a crash, what could not be saved is
//! reported, and everything recovers when there is room.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flowspec::testing::Seed;
use lab::{Daemon, Site, needs};

use crate::place::configuration;
use crate::{PATIENCE, amount, seed};

/// A small file system on a directory, taken away with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path, octets: u64) -> Result<Self> {
        let options = format!("size={octets}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory)
            .status()?;
        ensure!(mounted.success(), "mount");
        Ok(Self(directory.to_owned()))
    }

    /// Fills it but for so many octets of room.
    fn fill(&self, room: u64) -> Result<()> {
        let mut file = fs::File::options().create(true).append(true).open(self.0.join("fill"))?;
        while file.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(room))?)
    }

    fn free(&self) -> Result<()> {
        let fill = self.0.join("fill");
        if fill.exists() { Ok(fs::remove_file(fill)?) } else { Ok(()) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What has to be there after a crash.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Saved {
    Yes,
    No,
    /// It could not be saved, and that was told.
    Perhaps,
}

fn rule(number: u64) -> String {
    format!("dst 198.51.{}.{}/32 then discard", number / 256, number % 256)
}

/// Announces or withdraws a rule; whether it could be saved.
fn change(daemon: &Daemon<'_>, seed: &mut Seed, rules: &mut BTreeMap<String, Saved>) -> Result<bool> {
    // Few rules: they come and go.
    let text = rule(seed.below(60));
    let known = rules.get(&text).copied().unwrap_or(Saved::No);
    let announce = known != Saved::Yes;
    let result = daemon.cli(&[if announce { "announce" } else { "withdraw" }, &text]);
    let saved = match &result {
        Ok(_) => true,
        Err(error) => {
            let words = format!("{error:#}");
            // One that was not saved may have been lost in a crash.
            ensure!(words.contains("would not outlive a restart") || words.contains("no such rule"), "{words}");
            false
        }
    };
    let now = match (saved, announce) {
        (true, true) => Saved::Yes,
        (true, false) => Saved::No,
        (false, _) => Saved::Perhaps,
    };
    rules.insert(text, now);
    Ok(saved)
}

/// Compares what is in force with what has to be, and takes over what was open.
fn compare(daemon: &Daemon<'_>, rules: &mut BTreeMap<String, Saved>) -> Result<()> {
    let there: Vec<String> = daemon.rules()?.into_iter().map(|rule| rule.text).collect();
    for (text, kept) in rules.iter_mut() {
        let found = there.contains(text);
        ensure!(*kept == Saved::Perhaps || found == (*kept == Saved::Yes), "{text}: {kept:?}, and found: {found}");
    }
    let unknown: Vec<&String> = there.iter().filter(|text| !rules.contains_key(*text)).collect();
    ensure!(unknown.is_empty(), "{unknown:?}");
    Ok(())
}

#[test]
fn torture_full_disk() -> Result<()> {
    needs!(root, "nft", "mount");
    let count = amount(4, 400);
    let site = Site::new()?;
    let configuration = configuration("nftables").replace("[router]\n", "[router]\nlisten = []\n");
    let mut daemon = Daemon::start(&site.switch, &configuration)?;
    daemon.stop()?;
    let directory = daemon.configuration().parent().context("a directory")?.to_owned();
    let mut seed = seed("full disk")?;
    let disk = SmallDisk::mount(&directory, 256 << 10)?;
    daemon.configure(&configuration)?;
    daemon.launch()?;
    let mut rules = BTreeMap::new();
    let began = Instant::now();
    let (mut kills, mut unsaved, mut saved) = (0, 0, 0);
    for round in 0..count {
        let step = (|| -> Result<()> {
            for _ in 0..seed.below(6) {
                ensure!(change(&daemon, &mut seed, &mut rules)?, "not saved, and there is room");
                saved += 1;
            }
            disk.fill([0, 1, 100, 4096, 8192][seed.below(5) as usize])?;
            for _ in 0..seed.below(30) {
                match change(&daemon, &mut seed, &mut rules)? {
                    true => saved += 1,
                    false => unsaved += 1,
                }
            }
            if seed.percent(60) {
                daemon.kill()?;
                kills += 1;
                // Also while there is no room for anything.
                daemon.launch().context("a start with a full disk")?;
                compare(&daemon, &mut rules)?;
            }
            disk.free()?;
            daemon.wait_status("the end of the trouble", PATIENCE, |status| status.state_error.is_none())?;
            // Now everything that is in force is saved.
            let there: Vec<String> = daemon.rules()?.into_iter().map(|rule| rule.text).collect();
            for (text, kept) in &mut rules {
                if *kept == Saved::Perhaps {
                    *kept = if there.contains(text) { Saved::Yes } else { Saved::No };
                }
            }
            if seed.percent(60) {
                daemon.kill()?;
                kills += 1;
                daemon.launch()?;
            }
            compare(&daemon, &mut rules)
        })();
        step.with_context(|| format!("round {round}\n{}", daemon.explain()))?;
    }
    println!(
        "{count} times a full disk in {:.0?}: {saved} changes saved, {unsaved} told as not saved, {kills} kills, 0 saved changes lost",
        began.elapsed()
    );
    ensure!(unsaved > 0 && kills > 0, "the disk was never full");
    Ok(())
}
