//! Reads the memory layout of the XDP program from its headers, and compiles the program with
//! clang. Without clang, or without the headers of libbpf, the crate is built without the program
//! and says so at run time.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "build/layout.rs"]
mod layout;

use layout::{Headers, LayoutError};

const COMPILERS: [&str; 8] =
    ["clang-14", "clang", "clang-15", "clang-16", "clang-17", "clang-18", "clang-19", "clang-13"];

/// Structures that both sides share: the name in C, and in Rust.
const STRUCTURES: [(&str, &str); 23] = [
    ("place", "Place"),
    ("chunk", "Chunk"),
    ("extra_list", "ExtraList"),
    ("extra", "Extra"),
    ("interval", "Interval"),
    ("slot", "Slot"),
    ("pending", "Pending"),
    ("tuple", "TupleLine"),
    ("node", "NodeLine"),
    ("rule", "RuleLine"),
    ("counter", "CounterLine"),
    ("id", "IdLine"),
    ("target", "Target"),
    ("statistics", "StatisticsLine"),
    ("length6", "Length6"),
    ("view", "View"),
    ("control", "Control"),
    ("sample", "SampleRecord"),
    ("query", "Query"),
    ("run", "Run"),
    ("frame", "Frame"),
    ("result", "ResultLine"),
    ("small", "Small"),
];

/// Those of them that are in `layout.h`.
const SHARED: [&str; 18] = [
    "place",
    "chunk",
    "extra_list",
    "extra",
    "interval",
    "slot",
    "pending",
    "tuple",
    "node",
    "rule",
    "counter",
    "id",
    "target",
    "statistics",
    "length6",
    "view",
    "control",
    "sample",
];
/// Those of the loader's question for routes.
const ROUTE: [&str; 1] = ["query"];
/// Those of the tests' programs.
const HARNESS: [&str; 4] = ["run", "frame", "result", "small"];

/// Constants that both sides share: the name in C, the name and the type in Rust.
const CONSTANTS: [(&str, &str, &str); 46] = [
    ("LANE_SOURCE", "LANE_SOURCE", "u32"),
    ("LANE_DESTINATION", "LANE_DESTINATION", "u32"),
    ("LANE_LENGTH", "LANE_LENGTH", "u32"),
    ("LANE_BITS", "LANE_BITS", "u32"),
    ("PORT_ABSENT", "PORT_LANE", "u64"),
    ("PORT_ICMP", "ICMP", "u32"),
    ("T_FLAGS_PRESENT", "T_FLAGS_PRESENT", "u32"),
    ("T_POSITION", "T_POSITION", "u32"),
    ("T_DF", "T_DF", "u32"),
    ("T_DSCP", "T_DSCP", "u32"),
    ("T_PROTOCOL", "T_PROTOCOL", "u32"),
    ("T_LABEL", "T_LABEL", "u32"),
    ("T_SOURCE", "T_SOURCE4", "u32"),
    ("T_NO_PROTOCOL", "T_NO_PROTOCOL", "u32"),
    ("HI_SOURCE", "HI_SOURCE", "u64"),
    ("META_RULE", "META_RULE", "u32"),
    ("META_EXTRA", "META_EXTRA", "u32"),
    ("META_DROP", "META_DROP", "u32"),
    ("CHUNK", "CHUNK", "usize"),
    ("FIELD_SOURCE_PORT", "FIELD_SOURCE_PORT", "u16"),
    ("FIELD_DESTINATION_PORT", "FIELD_DESTINATION_PORT", "u16"),
    ("FIELD_EITHER_PORT", "FIELD_EITHER_PORT", "u16"),
    ("FIELD_LENGTH", "FIELD_LENGTH", "u16"),
    ("FIELD_PROTOCOL", "FIELD_PROTOCOL", "u16"),
    ("FIELD_TCP_FLAGS", "FIELD_TCP_FLAGS", "u16"),
    ("FIELD_DSCP", "FIELD_DSCP", "u16"),
    ("FIELD_FRAGMENT", "FIELD_FRAGMENT", "u16"),
    ("FIELD_LABEL", "FIELD_LABEL", "u16"),
    ("D_PENDING", "D_PENDING", "u64"),
    ("D_PRESENT", "D_PRESENT", "u64"),
    ("D_NODE", "D_NODE", "u64"),
    ("D_INLINE", "D_INLINE", "u64"),
    ("SLOT_RECORDS", "SLOT_RECORDS", "usize"),
    ("SLOT_PLACES", "SLOT_PLACES", "usize"),
    ("PROBES", "PROBES", "usize"),
    ("TUPLES", "TUPLES", "usize"),
    ("BY_SOURCE", "BY_SOURCE", "u64"),
    ("FILTER_BITS", "FILTER_BITS", "u32"),
    ("MATCHES", "MATCHES", "usize"),
    ("RULE_DISCARD", "RULE_DISCARD", "u32"),
    ("RULE_CONTINUE", "RULE_CONTINUE", "u32"),
    ("RULE_MARK", "RULE_MARK", "u32"),
    ("RULE_SAMPLE", "RULE_SAMPLE", "u32"),
    ("RULE_REDIRECT", "RULE_REDIRECT", "u32"),
    ("RULE_RATE_BYTES", "RULE_RATE_BYTES", "u32"),
    ("RULE_RATE_PACKETS", "RULE_RATE_PACKETS", "u32"),
];

