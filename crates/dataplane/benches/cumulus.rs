//! A switch's whole table: from rules to the text of the policy file. The aim is 20 ms for 12,500
//! rules.

use dataplane::cumulus::{Settings, capabilities, preview, render};
use divan::{Bencher, black_box};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Ruleset};
use std::sync::Arc;

fn main() {
    divan::main();
}

/// As many rules as a Spectrum-2 has entries.
const RULES: u32 = 12_500;

fn settings() -> Settings {
    Settings { capacity: (Some(20_000), None), ..Settings::default() }
}

/// Reflected traffic of several kinds, to a host of its own each.
fn rules() -> Ruleset {
    let capabilities = capabilities(&settings());
    let rule = |n: u32| -> Arc<CompiledRule> {
        let [_, a, b, c] = n.to_be_bytes();
        let port = [53, 123, 161, 389, 1900, 11_211][n as usize % 6];
        let text = format!("dst 10.{a}.{b}.{c}/32 proto udp sport {port} then discard");
        match compile(&text.parse().expect("a rule"), &capabilities) {
            Verdict::Exact(rule) => Arc::new(rule),
            Verdict::Refused(refusal) => unreachable!("{text}: {refusal}"),
        }
    };
    Ruleset { protected: Arc::default(), rules: (0..RULES).map(rule).collect() }
}

/// The text alone.
#[divan::bench]
fn render_12_500_rules(bencher: Bencher<'_, '_>) {
    let (rules, settings) = (rules(), settings());
    bencher.bench(|| render(black_box(&rules), &settings));
}

/// The text, and who has a place in the table.
#[divan::bench]
fn place_and_render_12_500_rules(bencher: Bencher<'_, '_>) {
    let (rules, settings) = (rules(), settings());
    bencher.bench(|| preview(black_box(&rules), &settings).text.len());
}
