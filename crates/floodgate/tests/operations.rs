//! Operation of an installed Floodgate: health, version, and problem reports.

mod common;

use api::{Backend, Named};
use common::{Daemon, peer};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const PEER: &str = "127.0.0.2";
const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn health_is_one_line_and_a_status() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    let health = |arguments: &[&str]| {
        let output: Output = daemon.cli(&[&["health"], arguments].concat());
        let line = text(&output.stdout);
        assert_eq!(line.lines().count(), 1, "{line}");
        (output.status.code().unwrap(), line.trim_end().to_owned())
    };
    assert_eq!(health(&[]), (0, "healthy: none, 1 of 1 rules in force, 0 of 1 peers established".to_owned()));
    let (status, line) = health(&["--nagios"]);
    assert_eq!((status, line.starts_with("FLOODGATE OK - healthy: none")), (0, true), "{line}");
    assert!(daemon.cli(&["pause", "--for", "1h"]).status.success());
    let (status, line) = health(&[]);
    assert_eq!((status, line.starts_with("filtering is paused until 2")), (1, true), "{line}");
    assert_eq!(health(&["--nagios"]).0, 2);
    let (status, line) = health(&["--json"]);
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((status, &object["healthy"]), (1, &serde_json::Value::Bool(false)));
    assert!(daemon.cli(&["resume"]).status.success());
    assert_eq!(health(&[]).0, 0);
    let file = daemon.path("floodgate.toml");
    let configured = std::fs::read_to_string(&file).unwrap();
    let nowhere = configured.replace("backend = \"none\"", "backend = \"none\"\ninterfaces = [\"not-there*\"]");
    std::fs::write(file, nowhere).unwrap();
    assert!(daemon.cli(&["reload"]).status.success());
    let (status, line) = health(&[]);
    assert_eq!((status, line.starts_with("nothing is filtered: ")), (1, true), "{line}");
}

#[test]
fn a_daemon_that_does_not_answer_is_not_healthy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    let health = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(["health", "--socket"])
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (status, line) = health(&[]);
    assert_eq!((status, line.contains("does not answer")), (3, true), "{line}");
    // Somebody takes the connection and says nothing.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (status, line) = health(&["--timeout", "100ms"]);
    assert_eq!((status, line.trim_end()), (3, "the daemon does not answer within 100ms"));
    assert_eq!(health(&["--nagios", "--timeout", "100ms"]).0, 2);
}

/// The files of an archive by name, without its directory.
fn unpack(archive: &Path) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let untar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(directory.path()).status().unwrap();
    assert!(untar.success());
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.path().to_owned()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory.path()).unwrap().iter().skip(1).collect::<std::path::PathBuf>();
                files.insert(name.display().to_string(), text(&std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn support_writes_an_archive_without_secrets() {
    let secret = "hush-hush-hush-hush";
    let daemon = Daemon::start(&peer("a", PEER, &format!("md5 = \"{secret}\" # {secret}")), "");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    let archive = daemon.path("report.tar.gz");
    let configuration = daemon.path("floodgate.toml");
    let (archive_text, configuration) = (archive.to_str().unwrap(), configuration.to_str().unwrap());
    let output = daemon.cli(&["support", "-c", configuration, "-o", archive_text]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = unpack(&archive);
    for (name, part) in [
        ("version.txt", env!("CARGO_PKG_VERSION")),
        ("floodgate.toml", "md5 = \"(removed)\""),
        ("status.json", "\"backend\":\"none\""),
        ("peers.json", PEER),
        ("rules.jsonl", "192.0.2.1/32"),
        ("history.json", "announced"),
        ("metrics.txt", "floodgate_"),
        ("health.txt", "ok"),
        ("machine/proc/version", "Linux"),
    ] {
        let file = files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
        assert!(file.contains(part), "{name}: {file}");
    }
    assert!(files.contains_key("errors.txt"));
    for (name, file) in &files {
        assert!(!file.contains(secret), "{name} has the secret");
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn support_without_a_daemon_says_what_could_not_be_had() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.toml"), "token = hush-hush-hush-hush\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_floodgate"))
        .args(["support", "-c", "bad.toml", "--socket", "nowhere.sock"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let archives: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gz"))
        .collect();
    let [archive] = archives.as_slice() else { panic!("{archives:?}") };
    let files = unpack(archive);
    let errors = &files["errors.txt"];
    assert!(errors.contains("status.json: the daemon does not answer"), "{errors}");
    assert!(errors.contains("floodgate.toml: bad.toml: left out, since it is not TOML"), "{errors}");
    assert!(files.values().all(|file| !file.contains("hush")), "{errors}");
    // A place where nothing can be written is an error, and nothing is left there.
    let output = Command::new(env!("CARGO_BIN_EXE_floodgate"))
        .args(["support", "-o", "/proc/report.tar.gz", "--socket", "nowhere.sock"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_version_names_the_commit_and_what_is_built_in() {
    let version = |option: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_floodgate")).arg(option).output().unwrap();
        text(&output.stdout)
    };
    assert_eq!(version("-V"), format!("floodgate {}\n", env!("CARGO_PKG_VERSION")));
    let long = version("--version");
    assert!(long.starts_with(&format!("floodgate {} (", env!("CARGO_PKG_VERSION"))), "{long}");
    for backend in Backend::ALL.iter().filter(|backend| **backend != Backend::None) {
        assert!(long.contains(backend.name()), "{long}");
    }
}
