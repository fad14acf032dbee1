#!/usr/bin/env python3
"""What the compiler does not say of types, from the source itself. Tests are left out: files below a `tests` folder, files named tests.rs, and
what stands behind `#[cfg(test)]`.

1. No `Result<_, String>`: errors are types, and the sentence is written where it is shown.
2. A struct that changes itself (a method takes `&mut self`) has no field that is `pub(super)` or `pub(crate)`: those files do not state what
   the fields promise. Where nothing is promised, or where files share a structure for speed, the struct's documentation says so with a
   sentence that begins `Plain data` or `Open to`, with the reason.

`--self-test` holds the check against examples."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEST = re.compile(r"#\[cfg\((?:test|all\(test\b[^)]*\))\)\]")
COMMENT = re.compile(r"//[^\n]*")
STRING = re.compile(r'r(#*)".*?"\1|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'', re.S)
STRUCT = re.compile(r"\bstruct\s+(\w+)\s*(<[^{};()]*>)?\s*(?:where[^{;]*)?([{(])")
FIELD = re.compile(r"\bpub\((?:super|crate|in [\w:]+)\)\s+(?:r#)?\w+\s*:(?!:)")
TUPLE_FIELD = re.compile(r"\bpub\((?:super|crate|in [\w:]+)\)")
IMPL = re.compile(r"\bimpl\b\s*(<)?")


def blank(match):
    """The same length and lines, without what could be taken for code."""
    return re.sub(r"[^\n]", " ", match.group())


def code(text):
    """The source without comments, texts and tests."""
    pattern = re.compile(COMMENT.pattern + "|" + STRING.pattern, re.S)
    text = pattern.sub(blank, text)
    while match := TEST.search(text):
        start = match.start()
        opening = re.compile(r"[{;]").search(text, match.end())
        end = len(text) if opening is None else closing(text, opening.start()) if opening.group() == "{" else opening.end()
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def closing(text, at):
    """Where the bracket that opens at `at` is closed."""
    pairs = {"{": "}", "(": ")", "<": ">"}
    opening, close, depth = text[at], pairs[text[at]], 0
    for index in range(at, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == close and not (close == ">" and text[index - 1] in "-="):
            depth -= 1
            if depth == 0:
                return index + 1
    return len(text)


def line(text, at):
    return text.count("\n", 0, at) + 1


def string_errors(text):
    """Lines with a `Result` whose error is a String."""
    for match in re.finditer(r"\bResult<", text):
        inside = text[match.end() : closing(text, match.end() - 1) - 1].rstrip(" \n,")
        depth, last = 0, None
        for index, octet in enumerate(inside):
            if octet in "<([{":
                depth += 1
            elif octet in ")]}" or octet == ">" and inside[index - 1] not in "-=":
                depth -= 1
            elif octet == "," and depth == 0:
                last = index
        if last is not None and inside[last + 1 :].strip() == "String":
            yield line(text, match.start())


def open_structs(text):
    """Structs with fields that some files may see: name, line."""
    for match in STRUCT.finditer(text):
        body = text[match.end() - 1 : closing(text, match.end() - 1)]
        if (FIELD if match.group(3) == "{" else TUPLE_FIELD).search(body):
            yield match.group(1), line(text, match.start())


def is_excused(source, at):
    """Whether the documentation above this line says why the fields are open."""
    for text in reversed(source.split("\n")[: at - 1]):
        if not text.strip().startswith(("///", "#[")):
            return False
        if re.search(r"///.*\b(?:Plain data|Open to)\b", text):
            return True
    return False


def changing(text):
    """Names of types of which an own method takes `&mut self`."""
    for match in IMPL.finditer(text):
        at = match.end()
        if match.group(1):
            at = closing(text, match.end() - 1)
        brace = text.find("{", at)
        head = text[at:brace] if brace >= 0 else ""
        name = re.match(r"\s*(?:[\w]+::)*(\w+)", head)
        if brace < 0 or not name or re.search(r"\bfor\b", head):
            continue
        if re.search(r"\(\s*&(?:'\w+\s+)?mut\s+self\b", text[brace : closing(text, brace)]):
            yield name.group(1)


def sources():
    for path in sorted(ROOT.glob("crates/*/src/**/*.rs")):
        if "tests" not in path.parts and path.name != "tests.rs":
            yield path


def check():
    bad = []
    structs, changed = {}, set()
    for path in sources():
        source, name = path.read_text(), path.relative_to(ROOT)
        text = code(source)
        # Two folders of a crate may have types of the same name.
        room = name.parts[1:4] if len(name.parts) > 4 else (name.parts[1],)
        bad += [f"{name}:{at}: an error that is a String: make it a type" for at in string_errors(text)]
        for struct, at in open_structs(text):
            if not is_excused(source, at):
                structs[room, struct] = f"{name}:{at}"
        changed |= {(room, struct) for struct in changing(text)}
    for key, place in sorted(structs.items()):
        if key in changed:
            bad.append(f"{place}: {key[1]} changes itself, and other files see its fields: make them private")
    return bad


def self_test():
    assert list(string_errors("fn a() -> Result<(), String> {}\nfn b() -> Result<String, E> {}")) == [1]
    assert list(string_errors("type A = Sender<Result<Vec<(u8, u8)>, String>>;")) == [1]
    assert list(string_errors("x: Result<\n    HashMap<String, String>,\n    String,\n>;")) == [1]
    assert list(string_errors(code("// Result<(), String>\nlet a = \"Result<(), String>\";"))) == []
    assert list(string_errors(code("#[cfg(test)]\nmod tests { fn a() -> Result<(), String> {} }\nfn b() -> io::Result<String> {}"))) == []
    assert list(string_errors("fn a() -> Result<fn(u8) -> u8, String>")) == [1]
    assert [name for name, _ in open_structs("pub struct A { pub(super) a: u8 }\nstruct B { a: u8 }\nstruct C<T>(pub(crate) T);")] == ["A", "C"]
    assert list(changing("impl<T: Fn() -> u8> A<T> { fn a(&mut self) {} }\nimpl X for B { fn b(&mut self) {} }\nimpl C { fn c(&self) {} }")) == ["A"]
    assert is_excused("/// A pair. Plain data.\n#[derive(Debug)]\nstruct A {}", 3) and not is_excused("// Plain data\nstruct A {}", 2)


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        self_test()
        sys.exit(0)
    found = check()
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)
