//! A program that is killed while it writes leaves a whole file, in which what was told before is.

use history::{Change, Description, IncidentFilter, Reader, Store};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The file that the child writes to: this program runs itself.
const FILE: &str = "HISTORY_FILE";

fn began(rule: u64) -> Change {
    let text = format!("dst 192.0.2.{}/32 then discard", rule % 256);
    let what = Box::new(Description { text, ..Description::default() });
    Change::Began { rule, time: 1000, what, state: "installed".to_owned(), reason: None, state_time: 1000 }
}

/// Not a test of its own: what is killed.
#[test]
fn child() {
    let Ok(file) = std::env::var(FILE) else { return };
    let mut store = Store::open(Path::new(&file)).unwrap();
    for batch in 0..u64::MAX {
        let changes: Vec<Change> = (0..50).map(|number| began(batch * 50 + number)).collect();
        store.apply(&changes).unwrap();
        println!("\nwritten {batch}");
    }
}

#[test]
fn nothing_that_was_written_is_lost_when_the_program_is_killed() {
    for kill_after in [1, 3, 20, 47] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = |line: String| line.strip_prefix("written ")?.parse::<u64>().ok();
        let written = lines.filter_map(told).nth(kill_after).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Opened as the next start of the daemon does.
        let store = Store::open(&file).unwrap();
        let found = store.open_count() as u64;
        assert!(found >= (written + 1) * 50 && found.is_multiple_of(50), "{found} of batches up to {written}");
        let whole = IncidentFilter { most: Some(1), ..IncidentFilter::default() };
        assert_eq!(Reader::open(&file).unwrap().incidents(&whole).unwrap()[0].number as u64, found);
    }
}
