//! Notes on a rule: what an operator may not expect although it is enforced as the RFCs say.

use crate::capability::Capabilities;
use crate::import_policy::InterfaceSets;
use crate::unknown_actions::unknown_actions;
use flowspec::{Action, Effect, Policing, Rule};

/// Sentences about the rule; mostly none. Of an interface set there is one only where it is
/// ignored: otherwise the rule is refused.
pub fn notes(rule: &Rule, interface_sets: InterfaceSets, capabilities: &Capabilities) -> Vec<String> {
    let effect = rule.effect();
    let mut notes = Vec::new();
    for action in unknown_actions(&rule.actions) {
        let text = match action {
            Action::InterfaceSet { .. } if interface_sets == InterfaceSets::Refuse => continue,
            Action::InterfaceSet { .. } => {
                format!("{action} is ignored (interface-sets): the rule holds on every filtered interface")
            }
            _ => format!("{action} is not a known action, and ignored (RFC 8955 §7)"),
        };
        let accepts =
            if effect == Effect::ACCEPT { "; without another action the rule accepts its packets" } else { "" };
        notes.push(text + accepts);
    }
    if let (Policing::Limit { bytes, packets }, Some((most_bytes, most_packets))) =
        (effect.policing, capabilities.limitations.highest_rates)
    {
        let name = &capabilities.name;
        if bytes.is_some_and(|rate| rate > most_bytes) {
            let gigabits = f64::from(most_bytes) * 8.0 / 1e9;
            notes.push(format!("its rate is above the {gigabits} Gbit/s that {name} can count: nothing is limited"));
        }
        if packets.is_some_and(|rate| rate > most_packets) {
            let packets = f64::from(most_packets);
            notes.push(format!("its rate is above the {packets} packets/s that {name} can count: nothing is limited"));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import_policy::{ImportPolicy, PolicyChain, PolicyRejection};
    use crate::route::Route;
    use flowspec::Community;

    fn rule(actions: &[Action]) -> Rule {
        let rule: Rule = "dst 192.0.2.1/32".parse().unwrap();
        Rule { actions: actions.to_vec(), ..rule }
    }

    fn other(octets: [u8; 8]) -> Action {
        Action::decode(Community::Extended(octets)).unwrap()
    }

    const JUNIPER: [u8; 8] = [0x80, 0x0b, 0, 0, 0, 0, 0, 1];
    const ROUTE_TARGET: [u8; 8] = [0, 2, 0xfd, 0xe8, 0, 0, 0, 100];
    const INTERFACE_SET: [u8; 8] = [0x07, 0x02, 0, 0, 0xfe, 0x2e, 0x40, 0x0c];

    #[test]
    fn an_accept_by_an_unknown_action_is_reported() {
        let capabilities = Capabilities::everything("test");
        let of = |actions: &[Action]| notes(&rule(actions), InterfaceSets::Ignore, &capabilities);
        assert!(of(&[]).is_empty());
        let told = of(&[other(JUNIPER)]);
        assert!(told.len() == 1 && told[0].contains("not a known action") && told[0].contains("accepts"), "{told:?}");
        let told = of(&[other(INTERFACE_SET)]);
        assert!(
            told.len() == 1 && told[0].contains("every filtered interface") && told[0].contains("accepts"),
            "{told:?}"
        );
        let refused = notes(&rule(&[other(INTERFACE_SET)]), InterfaceSets::Refuse, &capabilities);
        assert!(refused.is_empty(), "a refused rule has a reason instead: {refused:?}");
        let discard = Action::RateBytes { asn: 0, rate: flowspec::Rate::new(0.0).unwrap() };
        let told = of(&[discard, other(JUNIPER)]);
        assert!(told.len() == 1 && !told[0].contains("accepts"), "{told:?}");
        assert!(of(&[other(ROUTE_TARGET), discard]).is_empty(), "a route target is no action");
    }

    #[test]
    fn a_policy_may_refuse_unknown_actions() {
        let lenient = ImportPolicy::default();
        let strict = ImportPolicy { unknown_actions: false, ..ImportPolicy::default() };
        let check = |policy: &ImportPolicy, actions: &[Action]| {
            let Rule { nlri, actions, next_hop } = rule(actions);
            let route = Route { actions, next_hop, ..Route::default() };
            PolicyChain::new(policy).evaluate(&nlri, &route).rejection.map_or(Ok(()), Err)
        };
        assert_eq!(check(&lenient, &[other(JUNIPER)]), Ok(()));
        assert!(matches!(check(&strict, &[other(JUNIPER)]), Err(PolicyRejection::UnknownAction(_))));
        assert!(matches!(check(&strict, &[other(INTERFACE_SET)]), Err(PolicyRejection::UnknownAction(_))));
        assert_eq!(check(&strict, &[other(ROUTE_TARGET)]), Ok(()));
        assert_eq!(check(&strict, &[]), Ok(()));
    }

    #[test]
    fn a_rate_that_cannot_be_counted_is_reported() {
        let mut capabilities = Capabilities::everything("test");
        capabilities.limitations.highest_rates = Some((16e9, 1e9));
        let limit = |rate| rule(&[Action::RateBytes { asn: 0, rate: flowspec::Rate::new(rate).unwrap() }]);
        let told = notes(&limit(100e9), InterfaceSets::Refuse, &capabilities);
        assert_eq!(told, ["its rate is above the 128 Gbit/s that test can count: nothing is limited"]);
        assert!(notes(&limit(16e9), InterfaceSets::Refuse, &capabilities).is_empty());
        assert!(notes(&limit(100e9), InterfaceSets::Refuse, &Capabilities::everything("other")).is_empty());
    }
}
