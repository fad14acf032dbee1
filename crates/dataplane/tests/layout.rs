//! The memory layout that the XDP program and its loader share, as build.rs reads it from the
//! program's headers.

use std::path::Path;

#[path = "../build/layout.rs"]
mod layout;

#[test]
fn the_programs_headers_are_read() {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf/layout.h");
    let headers = layout::Headers::read(&[header]).unwrap_or_else(|error| panic!("{error}"));
    let constants = headers.rust_constants(&[("HI_SOURCE", "HI_SOURCE", "u64")]).expect("it is there");
    assert_eq!(constants, format!("pub(super) const HI_SOURCE: u64 = {:#x};\n", 1u64 << 52));
    let names = [("place", "Place"), ("slot", "Slot")];
    let rust = headers.rust_structures(&names, &["slot"]).expect("it is there");
    assert!(rust.contains("offset_of!(Slot, place) == 32"), "{rust}");
    let assertions = headers.assertions(Path::new("layout.h"), &names, &["slot"]).expect("it is there");
    assert!(assertions.contains("__builtin_offsetof(struct slot, place) == 32"), "{assertions}");
}

#[test]
fn a_header_that_is_not_there_is_named() {
    let error = layout::Headers::read(&["/nonexistent/layout.h".into()]).expect_err("there is none");
    assert!(error.to_string().contains("/nonexistent/layout.h"), "{error}");
}
