//! Strict JSON: members in their order, none twice, and values kept as written until they are
//! parsed. (A general JSON value would silently use the last of two members, and round a long
//! number.)

use crate::error::ParseError;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Most members of an object; ExaBGP's have a few, one for each next hop at most.
const MAX_MEMBERS: usize = 1024;

/// The members of an object, in order, each once.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Pairs<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }
}

/// Parses a value.
pub(crate) fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, ParseError> {
    serde_json::from_str(value.get()).map_err(|error| ParseError::new(words(&error)))
}

/// The message of serde_json, without its line number, which is always 1.
pub(crate) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) if error.column() > 0 => format!("{what} (column {})", error.column()),
        _ => text,
    }
}

/// An array of strings.
pub(crate) fn text_list(value: &RawValue) -> Result<Vec<Cow<'_, str>>, ParseError> {
    // A derived `Cow` would own every string.
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(parse::<Vec<Text<'_>>>(value)?.into_iter().map(|text| text.0).collect())
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'a>, M::Error> {
                let mut pairs = Pairs::default();
                while let Some((name, value)) = map.next_entry::<Name<'a>, &'a RawValue>()? {
                    if pairs.0.len() == MAX_MEMBERS {
                        return Err(M::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
                    }
                    if pairs.get(&name.0).is_some() {
                        return Err(M::Error::custom(format_args!("`{}` is there twice", name.0)));
                    }
                    pairs.0.push((name.0, value));
                }
                Ok(pairs)
            }
        }
        #[derive(serde::Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}
