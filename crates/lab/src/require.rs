//! Tests that need more than a compiler: root, a kernel feature, another program.

use std::env;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Returns from the test, with the reason, unless the process is root and all named programs are
/// installed.
///
/// ```no_run
/// # fn a_test() {
/// lab::needs!(root, "nft", "bird");
/// # }
/// ```
#[macro_export]
macro_rules! needs {
    (root $(, $program:expr)* $(,)?) => {
        if !$crate::require_root() $(|| !$crate::require_program($program))* {
            return $crate::Skipped::skipped();
        }
    };
    ($($program:expr),+ $(,)?) => {
        if false $(|| !$crate::require_program($program))+ {
            return $crate::Skipped::skipped();
        }
    };
}

/// What a test returns when it is skipped.
pub trait Skipped {
    /// The return value of a successful test.
    fn skipped() -> Self;
}

impl Skipped for () {
    fn skipped() {}
}

impl<E> Skipped for Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }
}

/// Whether the process is root; reports that the test is skipped if not.
///
/// # Panics
/// When skipping is not allowed, see [`skip`].
#[must_use]
pub fn require_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("it needs root (network namespaces)");
    }
    root
}

/// Whether `name` is a program in PATH (or a path to one); reports that the test is skipped if not.
///
/// # Panics
/// When skipping is not allowed, see [`skip`].
#[must_use]
pub fn require_program(name: &str) -> bool {
    let found = is_program(name);
    if !found {
        skip(&format!("{name} is not installed (make setup installs it)"));
    }
    found
}

/// Reports that the current test is skipped and why: on standard error, and in the file that
/// `FLOODGATE_SKIP_LOG` names.
///
/// # Panics
/// When the environment has `FLOODGATE_REQUIRE_ALL=1`, as in CI, where a skipped test is a failed
/// one.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}", thread.name().unwrap_or("a test"));
    if env::var_os("FLOODGATE_REQUIRE_ALL").as_deref() == Some(OsStr::new("1")) {
        panic!("may not be skipped here: {line}");
    }
    eprintln!("skipped: {line}");
    if let Some(path) = env::var_os("FLOODGATE_SKIP_LOG") {
        // One short write in append mode, so lines of parallel tests do not mix. Failing to record
        // a skip is no reason to fail: it has been printed.
        let _ = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

/// Whether this is a virtual machine of `make kernels`, which is ten times slower and has one
/// processor.
#[must_use]
pub fn is_emulated() -> bool {
    env::var_os("FLOODGATE_KERNELS").as_deref() == Some(OsStr::new("1"))
}

/// Reports that the current test is skipped since this kernel lacks a feature. That is not a
/// failure in CI, which runs the test on kernels that have it: see `scripts/kernels/tests`.
///
/// # Panics
/// Inside of those kernels, where `FLOODGATE_KERNELS=1`.
pub fn skip_for_kernel(why: &str) {
    if is_emulated() {
        skip(why);
    }
    let thread = std::thread::current();
    eprintln!("skipped: {}: {why} (make kernels runs it elsewhere)", thread.name().unwrap_or("a test"));
}

fn is_program(name: &str) -> bool {
    if name.contains('/') {
        return Path::new(name).is_file();
    }
    // Those for administrators are not in every user's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/sbin".into()])
        .any(|directory| directory.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs() {
        assert!(is_program("sh"));
        assert!(is_program("/bin/sh"));
        assert!(!is_program("no-such-program-anywhere"));
        assert!(!is_program("/bin"));
    }
}
