//! How the back end is doing beside its rules: interfaces, warnings, and what the program counted of all packets.

use super::kernel::Xdp;
use super::statistics::{STATISTICS, sum};
use crate::{Attachment, Condition, Interface, means};

impl Xdp {
    /// What [`crate::Dataplane::condition`] says.
    pub(super) fn current_condition(&self) -> Condition {
        let found = self.interfaces().unwrap_or_default();
        let patterns = &self.options.interfaces;
        let is_absent = |pattern: &&String| {
            !pattern.starts_with('!') && !found.iter().any(|(_, name)| means([pattern.as_str()], name))
        };
        let absent = patterns.iter().filter(is_absent);
        let absent = absent.map(|pattern| Interface {
            name: pattern.clone(),
            attachment: Attachment::None("no interface has this name".to_owned()),
        });
        let mut absent: Vec<Interface> = absent.collect();
        if found.is_empty() && absent.is_empty() {
            let why = "exclusions leave no interface".to_owned();
            let nothing = |name: &String| Interface { name: name.clone(), attachment: Attachment::None(why.clone()) };
            absent.extend(patterns.iter().map(nothing));
        }
        let Some(active) = &self.active else {
            let why = self.trouble.clone().unwrap_or_else(|| "nothing was applied yet".to_owned());
            let unattached = |(_, name)| Interface { name, attachment: Attachment::None(why.clone()) };
            let interfaces = found.into_iter().map(unattached).chain(absent).collect();
            return Condition { interfaces, ..Condition::default() };
        };
        let counted = sum(&active.classifier.tables().stats);
        Condition {
            interfaces: active.links.interfaces(&found).into_iter().chain(absent).collect(),
            warnings: active.links.fallbacks().chain(active.redirects.warnings()).collect(),
            statistics: STATISTICS.into_iter().zip(counted).collect(),
            not_enforced: None,
        }
    }
}
