#!/usr/bin/env python3
"""Fails on a comment line of a Rust file over 100 columns (docs/STYLE.md).

Exempt: lines in a code block (```), rows of a table (they begin with `|`), drawings (a run of three or more spaces, or a
box-drawing character), and lines that cannot be broken before column 100, such as a long URL. Comments behind code on the
same line are not looked at: rustfmt decides about those.
"""

import re
import subprocess
import sys
from pathlib import Path

LIMIT = 100
COMMENT = re.compile(r"^\s*//[/!]?(?: |$)")
DRAWING = re.compile(r"\S {3,}\S|[\u2190-\u21ff\u2500-\u257f]")


def long_lines(text: str) -> list[int]:
    """The numbers of the lines that are too long, from 1."""
    found, in_block = [], False
    for number, line in enumerate(text.split("\n"), 1):
        start = COMMENT.match(line)
        if not start:
            in_block = False
            continue
        words = line[start.end() :]
        if words.lstrip().startswith("```"):
            in_block = not in_block
        elif len(line) > LIMIT and not in_block and not words.startswith("|") and not DRAWING.search(words):
            if " " in line[: LIMIT + 1][start.end() :].strip():
                found.append(number)
    return found


def self_test() -> None:
    word = "word " * 25
    assert long_lines(f"// {word}") == [1]
    assert long_lines(f"fn f() {{\n    /// {word}\n}}") == [2]
    assert long_lines(f"/// ```\n/// {word}\n/// ```\n/// {word}") == [4]
    assert long_lines(f"/// | {word} |") == []
    assert long_lines("// https://example.net/" + "x" * 100) == []
    assert long_lines(f"let s = \"// {word}\";") == []
    assert long_lines("// " + "x" * 97) == [] and long_lines("// a " + "x" * 95) == []


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=root, capture_output=True, text=True, check=True).stdout
    failed = 0
    for name in listed.split():
        path = root / name
        if path.exists():
            for number in long_lines(path.read_text(encoding="utf-8")):
                print(f"{name}:{number}: a comment over {LIMIT} columns")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
