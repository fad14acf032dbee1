//! Text of others in documents: names, reasons and rules come from peers, and must not become
//! commands of a terminal, formulas of a spreadsheet or links of a page.

/// For a terminal, and for a line of its own: control characters are shown, not sent.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if is_unseen(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Characters that change what is seen without being seen: control characters, line ends, and those
/// that turn the direction of the text.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A cell of a CSV file (RFC 4180), always in quotes. What a spreadsheet would take for a formula
/// begins with an apostrophe.
pub(super) fn csv_cell(text: &str) -> String {
    let text = visible(text);
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\\', '|', '%']);
    let quoted = text.replace('"', "\"\"");
    if is_formula { format!("\"'{quoted}\"") } else { format!("\"{quoted}\"") }
}

/// A line of a CSV file.
pub(super) fn csv_line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    cells.into_iter().map(csv_cell).collect::<Vec<_>>().join(",")
}

/// Text in Markdown: every sign that could mean something has a backslash (CommonMark §2.4).
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text).chars() {
        if matches!(
            character,
            '\\' | '`'
                | '*'
                | '_'
                | '{'
                | '}'
                | '['
                | ']'
                | '('
                | ')'
                | '<'
                | '>'
                | '#'
                | '!'
                | '|'
                | '~'
                | '&'
                | '@'
                | '$'
        ) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    // Some dialects make links of addresses.
    escaped.replace("://", "\\://").replace("www.", "www\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_command_of_a_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\r\nc\u{202e}d\u{9b}"), "a\\u{1b}[31mb\\r\\nc\\u{202e}d\\u{9b}");
        assert_eq!(visible("dst 192.0.2.1/32 ä"), "dst 192.0.2.1/32 ä");
    }

    #[test]
    fn no_cell_is_a_formula_and_none_ends_early() {
        for (text, cell) in [
            ("plain", "\"plain\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\\t=1\""),
            ("\n=1", "\"'\\n=1\""),
            ("＝1", "\"'＝1\""),
            ("", "\"\""),
        ] {
            assert_eq!(csv_cell(text), cell, "{text:?}");
        }
        assert_eq!(csv_line(["a", "=b"]), "\"a\",\"'=b\"");
    }

    #[test]
    fn markdown_shows_text_as_it_is() {
        for (text, shown) in [
            ("[a](http://x)", "\\[a\\]\\(http\\://x\\)"),
            ("see https://x", "see https\\://x"),
            ("<script>", "\\<script\\>"),
            ("a|b", "a\\|b"),
            ("![x](y)", "\\!\\[x\\]\\(y\\)"),
            ("line\nnext", "line\\\\nnext"),
            ("&amp;", "\\&amp;"),
            ("dst 192.0.2.1/32", "dst 192.0.2.1/32"),
        ] {
            assert_eq!(markdown(text), shown, "{text:?}");
        }
    }
}
