use super::*;
use crate::{Description, IncidentFilter, Reader, Store};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn settings(directory: &Path) -> Settings {
    Settings { file: directory.join("history"), keep: Duration::from_secs(3600), size: 100 << 20, reserve: 0 }
}

fn began(rule: u64) -> Change {
    let what = Description { text: format!("dst 192.0.2.{rule}/32 then discard"), ..Description::default() };
    Change::Began {
        rule,
        time: 1000,
        what: Box::new(what),
        state: "installed".to_owned(),
        reason: None,
        state_time: 1000,
    }
}

/// Sends until this is so.
fn until(recorder: &Recorder, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        let _ = recorder.try_send(vec![began(7)]);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rules(directory: &Path) -> Vec<u64> {
    let read = || Reader::open(&directory.join("history")).ok()?.incidents(&IncidentFilter::default()).ok();
    read().unwrap_or_default().iter().map(|incident| incident.rule).collect()
}

#[test]
fn what_is_in_the_queue_at_the_end_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::start_with(settings(directory.path()), RETRY, LONG).unwrap();
    recorder.try_send(vec![began(1)]).unwrap();
    recorder.try_send(vec![began(2)]).unwrap();
    drop(recorder);
    assert_eq!(rules(directory.path()), [2, 1]);
}

/// Who has nothing new to tell is asked for all that there is.
#[test]
fn what_failed_is_tried_again_although_nothing_new_comes() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("history"), "this is no database").unwrap();
    let recorder = Recorder::start_with(settings(directory.path()), Duration::from_millis(1), LONG).unwrap();
    recorder.try_send(vec![began(1)]).unwrap();
    let end = Instant::now() + LONG;
    while !recorder.wants_all() {
        assert!(Instant::now() < end, "nobody asks");
        std::thread::sleep(Duration::from_millis(5));
    }
    recorder.try_send(vec![began(1)]).unwrap();
    drop(recorder);
    assert_eq!(rules(directory.path()), [1]);
}

#[test]
fn what_others_need_of_the_disk_is_left_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { reserve: u64::MAX, ..settings(directory.path()) };
    let recorder = Recorder::start_with(settings, Duration::from_millis(1), LONG).unwrap();
    until(&recorder, "changes are lost", || recorder.lost() > 10);
    assert!(!directory.path().join("history").exists());
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(&directory.path().join("history")).unwrap());
    let newer = rusqlite::Connection::open(directory.path().join("history")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.pragma_update(None, "journal_mode", "DELETE").unwrap();
    drop(newer);
    let before = std::fs::read(directory.path().join("history")).unwrap();
    let recorder = Recorder::start_with(settings(directory.path()), Duration::from_millis(1), LONG).unwrap();
    until(&recorder, "changes are lost", || recorder.lost() > 10);
    drop(recorder);
    assert_eq!(std::fs::read(directory.path().join("history")).unwrap(), before);
    let error = Store::open(&directory.path().join("history")).unwrap_err().to_string();
    assert!(error.contains("newer version of floodgate (format 99"), "{error}");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(directory.path().join("history")).unwrap();
    other.execute_batch("CREATE TABLE birds (name TEXT)").unwrap();
    drop(other);
    let recorder = Recorder::start_with(settings(directory.path()), Duration::from_millis(1), LONG).unwrap();
    until(&recorder, "changes are lost", || recorder.lost() > 10);
    drop(recorder);
    let other = rusqlite::Connection::open(directory.path().join("history")).unwrap();
    let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
    for damage in ["all", "a page"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history");
        let mut store = Store::open(&file).unwrap();
        store.apply(&(1..200).map(began).collect::<Vec<_>>()).unwrap();
        drop(store);
        let mut octets = std::fs::read(&file).unwrap();
        let from = if damage == "all" { 0 } else { 4096 };
        octets[from..].fill(0xa5);
        std::fs::write(&file, &octets).unwrap();
        let recorder = Recorder::start_with(settings(directory.path()), Duration::from_millis(1), LONG).unwrap();
        until(&recorder, "a new file", || rules(directory.path()) == [7]);
        assert!(recorder.wants_all(), "the new file is to have all rules that are there");
        drop(recorder);
        assert_eq!(std::fs::read(directory.path().join("history.damaged")).unwrap().len(), octets.len(), "{damage}");
    }
}

#[test]
fn a_full_disk_costs_history_and_nobody_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |words: &[&str]| {
        Command::new(words[0]).args(&words[1..]).arg(directory.path()).status().is_ok_and(|status| status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=512k", "none"]) {
        println!("skipped: to mount a tmpfs needs root");
        return;
    }
    let _guard = Unmount(directory.path());
    let recorder = Recorder::start_with(settings(directory.path()), Duration::from_millis(1), LONG).unwrap();
    until(&recorder, "it is written", || rules(directory.path()) == [7]);
    let filler = directory.path().join("filler");
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    let mut rule = 100;
    until(&recorder, "the disk is full", || {
        rule += 100;
        // Neither an error nor a full queue holds up who sends.
        let _ = recorder.try_send((rule..rule + 100).map(began).collect());
        recorder.lost() > 0
    });
    assert!(rules(directory.path()).contains(&7), "what was there can be read");
    std::fs::remove_file(&filler).unwrap();
    until(&recorder, "it is written again, with all that is there", || recorder.wants_all());
    recorder.try_send(vec![began(8)]).unwrap_or_default();
    until(&recorder, "what comes then is there", || {
        let _ = recorder.try_send(vec![began(8)]);
        rules(directory.path()).contains(&8)
    });
    drop(recorder);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
