//! A Markdown page as its commands.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// A command to run, and its output according to the page.
#[derive(Debug)]
pub(crate) struct Command {
    /// Line of the page, from 1.
    pub line: usize,
    /// What a shell gets.
    pub script: String,
    /// What it prints.
    pub output: String,
    /// The lines of `output`, from 0.
    pub output_lines: Range<usize>,
    /// Its exit status.
    pub status: i32,
    /// Whether it stands on the page: what a hidden command prints counts for nothing.
    pub shown: bool,
    /// Whether another number may stand wherever the page has one.
    pub numbers_vary: bool,
}

/// What a page has for the test.
#[derive(Debug, Default)]
pub(crate) struct Page {
    commands: Vec<Command>,
    /// Programs without which the page cannot be run.
    pub needs: Vec<String>,
    /// Mistakes, each with its line.
    pub problems: Vec<(usize, String)>,
}

/// What the HTML comment above a block says about it.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    not_run: bool,
    numbers_vary: bool,
}

/// Languages under which a reader would look for commands: those are `console`.
const SHELLS: &[&str] = &["bash", "sh", "shell", "shell-session", "zsh"];

impl Page {
    /// The commands, hidden ones included, in order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter()
    }

    /// Reads a page.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let mut page = Page::default();
        let mut marks = Marks::default();
        let mut at = 0;
        let mut in_list = false;
        while let Some(&line) = lines.get(at) {
            let trimmed = line.trim_start();
            if let Some(comment) = line.strip_prefix("<!--") {
                let end = end_of(&lines, at, |line| line.contains("-->"))
                    .with_context(|| format!("{path}:{}: this comment does not end", at + 1))?;
                page.comment(comment, &lines[at..=end], at, &mut marks);
                at = end + 1;
                continue;
            }
            if let Some(language) = trimmed.strip_prefix("```") {
                let indent = line.len() - trimmed.len();
                let end = end_of(&lines, at + 1, |line| line.trim() == "```")
                    .with_context(|| format!("{path}:{}: this block does not end", at + 1))?;
                page.block(language, &lines[at + 1..end], at + 1, indent, marks)?;
                marks = Marks::default();
                at = end + 1;
                continue;
            }
            if trimmed.starts_with("- ") || trimmed.starts_with("* ") || starts_with_number(trimmed) {
                in_list = true;
            } else if !line.is_empty() && !line.starts_with(' ') {
                in_list = false;
            }
            let behind_a_blank = at == 0 || lines[at - 1].is_empty();
            if line.starts_with("    ") && behind_a_blank && !in_list {
                page.problems.push((at + 1, "an indented block: fence it, and name its language".to_owned()));
            }
            if trimmed.starts_with("$ ") || trimmed.starts_with("~~~") || trimmed.starts_with("<pre") {
                page.problems.push((at + 1, "a command, or a block in another form: fence it with ```".to_owned()));
            }
            if !line.is_empty() {
                if marks.not_run || marks.numbers_vary {
                    page.problems.push((at, "a mark that stands above no block".to_owned()));
                }
                marks = Marks::default();
            }
            at += 1;
        }
        Ok(page)
    }

    /// `<!-- run`, `<!-- not run: REASON -->`, `<!-- numbers vary -->`, `<!-- needs: PROGRAM..
    /// -->`; other comments mean nothing here.
    fn comment(&mut self, first: &str, lines: &[&str], at: usize, marks: &mut Marks) {
        let first = first.trim().trim_end_matches("-->").trim();
        if first == "run" {
            let script = lines.get(1..lines.len() - 1).unwrap_or_default().join("\n");
            self.commands.push(Command {
                line: at + 1,
                script,
                output: String::new(),
                output_lines: 0..0,
                status: 0,
                shown: false,
                numbers_vary: false,
            });
        } else if let Some(reason) = first.strip_prefix("not run") {
            marks.not_run = true;
            if reason.trim_start_matches(':').trim().is_empty() {
                self.problems.push((at + 1, "`not run` without a reason".to_owned()));
            }
        } else if let Some(programs) = first.strip_prefix("needs:") {
            self.needs.extend(programs.split_whitespace().map(str::to_owned));
        } else if first == "numbers vary" {
            marks.numbers_vary = true;
        }
    }

    /// A fenced block; `at` is the line of its first line, from 0.
    fn block(&mut self, language: &str, lines: &[&str], at: usize, indent: usize, marks: Marks) -> Result<()> {
        let language = language.trim();
        if language != "console" {
            let command = lines.iter().position(|line| line.trim_start().starts_with("$ "));
            if let Some(command) = command.filter(|_| !marks.not_run) {
                self.problems.push((at + command + 1, "a command in a block that is not `console`".to_owned()));
            }
            if SHELLS.contains(&language) {
                self.problems.push((at, format!("a block of `{language}`: write `console`, and `$ ` before commands")));
            }
            if language.is_empty() {
                self.problems.push((at, "a block without a language: `text` where there is none".to_owned()));
            }
            return Ok(());
        }
        if !lines.first().is_some_and(|line| line.trim_start().starts_with("$ ")) {
            self.problems.push((at + 1, "a `console` block begins with `$ ` and a command".to_owned()));
            return Ok(());
        }
        if marks.not_run {
            return Ok(());
        }
        let past = at + lines.len();
        let mut lines = lines.iter().enumerate().map(|(n, line)| (at + n, line.get(indent..).unwrap_or(""))).peekable();
        while let Some((number, line)) = lines.next() {
            let mut script = line.strip_prefix("$ ").context("a line before the first command")?.to_owned();
            while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with("> ") || *line == ">") {
                script.push('\n');
                script.push_str(more.get(2..).unwrap_or(""));
            }
            let status = script.rsplit_once("# exit status ").map_or(Ok(0), |(_, status)| status.trim().parse())?;
            let first = lines.peek().map_or(past, |(number, _)| *number);
            let mut output = String::new();
            let mut end = first;
            while let Some((number, line)) = lines.next_if(|(_, line)| !line.starts_with("$ ")) {
                output.push_str(line);
                output.push('\n');
                end = number + 1;
            }
            ensure!(!script.trim().is_empty(), "line {}: a `$` without a command", number + 1);
            self.commands.push(Command {
                line: number + 1,
                script,
                output,
                output_lines: first..end,
                status,
                shown: true,
                numbers_vary: marks.numbers_vary,
            });
        }
        Ok(())
    }
}

