//! `backend = "flower"`: the daemon says that it does not filter yet, and does not run as if it
//! did.

use anyhow::{Result, ensure};
use std::process::Command;

#[test]
fn the_daemon_does_not_start_with_what_cannot_filter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (file, socket) = (directory.path().join("floodgate.toml"), directory.path().join("api.sock"));
    std::fs::write(
        &file,
        format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = []\n\
             [dataplane]\nbackend = \"flower\"\ninterfaces = [\"lo\"]\n[dataplane.flower]\ndriver = \"software\"\n\
             [api]\nsocket = {socket:?}\n[state]\nfile = \"\"\n"
        ),
    )?;
    let output = Command::new(env!("CARGO_BIN_EXE_floodgate")).arg("run").arg("-c").arg(&file).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success() && said.contains("it cannot filter yet"), "{:?}: {said}", output.status);
    Ok(())
}
