//! The NLRI walk. First octet: family and add-path; the rest is the field.
#![no_main]

use flowspec::{Component, Disposition, Family, Nlri, NlriIter, NlriRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&head, field)) = data.split_first() else { return };
    let family = Family::ALL[usize::from(head & 3)];
    let mut covered = 0;
    for entry in NlriIter::new(family, head & 4 != 0, field) {
        assert!(!entry.raw.is_empty());
        covered += entry.raw.len();
        match entry.nlri {
            Ok(nlri) => accepted(nlri),
            Err(error) => {
                assert!(error.offset <= field.len());
                assert!(error.kind.disposition() != Disposition::DisableFamily || covered == field.len());
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert_eq!(covered, field.len(), "the entries cover the field");
});

/// What was accepted keeps its meaning through canonical form, wire and builder.
fn accepted(nlri: NlriRef<'_>) {
    let canonical = nlri.to_canonical();
    let family = nlri.family();
    let mut wire = Vec::new();
    canonical.encode_to(&mut wire);
    assert_eq!(wire.len(), canonical.wire_len());
    let again =
        NlriIter::new(family, false, &wire).next().and_then(|entry| entry.nlri.ok()).expect("canonical is valid");
    assert_eq!(again.as_bytes(), canonical.as_bytes());
    assert_eq!(again.to_canonical(), canonical);

    let mut builder = Nlri::builder(family);
    if let Some(rd) = nlri.route_distinguisher() {
        assert_eq!(rd.to_string().parse(), Ok(rd));
        builder = builder.route_distinguisher(rd);
    }
    for component in nlri.components() {
        builder = match component {
            Component::Prefix(kind, prefix) => builder.prefix(kind, prefix),
            Component::Numeric(kind, ops) => builder.numeric(kind, &ops.collect::<Vec<_>>()),
            Component::Bitmask(kind, ops) => builder.bitmask(kind, &ops.collect::<Vec<_>>()),
        };
    }
    assert_eq!(builder.build().as_ref(), Ok(&canonical));
    assert_eq!(canonical.id().to_string().parse(), Ok(canonical.id()));
}
