//! What the features `serde` and `arbitrary` promise: any value comes back from JSON as it was.

use arbitrary::{Arbitrary, Unstructured};
use bgp::*;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn comes_back<T>(octets: &[u8])
where
    T: for<'a> Arbitrary<'a> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(value) = T::arbitrary(&mut Unstructured::new(octets)) else { return };
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
}

proptest! {
    #[test]
    fn any_value_comes_back(octets in proptest::collection::vec(any::<u8>(), 900..1000)) {
        comes_back::<AfiSafi>(&octets);
        comes_back::<FamilySet>(&octets);
        comes_back::<Open>(&octets);
        comes_back::<Notification>(&octets);
        comes_back::<RouteRefresh>(&octets);
        comes_back::<PathAttributes>(&octets);
        comes_back::<RouteKey>(&octets);
        comes_back::<PeerConfig>(&octets);
        comes_back::<Negotiated>(&octets);
        comes_back::<Down>(&octets);
        comes_back::<Statistics>(&octets);
        comes_back::<Cease>(&octets);
        comes_back::<State>(&octets);
        comes_back::<DecodeOptions>(&octets);
    }

    /// A path of `Arbitrary` is one that a decoder makes.
    #[test]
    fn an_arbitrary_path_is_one_that_is_decoded(octets in proptest::collection::vec(any::<u8>(), 900..1000)) {
        let path = AsPath::arbitrary(&mut Unstructured::new(&octets)).unwrap();
        let mut encoded = Vec::new();
        path.encode_to(true, &mut encoded);
        prop_assert_eq!(AsPath::decode(&encoded, true), Ok(path));
    }
}

#[test]
fn people_read_names() {
    let families: FamilySet = AfiSafi::ALL.into_iter().take(2).collect();
    assert_eq!(serde_json::to_string(&families).unwrap(), r#"["ipv4-unicast","ipv4-flow"]"#);
    assert!(serde_json::from_str::<AfiSafi>("\"ipv5-flow\"").is_err());
    let nlri: flowspec::Nlri = "dst 192.0.2.7/32 proto udp".parse().unwrap();
    let json = serde_json::to_string(&Destination::Flow(nlri)).unwrap();
    assert_eq!(json, r#"{"Flow":"dst 192.0.2.7/32 proto udp"}"#);
    assert!(serde_json::from_str::<Destination>(r#"{"Flow":"dst 192.0.2.7/33"}"#).is_err());
}
