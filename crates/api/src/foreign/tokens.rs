//! The words of configurations with braces.

/// How many more braces a line opens than it closes; those in quotes and comments do not count.
pub(super) fn depth(line: &str) -> i64 {
    tokens(line).iter().fold(0, |depth, (_, token)| match token.as_str() {
        "{" => depth + 1,
        "}" => depth - 1,
        _ => depth,
    })
}

/// Words, quoted texts without their quotes, and each of `{};[]`, with the lines before each.
pub(super) fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let mut in_comment = false;
    for (line, text) in text.lines().enumerate() {
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            if in_comment {
                let Some((_, after)) = rest.split_once("*/") else { break };
                (in_comment, rest) = (false, after);
                continue;
            }
            if let Some(after) = rest.strip_prefix("/*") {
                (in_comment, rest) = (true, after);
                continue;
            }
            if rest.is_empty() || rest.starts_with('#') {
                break;
            }
            if let Some(quoted) = rest.strip_prefix('"') {
                let (inside, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                tokens.push((line, inside.to_owned()));
                rest = after;
                continue;
            }
            let punctuation = |c: char| "{};[]".contains(c);
            let len = match rest.chars().next() {
                Some(c) if punctuation(c) => 1,
                _ => rest.find(|c: char| c.is_whitespace() || punctuation(c) || c == '"').unwrap_or(rest.len()),
            };
            tokens.push((line, rest[..len].to_owned()));
            rest = &rest[len..];
        }
    }
    tokens
}
