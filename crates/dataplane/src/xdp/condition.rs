//! The condition of the back end apart from its rules: interfaces, warnings, and the program's
//! statistics of all packets.

use super::classifier::Classifier;
use super::links::Links;
use super::redirects::Redirects;
use super::statistics::{STATISTICS, sum};
use crate::{Attachment, Condition, Interface, patterns_match};

/// What is in force.
pub(super) struct EnforcedState<'a> {
    pub(super) classifier: &'a Classifier,
    pub(super) links: &'a Links,
    pub(super) redirects: &'a Redirects,
}

/// The value of [`crate::Dataplane::condition`]. `found` are the interfaces that the patterns match
/// now; `in_force` says why nothing is in force, if so.
pub(super) fn condition(
    found: Vec<(u32, String)>,
    patterns: &[String],
    in_force: Result<EnforcedState<'_>, &str>,
) -> Condition {
    let is_absent = |pattern: &&String| {
        !pattern.starts_with('!') && !found.iter().any(|(_, name)| patterns_match([pattern.as_str()], name))
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
    let EnforcedState { classifier, links, redirects } = match in_force {
        Ok(in_force) => in_force,
        Err(why) => {
            let unattached = |(_, name)| Interface { name, attachment: Attachment::None(why.to_owned()) };
            let interfaces = found.into_iter().map(unattached).chain(absent).collect();
            return Condition { interfaces, ..Condition::default() };
        }
    };
    let counted = sum(&classifier.tables().stats);
    Condition {
        interfaces: links.interfaces(&found).into_iter().chain(absent).collect(),
        warnings: links.fallbacks().chain(redirects.warnings()).collect(),
        statistics: STATISTICS.into_iter().zip(counted).collect(),
        not_enforced: None,
    }
}
