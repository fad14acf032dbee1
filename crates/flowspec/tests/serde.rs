//! Feature `serde`: rules as their text.

use flowspec::{Family, Nlri, Rule, RuleId};

#[test]
fn rules_are_their_text() {
    for text in
        ["dst 192.0.2.1/32 proto udp sport 123 then rate 1mbps", "vpnv6 rd 65000:1 dst 2001:db8::/32 then discard"]
    {
        let rule: Rule = text.parse().unwrap();
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, format!("\"{rule}\""));
        assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        let nlri = serde_json::to_string(&rule.nlri).unwrap();
        assert_eq!(serde_json::from_str::<Nlri>(&nlri).unwrap(), rule.nlri);
        let id = serde_json::to_string(&rule.nlri.id()).unwrap();
        assert_eq!(serde_json::from_str::<RuleId>(&id).unwrap(), rule.nlri.id());
    }
    assert_eq!(serde_json::from_str::<Family>("\"vpnv4\"").unwrap(), Family::Vpnv4);
    let error = serde_json::from_str::<Rule>("\"dst 192.0.2.1/33 then discard\"").unwrap_err();
    assert!(error.to_string().contains("column"), "{error}");
}