fn end_of(lines: &[&str], from: usize, is_end: impl Fn(&str) -> bool) -> Option<usize> {
    lines.get(from..)?.iter().position(|line| is_end(line)).map(|offset| from + offset)
}

fn starts_with_number(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && rest.starts_with(". ")
}

/// The page with other output; the ranges are those of [`Command::output_lines`], in order.
pub(crate) fn replace(text: &str, replacements: &[(Range<usize>, String)]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut new = String::new();
    let mut at = 0;
    for (range, output) in replacements {
        for line in &lines[at..range.start] {
            new.push_str(line);
            new.push('\n');
        }
        new.push_str(output);
        at = range.end;
    }
    for line in &lines[at..] {
        new.push_str(line);
        new.push('\n');
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_with_their_output() {
        let text = "# Page\n\n<!-- run\ntrue\n-->\n\n<!-- numbers vary -->\n```console\n$ one \\\n> two\nout 1\n$ three  # exit status 1\n```\n";
        let page = Page::parse("page", text).unwrap();
        let all: Vec<_> = page.commands().map(|c| (c.script.as_str(), c.output.as_str(), c.status, c.shown)).collect();
        assert_eq!(
            all,
            [("true", "", 0, false), ("one \\\ntwo", "out 1\n", 0, true), ("three  # exit status 1", "", 1, true)]
        );
        assert_eq!(page.problems, []);
        let replacements: Vec<_> =
            page.commands().filter(|c| c.shown).map(|c| (c.output_lines.clone(), "new\n".to_owned())).collect();
        let updated = replace(text, &replacements);
        assert!(updated.ends_with("$ one \\\n> two\nnew\n$ three  # exit status 1\nnew\n```\n"), "{updated}");
    }

    #[test]
    fn what_could_hide_a_command_is_a_mistake() {
        let problem = |text: &str| {
            let page = Page::parse("page", text).unwrap();
            page.problems.into_iter().map(|(line, _)| line).collect::<Vec<usize>>()
        };
        assert_eq!(problem("a\n\n    make test\n"), [3]);
        assert_eq!(problem("- a\n\n  more\n\n      not code\n"), [0_usize; 0]);
        assert_eq!(problem("- a\n\n      $ ls\n\n~~~\n"), [3, 5]);
        assert_eq!(problem("```text\n$ ls\n```\n"), [2]);
        assert_eq!(problem("```sh\nls\n```\n"), [1]);
        assert_eq!(problem("```\nls\n```\n"), [1]);
        assert_eq!(problem("```console\nls\n```\n"), [2]);
        assert_eq!(problem("<!-- not run: it needs a switch -->\n```console\n$ ls\n```\n"), [0_usize; 0]);
        assert_eq!(problem("<!-- not run -->\n```console\n$ ls\n```\n"), [1]);
        assert_eq!(problem("<!-- not run: why -->\ntext\n"), [1]);
        assert!(Page::parse("page", "```console\n$ ls\n").is_err());
    }
}
