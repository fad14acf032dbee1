//! The examples do what they say.

#[path = "../examples/decode.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod decode;
#[path = "../examples/explain.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod explain;

#[test]
fn decode_shows_rules_and_what_is_wrong() {
    let lines = decode::decode("ipv4", "0b0118c00002038106048119030f8106", "8006000000000000").unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "dst 192.0.2.0/24 proto tcp port 25 then discard  (Discard)");
    assert!(lines[1].ends_with(": DropNlri"), "{}", lines[1]);
    assert!(decode::decode("ipv4", "0", "").is_err());
}

#[test]
fn explain_names_the_rule_that_decides() {
    let rules = ["dst 192.0.2.0/24 then discard", "dst 192.0.2.9/32 proto tcp then discard"];
    let packet =
        [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 77, 192, 0, 2, 9, 0, 123, 0x9c, 0x40, 0, 8, 0, 0];
    let lines = explain::verdict(&rules, &packet).unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("not `dst 192.0.2.9/32 proto tcp then discard`: "), "{}", lines[0]);
    assert_eq!(lines[1], "decides: `dst 192.0.2.0/24 then discard`");
}
