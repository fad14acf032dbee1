//! What a peer has advertised to a [`Speaker`](crate::Speaker).

use std::collections::BTreeMap;

use bgp::{AfiSafi, Destination, RefreshKind, RouteKey, Update};
use flowspec::Rule;

/// What the peer has advertised in the latest session.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Match part of each rule, and the rule as text.
    rules: BTreeMap<String, String>,
    /// The families whose End-of-RIB came, with the number of rules at that time.
    pub ends: Vec<(AfiSafi, usize)>,
    /// UPDATEs with routes.
    pub updates: usize,
    /// ROUTE-REFRESH messages.
    pub refreshes: Vec<RefreshKind>,
    /// The AS_PATHs and LOCAL_PREFs.
    pub attributes: Vec<(Vec<u32>, Option<u32>)>,
    /// Errors of UPDATEs, and routes that are not rules.
    pub errors: Vec<String>,
}

impl Received {
    /// The rules, as text, in any order.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        self.rules.values().cloned().collect()
    }

    pub(crate) fn update(&mut self, update: &Update) {
        self.errors.extend(update.errors.iter().map(|error| format!("{error:?}")));
        self.updates += 1;
        for RouteKey { destination, .. } in &update.withdrawn {
            if let Destination::Flow(nlri) = destination {
                self.rules.remove(&nlri.to_string());
            }
        }
        for group in &update.announced {
            self.attributes.push((group.attributes.as_path.numbers().collect(), group.attributes.local_pref));
            for RouteKey { destination, .. } in &group.routes {
                match (destination, group.attributes.actions()) {
                    (Destination::Flow(nlri), Ok(actions)) => {
                        let rule = Rule { nlri: nlri.clone(), actions, next_hop: group.next_hop };
                        self.rules.insert(nlri.to_string(), rule.to_string());
                    }
                    (destination, actions) => self.errors.push(format!("{destination:?}: {actions:?}")),
                }
            }
        }
    }

    pub(crate) fn end_of_rib(&mut self, family: AfiSafi) {
        self.ends.push((family, self.rules.len()));
    }
}
