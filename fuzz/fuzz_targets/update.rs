//! UPDATEs. First octet: width of AS numbers and add-path; the rest is what stands behind the
//! header.
#![no_main]

use bgp::{DecodeOptions, FamilySet, decode_update};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&head, body)) = data.split_first() else { return };
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&(body.len() as u16).wrapping_add(19).to_be_bytes());
    message.push(2);
    message.extend_from_slice(body);
    let four_octet_as = [None, Some(true), Some(false), None][usize::from(head & 3)];
    let add_path = if head & 4 != 0 { FamilySet::ALL } else { FamilySet::EMPTY };
    let Ok(update) = decode_update(&message, &DecodeOptions { four_octet_as, add_path }) else { return };
    assert!(update.errors.iter().all(|error| error.offset <= message.len()));
    for nlri in &update.nlris {
        assert_eq!(message[nlri.offset..nlri.offset + nlri.octets.len()], nlri.octets);
        assert!(nlri.destination.as_ref().is_ok_and(|to| to.family() == nlri.family) || !update.errors.is_empty());
    }
    assert!(update.end_of_rib.is_none() || update.nlris.is_empty());
});
