//! `make demo`: it succeeds if every step has the described result, fails otherwise, and leaves
//! nothing on the machine either way.

use std::process::Command;

use anyhow::{Result, ensure};
use lab::{PATIENCE, Process, needs};

fn demo(arguments: &[&str]) -> Result<Process> {
    // Where the demo finds the program, built first if it has to be.
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(arguments).env("FLOODGATE", lab::daemon::program()?);
    Process::spawn("demo", command)
}

/// Namespaces that the process made are named after it.
fn nothing_left(of: u32) -> Result<()> {
    let listed = String::from_utf8(Command::new("ip").args(["netns", "list"]).output()?.stdout)?;
    let left: Vec<&str> = listed.lines().filter(|name| name.starts_with(&format!("fg-{of}-"))).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The picture of the README has no line that the demo does not print, numbers apart.
fn picture_shows(log: &str) -> Result<()> {
    const PICTURE: &str = include_str!("../../../docs/demo.svg");
    let without_numbers = |text: &str| {
        let numbers = |character: char| if character.is_ascii_digit() { '0' } else { character };
        let words: Vec<String> = text.split_whitespace().map(|word| word.chars().map(numbers).collect()).collect();
        let mut words = words.join(" ");
        while words.contains("00") {
            words = words.replace("00", "0");
        }
        words
    };
    let printed: Vec<String> = log.lines().map(without_numbers).collect();
    let pieces: Vec<&str> =
        PICTURE.lines().filter_map(|line| line.split_once("</text>")?.0.rsplit('>').next()).collect();
    ensure!(pieces.len() > 20, "the picture has {} pieces of text", pieces.len());
    for piece in pieces.into_iter().filter(|piece| *piece != "$ make demo") {
        let text = without_numbers(&piece.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
        ensure!(
            printed.iter().any(|line| line.contains(&text)),
            "the picture shows {piece:?}, the demo does not: `make picture` makes it anew"
        );
    }
    Ok(())
}

#[test]
fn all_is_as_told() -> Result<()> {
    needs!(root, "ip", "nft");
    let mut demo = demo(&[])?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.success(), "{status}\n{}", demo.log());
    for line in ["2000 sent    2000 arrived", "2000 sent       0 arrived", "All of this was as told."] {
        ensure!(demo.log().contains(line), "no {line:?} in\n{}", demo.log());
    }
    let log = demo.log();
    let counts = |line: &str| line.contains(" installed ") && line.split_whitespace().any(|word| word == "2000");
    ensure!(log.lines().any(counts), "no rule in force that counted 2000 packets in\n{log}");
    picture_shows(&log)?;
    nothing_left(demo.pid())
}

#[test]
fn it_fails_when_nothing_is_dropped() -> Result<()> {
    needs!(root, "ip", "nft");
    // A data plane that shows rules as installed and installs nothing.
    let mut demo = demo(&["--backend", "none"])?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.code() == Some(1), "{status}\n{}", demo.log());
    ensure!(demo.log().contains("NOT AS TOLD: with the filter no packet"), "{}", demo.log());
    nothing_left(demo.pid())
}

#[test]
fn interrupted_it_cleans_up() -> Result<()> {
    needs!(root, "ip", "nft");
    let mut demo = demo(&[])?;
    demo.wait_for_line("misused NTP servers", PATIENCE)?;
    demo.signal(lab::Signal::INT)?;
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.code() == Some(130), "{status}\n{}", demo.log());
    nothing_left(demo.pid())
}

/// With `--page` it prints an address of this machine at which the daemon's page is.
#[test]
fn the_page_is_where_it_says() -> Result<()> {
    needs!(root, "ip", "nft", "curl");
    let mut demo = demo(&["--page"])?;
    let line = demo.wait_for_line("The page: http://", PATIENCE)?;
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
    let page = Command::new("curl").args(["-sf", "--noproxy", "*", &address]).output()?;
    ensure!(String::from_utf8_lossy(&page.stdout).contains("<title>Floodgate</title>"), "{address}: {page:?}");
    let status = demo.wait_for_exit(PATIENCE)?;
    ensure!(status.success(), "{status}\n{}", demo.log());
    nothing_left(demo.pid())
}
