//! Matches interface names with patterns; the same way for all back ends and the configuration.

/// Whether a name matches a pattern with `*` (any characters) and `?` (one character).
pub fn glob(pattern: &str, name: &str) -> bool {
    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            // Two stars match the same as one, and would only cost time.
            (Some((b'*', rest @ [b'*', ..])), _) => matches(rest, name),
            (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
            (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
            (Some((a, rest)), Some((b, name))) => a == b && matches(rest, name),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
    matches(pattern.as_bytes(), name.as_bytes())
}

/// Whether `patterns` together match `name`: one of them matches, or there are only exclusions (`!`
/// in front), and no exclusion matches. Loopback matches only its own name.
pub fn patterns_match<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let (mut wanted, mut only_exclusions) = (false, true);
    for pattern in patterns {
        let (body, excludes) = pattern.strip_prefix('!').map_or((pattern, false), |body| (body, true));
        let matches = glob(body, name) && (name != "lo" || body == "lo");
        if excludes && matches {
            return false;
        }
        only_exclusions &= excludes;
        wanted |= matches;
    }
    wanted || only_exclusions && name != "lo"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_patterns_and_exclusions() {
        for (patterns, name, meant) in [
            (&["swp*"][..], "swp1", true),
            (&["swp*"], "eth0", false),
            (&["swp?"], "swp10", false),
            (&["e*0", "!eth0"], "eth0", false),
            (&["e*0", "!eth0"], "ens0", true),
            (&["!eth0"], "swp1", true),
            (&["!eth0"], "lo", false),
            (&["*"], "lo", false),
            (&["lo"], "lo", true),
            (&["**********a*********b"], "aaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(patterns_match(patterns.iter().copied(), name), meant, "{patterns:?} {name}");
        }
    }
}
