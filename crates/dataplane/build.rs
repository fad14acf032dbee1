//! Compiles the XDP program with clang. Without clang, or without the headers, the crate is built without the program and says so at
//! run time.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMPILERS: [&str; 8] =
    ["clang-14", "clang", "clang-15", "clang-16", "clang-17", "clang-18", "clang-19", "clang-13"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(xdp_program)");
    println!("cargo::rerun-if-env-changed=CLANG");
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../bpf");
    println!("cargo::rerun-if-changed={}", source.display());
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    match build(&source, &out) {
        Ok(()) => println!("cargo::rustc-cfg=xdp_program"),
        Err(Failure::Missing(why)) => println!("cargo::warning=the XDP back end is left out: {why}"),
        Err(Failure::Wrong(why)) => println!("cargo::error={why}"),
    }
}

/// Why there is no program.
enum Failure {
    /// The compiler or headers are not installed.
    Missing(String),
    /// The program does not compile.
    Wrong(String),
}

fn build(source: &Path, out: &Path) -> Result<(), Failure> {
    let chosen = env::var("CLANG").ok();
    let candidates: Vec<&str> = chosen.as_deref().map_or(COMPILERS.to_vec(), |clang| vec![clang]);
    let clang = candidates
        .iter()
        .find(|clang| Command::new(clang).arg("--version").output().is_ok_and(|output| output.status.success()))
        .ok_or_else(|| {
            Failure::Missing(format!("no clang found (tried {}); `make setup` installs it", candidates.join(", ")))
        })?;
    // Debian keeps <asm/types.h> here, where a compiler for another target does not look.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let include = format!("-I/usr/include/{arch}-linux-gnu");
    // For another machine than this one its own headers may not be here; these say the same of what is used.
    let here = format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH);
    for name in ["floodgate", "harness"] {
        let result = Command::new(clang)
            .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"])
            .args([&include, &here, "-c", "-o"])
            .arg(out.join(format!("{name}.o")))
            .arg(source.join(format!("{name}.c")))
            .output()
            .map_err(|error| Failure::Missing(format!("{clang}: {error}")))?;
        if !result.status.success() {
            let message = String::from_utf8_lossy(&result.stderr);
            let first = message.lines().find(|line| line.contains("error")).unwrap_or("no message");
            let why = format!("{clang} cannot compile bpf/{name}.c: {first}");
            let is_missing = first.contains("file not found") || first.contains("No available targets");
            return Err(if is_missing { Failure::Missing(why) } else { Failure::Wrong(why) });
        }
    }
    Ok(())
}
