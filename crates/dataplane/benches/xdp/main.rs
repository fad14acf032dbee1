//! The cost of a packet in the XDP program, and of a change of the rules.
//!
//! `cargo bench -p dataplane --bench xdp` prints a table with ratios to the same program without
//! rules, in the same run; one JSON object a line with `-- --json`; `-- --svg FILE` draws the
//! growth; `-- --compare` measures other means beside it (`--compare=way`, `--compare=code`: one
//! part). Needs root. Times are the kernel's own, of its test run over 65,536 different packets;
//! each is the best of several, since other work on the machine only ever adds.

#[cfg(xdp_program)]
mod compare;
#[cfg(xdp_program)]
mod measure;
#[cfg(xdp_program)]
mod mix;
#[cfg(xdp_program)]
mod plot;

fn main() -> anyhow::Result<()> {
    #[cfg(xdp_program)]
    return measure::run(compare::run);
    #[cfg(not(xdp_program))]
    {
        println!("skipped: built without clang, so there is no XDP program");
        Ok(())
    }
}
