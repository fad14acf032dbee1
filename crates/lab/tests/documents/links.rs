//! Relative links of a page, and the anchors that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The links of a page that lead nowhere, each as `PAGE:LINE: LINK`.
pub(crate) fn broken(root: &Path, path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    let directory = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    for (number, line) in prose(&text) {
        for link in targets(line) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { root.join(path) } else { root.join(directory).join(file) };
            let found = match anchor {
                None => target.exists(),
                Some(anchor) => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            if !found {
                problems.push(format!("{path}:{}: {link}", number + 1));
            }
        }
    }
    Ok(problems)
}

/// The lines outside of fenced blocks, with their numbers from 0.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// What stands in `](...)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// The names of a page's places: its headings as GitHub and mdBook make names of them, and its `<a
/// id="...">`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, line) in prose(text) {
        if let Some(heading) = line.strip_prefix('#') {
            let name = slug(heading.trim_start_matches('#').trim());
            let mut unique = name.clone();
            let mut count = 0;
            while !names.insert(unique.clone()) {
                count += 1;
                unique = format!("{name}-{count}");
            }
        }
        names.extend(line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    names
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_page() {
        let found =
            anchors("# `[protect]`: what stays\n\n## A, b\n\n## A, b\n\n```\n# no\n```\n| `x` <a id=\"y-x\"></a> |\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a-b", "a-b-1", "protect-what-stays", "y-x"]);
        assert_eq!(targets("[a](b.md) and [c](d#e)").collect::<Vec<_>>(), ["b.md", "d#e"]);
    }
}
