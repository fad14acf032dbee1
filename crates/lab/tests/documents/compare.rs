//! Compares the output on a page with what a command printed.

use regex_lite::Regex;

/// A time in RFC 3339, as all commands print it.
const MOMENT: &str = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z";

/// A number as commands print it: alone, with a unit (`168 B`, `1.2 Mbps`), a duration (`9m58s`),
/// or `-` if a counter has not been read.
const QUANTITY: &str = r"(-|[0-9]+(\.[0-9]+)?((ms|[smhd])([0-9]+(ms|[smhd]))*| [kMGT]?(B|bps|pps)| [kMGT])?)";

/// The same where a page shows it: a lone `-` stands between blanks.
const SHOWN_QUANTITY: &str = r"[0-9]+(\.[0-9]+)?((ms|[smhd])([0-9]+(ms|[smhd]))*| [kMGT]?(B|bps|pps)| [kMGT])?|\s+-\s+";

/// Whether they agree: `...` stands for any text within a line, and for any lines where it stands
/// alone; a moment agrees with any moment; where numbers vary, a quantity agrees with any quantity
/// and blanks with any blanks. Blanks at the end of a line and empty lines at the end count for
/// nothing.
pub(crate) fn agrees(shown: &str, printed: &str, numbers_vary: bool) -> bool {
    let shown: Vec<Option<Regex>> = lines(shown).into_iter().map(|line| pattern(line, numbers_vary)).collect();
    fits(&shown, &lines(printed))
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// What a line agrees with; `None` for any number of lines.
fn pattern(line: &str, numbers_vary: bool) -> Option<Regex> {
    if line.trim() == "..." {
        return None;
    }
    let varying = if numbers_vary { format!(r"{SHOWN_QUANTITY}|\s+|") } else { String::new() };
    let token = Regex::new(&format!(r"{MOMENT}|{varying}\.\.\.")).expect("the pattern is ours");
    let mut pattern = String::from("^");
    let mut end = 0;
    for found in token.find_iter(line) {
        pattern.push_str(&regex_lite::escape(&line[end..found.start()]));
        match found.as_str() {
            "..." => pattern.push_str(".*"),
            text if text.trim().is_empty() => pattern.push_str(r"\s+"),
            text if text.contains('T') => pattern.push_str(MOMENT),
            text if text.trim() == "-" => pattern.push_str(&format!(r"\s+{QUANTITY}\s+")),
            _ => pattern.push_str(QUANTITY),
        }
        end = found.end();
    }
    pattern.push_str(&regex_lite::escape(&line[end..]));
    pattern.push('$');
    Some(Regex::new(&pattern).expect("all that is not ours is escaped"))
}

fn fits(shown: &[Option<Regex>], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        ([None, rest @ ..], _) => (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..])),
        ([Some(pattern), shown @ ..], [line, printed @ ..]) => pattern.is_match(line) && fits(shown, printed),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::agrees;

    #[test]
    fn what_agrees_and_what_does_not() {
        assert!(agrees("a\nb\n", "a  \nb\n\n", false));
        assert!(!agrees("a\n", "a\nb\n", false) && !agrees("a\nb\n", "a\n", false) && !agrees("", "a\n", false));
        assert!(agrees("a ... c\n", "a b c\n", false) && !agrees("a ... d\n", "a b c\n", false));
        assert!(agrees("a\n...\nd\n", "a\nb\nc\nd\n", false) && agrees("...\n", "", false));
        assert!(!agrees("a\n...\nd\n", "a\nb\nc\n", false));
        assert!(agrees("at 2026-01-01T00:00:00.000Z (x)", "at 2027-11-23T13:08:01Z (x)", false));
        assert!(!agrees("12 packets", "13 packets", false) && agrees("12 packets", "1.3   packets", true));
        assert!(!agrees("12 packets", "no packets", true) && agrees("0 B  x", "-   x", true));
        assert!(agrees("9m58s  2  168 B", "10m    2  1.2 kB", true) && agrees("a  -  b", "a  12   b", true));
        assert!(agrees("037af410fd40  x", "037af410fd40  x", true) && !agrees("037af410fd40", "037af410fe40", true));
        assert!(!agrees("a.c", "abc", false));
    }
}
