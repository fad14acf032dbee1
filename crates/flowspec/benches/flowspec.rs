//! The speed of the codec, the order and the text: `cargo bench -p flowspec`.
//!
//! A "field" is a run of typical NLRIs of 12 to 25 octets back to back, as in an UPDATE; items a
//! second are NLRIs a second.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use flowspec::testing::Seed;
use flowspec::{Family, Nlri, NlriIter};

fn main() {
    divan::main();
}

/// A typical rule against an attack: a host or small prefix, a protocol, and one to three more
/// components.
fn push_rule(family: Family, numbers: &mut Seed, field: &mut Vec<u8>) {
    let start = field.len();
    field.push(0);
    let address = numbers.next_u64().to_be_bytes();
    match family {
        Family::Ipv6 => {
            field.extend_from_slice(&[1, 64, 0, 0x20, 0x01, 0x0d, 0xb8]);
            field.extend_from_slice(&address[..4]);
        }
        _ => {
            field.extend_from_slice(&[1, 32]);
            field.extend_from_slice(&address[..4]);
        }
    }
    if family == Family::Ipv4 && numbers.below(4) == 0 {
        field.extend_from_slice(&[2, 24, address[4], address[5], address[6]]);
    }
    let [high, low] = (numbers.next_u64() as u16).to_be_bytes();
    match numbers.below(4) {
        // A UDP reflection: source port and length.
        0 => field.extend_from_slice(&[3, 0x81, 17, 6, 0x81, 53, 10, 0x13, 2, 0, 0xd5, 5, 0xdc]),
        // A SYN flood on one port.
        1 => field.extend_from_slice(&[3, 0x81, 6, 5, 0x91, high, low, 9, 0x81, 2]),
        // Some ports and a range.
        2 => field.extend_from_slice(&[3, 0x81, 6, 5, 1, 80, 0x11, 1, 0xbb, 0x13, 0x1f, 0x40, 0xd5, 0x1f, 0x90]),
        // Fragments.
        _ => field.extend_from_slice(&[3, 0x81, 17, 12, 0x80, 2]),
    }
    field[start] = (field.len() - start - 1) as u8;
}

fn field(family: Family, rules: usize) -> Vec<u8> {
    let mut numbers = Seed::new(1);
    let mut field = Vec::new();
    (0..rules).for_each(|_| push_rule(family, &mut numbers, &mut field));
    field
}

fn rules(family: Family, count: usize) -> Vec<Nlri> {
    let field = field(family, count);
    let rules: Vec<_> = NlriIter::new(family, false, &field).map(|entry| entry.nlri.unwrap().to_canonical()).collect();
    assert_eq!(rules.len(), count);
    rules
}

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];
/// As many as fit in a few extended messages; small enough for the second-level cache.
const FIELD: usize = 10_000;

/// Walk and validate.
#[divan::bench(args = FAMILIES)]
fn decode(bencher: Bencher<'_, '_>, family: &Family) {
    let field = field(*family, FIELD);
    bencher
        .counter(ItemsCount::new(FIELD))
        .bench(|| NlriIter::new(*family, false, black_box(&field)).filter(|entry| entry.nlri.is_ok()).count());
}

/// Walk, validate and read every component and operator.
#[divan::bench(args = FAMILIES)]
fn decode_and_read(bencher: Bencher<'_, '_>, family: &Family) {
    use flowspec::Component;
    let field = field(*family, FIELD);
    bencher.counter(ItemsCount::new(FIELD)).bench(|| {
        let mut sum = 0u64;
        for nlri in NlriIter::new(*family, false, black_box(&field)).filter_map(|entry| entry.nlri.ok()) {
            for component in nlri.components() {
                sum += match component {
                    Component::Prefix(kind, _) => kind as u64,
                    Component::Numeric(_, ops) => ops.map(|op| op.value).sum(),
                    Component::Bitmask(_, ops) => ops.map(|op| op.value).sum(),
                };
            }
        }
        sum
    });
}

/// Walk, validate and keep: one allocation a rule.
#[divan::bench(args = FAMILIES)]
fn to_canonical(bencher: Bencher<'_, '_>, family: &Family) {
    let field = field(*family, FIELD);
    bencher.counter(ItemsCount::new(FIELD)).bench(|| {
        NlriIter::new(*family, false, black_box(&field))
            .filter_map(|entry| entry.nlri.ok())
            .for_each(|nlri| drop(black_box(nlri.to_canonical())));
    });
}

#[divan::bench(args = FAMILIES)]
fn encode(bencher: Bencher<'_, '_>, family: &Family) {
    let rules = rules(*family, FIELD);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(FIELD)).bench_local(|| {
        out.clear();
        black_box(&rules).iter().for_each(|nlri| nlri.encode_to(&mut out));
        out.len()
    });
}

#[divan::bench(args = FAMILIES)]
fn id(bencher: Bencher<'_, '_>, family: &Family) {
    let rules = rules(*family, FIELD);
    bencher
        .counter(ItemsCount::new(FIELD))
        .bench(|| black_box(&rules).iter().fold(0, |all, nlri| all ^ nlri.id().as_u64()));
}

/// 100,000 rules into the order in which they are enforced.
#[divan::bench(args = FAMILIES, sample_count = 20)]
fn sort_100_000(bencher: Bencher<'_, '_>, family: &Family) {
    let rules = rules(*family, 100_000);
    bencher
        .counter(ItemsCount::new(rules.len()))
        .with_inputs(|| rules.clone())
        .bench_local_refs(|rules| rules.sort_unstable());
}

/// Rules as text, into one buffer.
#[divan::bench(args = FAMILIES)]
fn display(bencher: Bencher<'_, '_>, family: &Family) {
    use std::fmt::Write;
    let rules = rules(*family, FIELD);
    let mut out = String::new();
    bencher.counter(ItemsCount::new(FIELD)).bench_local(|| {
        out.clear();
        // Writing to a String cannot fail.
        black_box(&rules).iter().for_each(|nlri| write!(out, "{nlri}").unwrap());
        out.len()
    });
}

/// Rules from their text.
#[divan::bench(args = FAMILIES)]
fn parse(bencher: Bencher<'_, '_>, family: &Family) {
    let texts: Vec<_> = rules(*family, FIELD).iter().map(Nlri::to_string).collect();
    bencher
        .counter(ItemsCount::new(FIELD))
        .bench(|| black_box(&texts).iter().filter(|text| text.parse::<Nlri>().is_ok()).count());
}
