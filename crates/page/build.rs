//! Reads the files of the page in `assets/`, compresses them, and writes a table of them for
//! `src/lib.rs`.

use flate2::{Compression, write::GzEncoder};
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=assets");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("assets");
    let output = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for (number, file) in files.iter().enumerate() {
        let octets = fs::read(file)?;
        let compressed = output.join(format!("{number}.gz"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&octets)?;
        fs::write(&compressed, encoder.finish()?)?;
        writeln!(
            table,
            "    Asset {{ path: {:?}, content_type: {:?}, etag: {:?}, octets: include_bytes!({file:?}), gzip: include_bytes!({compressed:?}) }},",
            address(file.strip_prefix(&root)?)?,
            content_type(file)?,
            format!("W/\"{:016x}\"", hash(&octets)),
        )?;
    }
    table.push_str("];\n");
    fs::write(output.join("assets.rs"), table)?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The path at which a file is served.
fn address(file: &Path) -> Result<String, Box<dyn Error>> {
    let name = file.to_str().ok_or("a file's name is not UTF-8")?;
    Ok(if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") })
}

fn content_type(file: &Path) -> Result<&'static str, Box<dyn Error>> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok("text/html; charset=utf-8"),
        Some("css") => Ok("text/css; charset=utf-8"),
        Some("js") => Ok("text/javascript; charset=utf-8"),
        Some("svg") => Ok("image/svg+xml"),
        _ => Err(format!("{}: the type of such files is not known", file.display()).into()),
    }
}

/// FNV-1a, 64 bits: it tells versions of a file apart, and protects from nobody.
fn hash(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}