/// Nodes that are always there, and statistics.
const NUMBERS: [(&str, &str, &str); 5] = [
    ("NODE_PROTECTED4", "NODE_PROTECTED4", "u32"),
    ("NODE_PROTECTED6", "NODE_PROTECTED6", "u32"),
    ("NODE_WIDE4", "NODE_WIDE4", "u32"),
    ("NODE_WIDE6", "NODE_WIDE6", "u32"),
    ("NODES_FIXED", "NODES_FIXED", "u32"),
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(xdp_program)");
    println!("cargo::rerun-if-env-changed=CLANG");
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../bpf");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=build/layout.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    if let Err(error) = generate(&source, &out) {
        println!("cargo::error={error}");
        return;
    }
    match build(&source, &out) {
        Ok(()) => println!("cargo::rustc-cfg=xdp_program"),
        Err(Failure::Missing(why)) => println!("cargo::warning=the XDP back end is left out: {why}"),
        Err(Failure::Wrong(why)) => println!("cargo::error={why}"),
    }
}

/// Writes what the headers say as Rust, for `include!`, and as assertions for clang.
fn generate(source: &Path, out: &Path) -> Result<(), LayoutError> {
    let paths: Vec<PathBuf> = ["layout.h", "route.h", "harness.c"].iter().map(|name| source.join(name)).collect();
    let headers = Headers::read(&paths)?;
    let constants = headers.rust_constants(&CONSTANTS)? + &headers.rust_constants(&NUMBERS)?;
    let shared = constants + &headers.rust_structures(&STRUCTURES, &SHARED)?;
    for (name, text) in [
        ("layout.rs", shared),
        ("route.rs", headers.rust_structures(&STRUCTURES, &ROUTE)?),
        ("harness.rs", headers.rust_structures(&STRUCTURES, &HARNESS)?),
        ("layout_assertions.c", headers.assertions(&source.join("layout.h"), &STRUCTURES, &SHARED)?),
        ("harness_assertions.c", headers.assertions(&source.join("harness.c"), &STRUCTURES, &HARNESS)?),
        ("route_assertions.c", headers.assertions(&source.join("route.h"), &STRUCTURES, &ROUTE)?),
    ] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| LayoutError::Io(path, error))?;
    }
    Ok(())
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
    for name in ["floodgate", "harness"] {
        compile(clang, &source.join(format!("{name}.c")), &["-c", "-o"], Some(&out.join(format!("{name}.o"))))?;
    }
    for name in ["layout", "route", "harness"] {
        compile(clang, &out.join(format!("{name}_assertions.c")), &["-fsyntax-only"], None)?;
    }
    Ok(())
}

fn compile(clang: &str, source: &Path, what: &[&str], output: Option<&Path>) -> Result<(), Failure> {
    // Debian keeps <asm/types.h> here, where a compiler for another target does not look.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let include = format!("-I/usr/include/{arch}-linux-gnu");
    // For another machine than this one its own headers may not be here; these say the same of what
    // is used.
    let here = format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH);
    let directory = source.parent().unwrap_or(Path::new("."));
    let result = Command::new(clang)
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"])
        .args([&include, &here])
        // What the program says about its lines names no directory of this machine: two builds are
        // equal, wherever they are made.
        .args(["-ffile-compilation-dir=.".to_owned(), format!("-ffile-prefix-map={}=bpf", directory.display())])
        .args(what)
        .args(output)
        .arg(source)
        .output()
        .map_err(|error| Failure::Missing(format!("{clang}: {error}")))?;
    if result.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&result.stderr);
    let first = message.lines().find(|line| line.contains("error")).unwrap_or("no message");
    let why = format!("{clang} cannot compile {}: {first}", source.display());
    let is_missing = first.contains("file not found") || first.contains("No available targets");
    Err(if is_missing { Failure::Missing(why) } else { Failure::Wrong(why) })
}
