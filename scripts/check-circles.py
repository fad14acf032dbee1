#!/usr/bin/env python3
"""Refuses circles: between the crates of the workspace, and between the files of a crate.

    scripts/check-circles.py              checks this workspace
    scripts/check-circles.py --self-test  checks this script against small trees, good and bad
    scripts/check-circles.py --edges CRATE  prints what each file of a crate imports

Crates: the graph is that of `cargo metadata`, normal, build and dev-dependencies alike. A crate's dev-dependency on itself, which turns a
feature on for its tests, is none.

Files: the graph is made from the sources, without a list kept by hand. A file imports another one of its crate where it names something that
the other one defines:

  - in a `use` declaration (`crate::`, `super::`, `self::`, or a child module first), which is followed through re-exports to the file that
    defines the name;
  - in a path, `crate::x::y` or `x::y`, where x is a module that is a child or was imported.

These are no imports:

  - `mod child;`, which only says where the child is;
  - `use path::to::module;`, which only shortens paths: the paths that begin with it count;
  - a re-export, `pub use child::Name;`, unless the file uses the name itself: so a `mod.rs` or `lib.rs` that declares its children and shows
    what others may use is in no circle with them, and one that defines what its children import is, as soon as it imports from them;
  - what stands in `#[cfg(test)] mod name { ... }`: tests may use what they like. (A test module in a file of its own imports, and nobody imports
    from it.)
  - a method call: which file a method is in is not seen.

A circle is a set of files of which each reaches each other one over imports.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Crates whose files are still in circles, with how many files are: this may only shrink, and an entry that is too high is refused, too.
ALLOWED = {}

IDENT = r"[A-Za-z_][A-Za-z0-9_]*"


def blank(text):
    """The text with comments, strings and characters as blanks, so that all places stay the same."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|\bb?c?r(#*)".*?"\1|\bb?c?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*"|b?\'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\\'])\'', re.S
    )
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def closing(text, start):
    """The place behind the brace that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
    return len(text)


class File:
    """A module with a file of its own."""

    def __init__(self, path, parent, name):
        self.path, self.parent, self.name = path, parent, name
        self.children = {}
        raw = path.read_text()
        text = blank(raw)
        # Tests inside of the file.
        while True:
            test = re.search(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+" + IDENT + r"\s*\{", text)
            if not test:
                break
            end = closing(text, test.end() - 1)
            text = text[: test.start()] + re.sub(r"[^\n]", " ", text[test.start() : end]) + text[end:]
        self.raw, self.text = raw, text
        self.inline = [
            (m.start(), closing(text, m.end() - 1)) for m in re.finditer(r"\bmod\s+" + IDENT + r"\s*\{", text)
        ]
        self.defined = self.definitions()
        self.uses = []  # (place, is re-export, path, alias); alias "*" for all
        for use in re.finditer(r"(\bpub(?:\s*\([^)]*\))?\s+)?\buse\s+([^;]+);", text):
            for path_, alias in tree(use.group(2)):
                self.uses.append((use.start(2), bool(use.group(1)), path_, alias))
        self.use_spans = [(m.start(), m.end()) for m in re.finditer(r"\buse\s+[^;]+;", text)]

    def definitions(self):
        """Names that are defined here, also in modules and impls inside of the file."""
        kinds = r"(?:const|static|fn|struct|enum|trait|type|union|mod)"
        names = set(re.findall(r"\b" + kinds + r"\s+(?:mut\s+)?(" + IDENT + r")\b", self.text))
        names |= set(re.findall(r"\bmacro_rules!\s*(" + IDENT + r")", self.text))
        declared = set(re.findall(r"\bmod\s+(" + IDENT + r")\s*;", self.text))
        return names - declared

    def line(self, place):
        return self.text.count("\n", 0, place) + 1


def tree(text):
    """Each path of a `use` tree, and the name that it brings in."""
    text = re.sub(r"\s+", " ", text).strip()

    def split(body):
        depth, part = 0, ""
        for c in body:
            if c == "," and depth == 0:
                yield part
                part = ""
                continue
            depth += (c == "{") - (c == "}")
            part += c
        if part.strip():
            yield part

    def walk(prefix, body):
        body = body.strip()
        if "{" in body:
            head, rest = body.split("{", 1)
            inner = rest[: rest.rindex("}")]
            head = [s.strip() for s in head.split("::") if s.strip()]
            for part in split(inner):
                yield from walk(prefix + head, part)
            return
        path, _, alias = body.partition(" as ")
        segments = prefix + [s.strip() for s in path.split("::") if s.strip()]
        if segments and segments[-1] == "self" and len(segments) > 1:
            segments = segments[:-1]
        if segments:
            yield segments, alias.strip() or segments[-1]

    return list(walk([], text))


class Crate:
    """The files of one target: its root and the modules below."""

    def __init__(self, root):
        self.files = []
        self.root = self.load(root, None, "crate", root.parent)

    def load(self, path, parent, name, directory):
        file = File(path, parent, name)
        self.files.append(file)
        for m in re.finditer(r"((?:#\[[^\n]*\]\s*)*)(?:pub(?:\s*\([^)]*\))?\s+)?\bmod\s+(" + IDENT + r")\s*;", file.text):
            child = m.group(2)
            given = re.search(r"path\s*=\s*\"([^\"]+)\"", file.raw[m.start() : m.end()])
            if given:
                where = (path.parent / given.group(1)).resolve()
                below = where.parent
            else:
                where = directory / f"{child}.rs"
                if not where.exists():
                    where = directory / child / "mod.rs"
                below = directory / child
            if where.exists():
                file.children[child] = self.load(where, file, child, below)
        return file

    def resolve(self, file, segments, seen=frozenset()):
        """The file that defines what a path names: (file, True), or (module, False) where it names a module. None: outside of the crate."""
        first, rest = segments[0], list(segments[1:])
        if first == "crate":
            return self.inside(self.root, rest, seen)
        if first == "self":
            return self.inside(file, rest, seen)
        if first == "super":
            up = file.parent or file
            while rest and rest[0] == "super":
                up, rest = up.parent or up, rest[1:]
            return self.inside(up, rest, seen)
        if first in file.children:
            return self.inside(file.children[first], rest, seen)
        if len(segments) > 1 or first not in file.defined:
            for _, _, path, alias in file.uses:
                # `use name;` or `use name::{self, ..}` brings in a crate of that name.
                if alias == first and path[0] != first and (id(file), first) not in seen:
                    target = self.resolve(file, path, seen | {(id(file), first)})
                    if target and not target[1] and rest:
                        return self.inside(target[0], rest, seen)
                    return target
        return None

    def inside(self, module, rest, seen):
        for count, name in enumerate(rest):
            if name == "*":
                return module, True
            if name in module.children:
                module = module.children[name]
                continue
            if name in module.defined:
                return module, True
            key = (id(module), name)
            if key in seen:
                return module, True
            seen = seen | {key}
            for _, _, path, alias in module.uses:
                if alias == name:
                    target = self.resolve(module, path, seen)
                    if target is None:
                        return None
                    return target if target[1] else self.inside(target[0], rest[count + 1 :], seen)
            for _, _, path, alias in module.uses:
                if alias == "*" and (target := self.resolve(module, path[:-1], seen)):
                    found = self.inside(target[0], rest[count:], seen)
                    if found and (not found[1] or name in found[0].defined):
                        return found
            return module, True
        return module, False

    def edges(self):
        """{(file, file it imports): line}"""
        edges = {}

        def add(file, target, place):
            if target and target[1] and target[0] is not file:
                edges.setdefault((file.path, target[0].path), file.line(place))

        for file in self.files:
            def own(place, segments):
                # `super` inside of `mod name { .. }` is this file.
                depth = sum(start < place < end for start, end in file.inline)
                while depth and segments and segments[0] == "super":
                    segments, depth = segments[1:] or ["self"], depth - 1
                    if segments[0] != "super":
                        segments = ["self"] + [s for s in segments if s != "self"]
                        break
                return segments

            for place, exported, path, alias in file.uses:
                path = own(place, path)
                target = self.resolve(file, path)
                if exported and not self.uses_itself(file, alias):
                    continue
                add(file, target, place)
            for m in re.finditer(r"(?<![\w:.$])(" + IDENT + r")((?:\s*::\s*" + IDENT + r")+)", file.text):
                if any(start <= m.start() < end for start, end in file.use_spans):
                    continue
                segments = [m.group(1)] + [s.strip() for s in m.group(2).split("::") if s.strip()]
                add(file, self.resolve(file, own(m.start(), segments)), m.start())
        return edges

    @staticmethod
    def uses_itself(file, name):
        """Whether a name occurs outside of `use` declarations."""
        for m in re.finditer(r"(?<![\w.])" + re.escape(name) + r"\b", file.text):
            if not any(start <= m.start() < end for start, end in file.use_spans):
                return True
        return False


def circles(edges):
    """Sets of nodes of which each reaches each other one (Tarjan)."""
    graph = {}
    for a, b in edges:
        graph.setdefault(a, []).append(b)
        graph.setdefault(b, [])
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set()
            while True:
                other = stack.pop()
                on.discard(other)
                group.add(other)
                if other == node:
                    break
            if len(group) > 1:
                found.append(group)

    sys.setrecursionlimit(10_000)
    for node in graph:
        if node not in index:
            visit(node)
    return found


def metadata():
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def check_crates(packages):
    names = {package["name"] for package in packages}
    edges = [(p["name"], d["name"]) for p in packages for d in p["dependencies"] if d["name"] in names and d["name"] != p["name"]]
    bad = circles(edges)
    for group in bad:
        print(f"crates in a circle: {', '.join(sorted(group))}", file=sys.stderr)
        for a, b in sorted(set(edges)):
            if a in group and b in group:
                print(f"    {a} depends on {b}", file=sys.stderr)
    return not bad


def file_circles(root):
    edges = Crate(root).edges()
    return edges, circles(edges)


def shown(path):
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def check_files(packages):
    fine = True
    for package in packages:
        inside = 0
        lines = []
        for target in package["targets"]:
            if "custom-build" in target["kind"]:
                continue
            edges, bad = file_circles(Path(target["src_path"]))
            for group in bad:
                inside += len(group)
                lines.append(f"{package['name']}: {len(group)} files in a circle:")
                for (a, b), line in sorted(edges.items()):
                    if a in group and b in group:
                        lines.append(f"    {shown(a)}:{line} imports from {shown(b)}")
        allowed = ALLOWED.get(package["name"], 0)
        if inside > allowed:
            print("\n".join(lines), file=sys.stderr)
            if allowed:
                print(f"{package['name']}: {inside} files in circles, and {allowed} are allowed", file=sys.stderr)
            fine = False
        elif inside < allowed:
            print(f"{package['name']}: only {inside} files are in circles: lower the number in {sys.argv[0]}", file=sys.stderr)
            fine = False
    return fine


def self_test():
    def tree_of(files):
        directory = Path(tempfile.mkdtemp())
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory / "lib.rs"

    cases = [
        ("two files", {"lib.rs": "mod a;\nmod b;", "a.rs": "use crate::b::B;\npub struct A;", "b.rs": "use crate::a::A;\npub struct B;"}, 2),
        ("a line of two", {"lib.rs": "mod a;\nmod b;", "a.rs": "use crate::b::B;\npub struct A;", "b.rs": "pub struct B;"}, 0),
        ("a parent that declares and shows", {
            "lib.rs": "mod a;\nmod b;\npub use a::A;\npub use b::B;",
            "a.rs": "use super::B;\npub struct A;", "b.rs": "pub struct B;"}, 0),
        ("through the parent's re-exports", {
            "lib.rs": "mod a;\nmod b;\npub use a::A;\npub use b::B;",
            "a.rs": "use super::B;\npub struct A;", "b.rs": "use crate::A;\npub struct B;"}, 2),
        ("a parent that defines what its child imports, and imports from it", {
            "lib.rs": "mod a;\nuse a::A;\npub struct P(A);", "a.rs": "use super::P;\npub struct A;"}, 2),
        ("a parent that re-exports and uses the name itself", {
            "lib.rs": "mod a;\npub use a::A;\npub struct P(A);", "a.rs": "use super::P;\npub struct A;"}, 2),
        ("a parent that only defines", {"lib.rs": "mod a;\npub struct P;", "a.rs": "use super::P;\npub struct A(P);"}, 0),
        ("paths in the code", {
            "lib.rs": "mod a;\nmod b;", "a.rs": "pub fn f() { crate::b::g() }", "b.rs": "use super::a;\npub fn g() { a::f() }"}, 2),
        ("an imported module that is not used", {
            "lib.rs": "mod a;\nmod b;", "a.rs": "pub fn f() { crate::b::g() }", "b.rs": "use super::a;\npub fn g() {}"}, 0),
        ("a method of a type of the other file", {
            "lib.rs": "mod a;\nmod b;", "a.rs": "pub struct A;", "b.rs": "use crate::a::A;\nimpl A { fn f() {} }"}, 0),
        ("tests inside", {
            "lib.rs": "mod a;\nmod b;", "a.rs": "pub struct A;\n#[cfg(test)]\nmod tests { use super::*; use crate::b::B; }",
            "b.rs": "use crate::a::A;\npub struct B;"}, 0),
        ("comments and strings", {
            "lib.rs": "mod a;\nmod b;", "a.rs": "// crate::b::B\npub const A: &str = \"crate::b::B\"; fn f<'a>(x: &'a str) {}",
            "b.rs": "use crate::a::A;\npub struct B;"}, 0),
        ("folders, braces and names", {
            "lib.rs": "mod a;", "a/mod.rs": "mod x;\nmod y;\npub use {x::X, y::Y as Z};",
            "a/x.rs": "use crate::a::{self, Z as W};\npub struct X;", "a/y.rs": "use super::{x::X};\npub struct Y;"}, 2),
        ("a crate of the same name as a function", {"lib.rs": "mod a;", "a.rs": "use config::Config;\npub fn config() -> Config { config::load() }"}, 0),
        ("three files", {
            "lib.rs": "mod a;\nmod b;\nmod c;", "a.rs": "use crate::b::B;\npub struct A;", "b.rs": "use crate::c::C;\npub struct B;",
            "c.rs": "pub struct C(crate::a::A);"}, 3),
        ("an inline module's super is the file", {
            "lib.rs": "mod a;\nuse a::A;\npub struct P(A);", "a.rs": "pub struct A;\nmod has { use super::A; }"}, 0),
    ]
    failed = 0
    for name, files, expected in cases:
        _, bad = file_circles(tree_of(files))
        found = sum(map(len, bad))
        if found != expected:
            failed += 1
            print(f"self-test: {name}: {found} files in circles, and not {expected}", file=sys.stderr)
    package = lambda name, *needs: {"name": name, "dependencies": [{"name": need} for need in needs]}
    for packages, right in [
        ([package("a", "a", "b"), package("b", "serde")], True),
        ([package("a", "b"), package("b", "a")], False),
    ]:
        sys.stderr, kept = open("/dev/null", "w"), sys.stderr
        outcome = check_crates(packages)
        sys.stderr = kept
        if outcome != right:
            failed += 1
            print(f"self-test: crates {packages}", file=sys.stderr)
    return not failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    packages = metadata()["packages"]
    if len(sys.argv) == 3 and sys.argv[1] == "--edges":
        for package in packages:
            for target in package["targets"]:
                if package["name"] == sys.argv[2] and set(target["kind"]) & {"lib", "bin"}:
                    for (a, b), line in sorted(Crate(Path(target["src_path"])).edges().items()):
                        print(f"{shown(a)}:{line} imports from {shown(b)}")
        return True
    crates, files = check_crates(packages), check_files(packages)
    return crates and files


sys.exit(0 if main() else 1)
