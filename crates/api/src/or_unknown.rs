//! Names that this version may not know.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// A closed set of names, as used in JSON, metrics and text for people.
pub trait Named: Copy + Eq + 'static {
    /// All members, in display order. There is at least one.
    const ALL: &'static [Self];

    /// The member's name.
    fn name(self) -> &'static str;

    /// The member with this name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|member| member.name() == name)
    }
}

/// A member of `T`, or a name that this version does not know: a newer daemon may send it.
///
/// In JSON both are the plain name, so that an older client reads a newer daemon's answer, shows
/// it, and writes it again unchanged. The order is that of the names.
#[derive(Clone)]
pub enum OrUnknown<T> {
    /// A member.
    Known(T),
    /// Any other name.
    Unknown(Box<str>),
}

impl<T: Named> OrUnknown<T> {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            OrUnknown::Known(member) => member.name(),
            OrUnknown::Unknown(name) => name,
        }
    }

    /// The member; `None` if this version does not know the name.
    pub const fn known(&self) -> Option<T> {
        match self {
            OrUnknown::Known(member) => Some(*member),
            OrUnknown::Unknown(_) => None,
        }
    }
}

/// The first member.
impl<T: Named> Default for OrUnknown<T> {
    fn default() -> Self {
        OrUnknown::Known(T::ALL[0])
    }
}

impl<T: Named> From<T> for OrUnknown<T> {
    fn from(member: T) -> Self {
        OrUnknown::Known(member)
    }
}

impl<T: Named> From<&str> for OrUnknown<T> {
    fn from(name: &str) -> Self {
        T::from_name(name).map_or_else(|| OrUnknown::Unknown(name.into()), OrUnknown::Known)
    }
}

impl<T: Named> PartialEq for OrUnknown<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl<T: Named> PartialEq<T> for OrUnknown<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(*other)
    }
}

impl<T: Named> Eq for OrUnknown<T> {}

impl<T: Named> PartialOrd for OrUnknown<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Named> Ord for OrUnknown<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl<T: Named> Hash for OrUnknown<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl<T: Named> fmt::Debug for OrUnknown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrUnknown::Known(member) => f.write_str(member.name()),
            OrUnknown::Unknown(name) => write!(f, "unknown {name:?}"),
        }
    }
}

impl<T: Named> fmt::Display for OrUnknown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl<T: Named> Serialize for OrUnknown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de, T: Named> Deserialize<'de> for OrUnknown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<T>(PhantomData<T>);

        impl<T: Named> Visitor<'_> for Name<T> {
            type Value = OrUnknown<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(name.into())
            }
        }

        deserializer.deserialize_str(Name(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, RuleState};
    use std::collections::BTreeMap;

    #[test]
    fn every_name_is_read_back_and_names_are_different() {
        fn check<T: Named + fmt::Debug>() {
            for member in T::ALL {
                let json = serde_json::to_string(&OrUnknown::from(*member)).unwrap();
                assert_eq!(json, format!("\"{}\"", member.name()));
                assert_eq!(serde_json::from_str::<OrUnknown<T>>(&json).unwrap().known(), Some(*member));
            }
        }
        check::<RuleState>();
        check::<EventKind>();
        check::<crate::Backend>();
        check::<crate::SessionState>();
        check::<crate::Verdict>();
        check::<crate::AddressFamily>();
        check::<flowspec::Family>();
    }

    #[test]
    fn an_unknown_name_is_kept() {
        let states: BTreeMap<OrUnknown<RuleState>, u64> =
            serde_json::from_str(r#"{"stale":1,"quarantined":2,"installed":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&states).unwrap(), r#"{"installed":3,"quarantined":2,"stale":1}"#);
        let unknown = OrUnknown::<RuleState>::from("quarantined");
        assert_eq!((states[&unknown], unknown.known()), (2, None));
        assert!(RuleState::ALL.iter().all(|state| unknown != *state));
        assert_eq!(format!("{unknown:<13}|"), "quarantined  |");
        assert!(serde_json::from_str::<OrUnknown<RuleState>>("3").is_err(), "a number is no name");
    }
}
