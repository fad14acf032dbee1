//! Converts pages of the manual to roff: the few forms of Markdown that they use.

use roff::{Inline, Roff, bold, roman};

/// A page without its title: headings, paragraphs, lists, blocks of code, and tables, of which each
/// row becomes a tagged paragraph.
pub(crate) fn to_roff(page: &str) -> String {
    let mut roff = Roff::new();
    let mut lines = page.lines().skip_while(|line| line.starts_with("# ") || line.is_empty()).peekable();
    let mut heading: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("<!--") {
            if !line.contains("-->") {
                lines.by_ref().find(|line| line.contains("-->"));
            }
        } else if line.starts_with("```") {
            roff.control("PP", []).control("RS", ["4"]).control("nf", []);
            for code in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                roff.text([roman(code)]);
            }
            roff.control("fi", []).control("RE", []).control("PP", []);
        } else if let Some(title) = line.strip_prefix("### ") {
            roff.control("SS", [text_of(title).as_str()]);
        } else if let Some(title) = line.strip_prefix("## ") {
            roff.control("SH", [text_of(title).as_str()]);
        } else if line.starts_with("|--") || line.starts_with("| --") {
            // Between the heading of a table and its rows.
        } else if line.starts_with('|') {
            let cells = cells(line);
            if lines.peek().is_some_and(|next| next.starts_with("|--") || next.starts_with("| --")) {
                heading = cells;
            } else {
                row(&mut roff, &heading, &cells);
            }
        } else if let Some(item) = line.strip_prefix("- ") {
            roff.control("IP", ["\\(bu", "2"]).text(inline(item));
        } else if line.trim().is_empty() {
            roff.control("PP", []);
        } else {
            roff.text(inline(line.trim()));
        }
    }
    roff.to_roff()
}

/// The first cell is the tag; the others follow, with the names of their columns.
fn row(roff: &mut Roff, heading: &[String], cells: &[String]) {
    let Some((tag, rest)) = cells.split_first() else { return };
    roff.control("TP", []).text(inline(tag));
    let mut text = Vec::new();
    for (column, cell) in heading.iter().skip(1).zip(rest).filter(|(_, cell)| !cell.is_empty()) {
        if !column.is_empty() {
            text.push(roman(format!("{column}: ")));
        }
        text.extend(inline(cell));
        text.push(roman(if cell.ends_with('.') { " " } else { ". " }));
    }
    roff.text(text);
}

/// The cells of a row; `\|` is not a border.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches('|').replace("\\|", "\u{1}");
    inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// Text without its markup.
fn text_of(text: &str) -> String {
    without_links(text).replace(['`', '*'], "")
}

/// Code and strong text are bold.
fn inline(text: &str) -> Vec<Inline> {
    let text = without_links(text).replace("**", "`");
    let part = |(index, part): (usize, &str)| if index % 2 == 1 { bold(part) } else { roman(part) };
    text.split('`').enumerate().map(part).collect()
}

/// `[text](address)` becomes its text, and `<a id="x"></a>` nothing.
fn without_links(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['[', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let anchor = from.starts_with("<a ").then(|| from.split_once("</a>")).flatten();
        let link = from[1..].split_once("](").filter(|(label, _)| !label.contains(['[', '`']) || !label.contains(']'));
        if let Some((_, behind)) = anchor {
            out.truncate(out.trim_end().len());
            rest = behind;
        } else if let Some((label, target)) = link.filter(|_| from.starts_with('['))
            && let Some((_, behind)) = target.split_once(')')
        {
            out.push_str(label);
            rest = behind;
        } else {
            out.push_str(&from[..1]);
            rest = &from[1..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_manual() {
        let page = "# Title\n\nSee [limits](limits.md#x), `[router]` and **all**.\n\n## `[a]`: b\n\n| key | default | |\n|---|---|---|\n\
                    | `k-e` <a id=\"a-k\"></a> | `1\\|2` | Text. |\n\n<!-- not\nshown -->\n```toml\n.dot = 1\n```\n- item\n";
        let roff = to_roff(page);
        for part in [
            "See limits, \\fB[router]\\fR and \\fBall\\fR.",
            ".SH \"[a]: b\"",
            ".TP\n\\fBk\\-e\\fR",
            "default: \\fB1|2\\fR. Text.",
            "\\&.dot = 1",
            ".IP \\(bu 2\nitem",
        ] {
            assert!(roff.contains(part), "{part}\n{roff}");
        }
        assert!(!roff.contains("shown") && !roff.contains("Title"), "{roff}");
    }
}
