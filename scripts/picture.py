#!/usr/bin/env python3
"""The picture of the README: docs/demo.svg, made of what `make demo` printed. `make picture` runs the demo and this.

    scripts/picture.py LOG OUT

LOG has to be of a demo that ended well. Steps 2 to 5 are shown, each without what the step before has shown already; no line is changed. The test of
the demo (crates/lab/tests/demo.rs) compares the picture with what the demo prints, numbers apart.
"""
import html
import re
import sys

log, out = sys.argv[1:]
lines = open(log, encoding="utf-8").read().splitlines()
if "All of this was as told." not in lines:
    sys.exit(f"picture: {log} is not of a demo that ended well")


def step(number):
    """A step: its heading and the lines below it."""
    begin = next(at for at, line in enumerate(lines) if line.startswith(f"{number}. "))
    end = next(at for at, line in enumerate(lines) if line.startswith(f"{number + 1}. "))
    return lines[begin:end]


shown = ["$ make demo", "", *step(2), *step(3), *step(4)]
last = step(5)
# That legitimate traffic passes has been seen twice.
shown += [line for line in last[: last.index("     $ floodgate rules")] if not re.search(r" asked ", line)]
while not shown[-1]:
    shown.pop()

# Pixels: of a character, of a line, and the margin.
WIDE, HIGH, MARGIN = 7.8, 19, 20
width = round(max(len(line) for line in shown) * WIDE + 2 * MARGIN)
height = (len(shown) + 2) * HIGH + MARGIN
HEADING, COMMAND, BAD, GOOD, TEXT = "#ffffff", "#79c0ff", "#ff7b72", "#7ee787", "#c9d1d9"


def parts(line):
    """Pieces of a line, each with its colour."""
    if re.match(r"\d\. ", line):
        return [(HEADING, line)]
    if line.lstrip().startswith("$ "):
        return [(COMMAND, line)]
    if found := re.match(r"(.* sent +)(\d+ arrived)$", line):
        return [(TEXT, found[1]), (GOOD if found[2] == "0 arrived" else BAD, found[2])]
    if found := re.match(r"(.* asked +)(\d+ answered)$", line):
        return [(TEXT, found[1]), (GOOD, found[2])]
    if " then discard" in line and not line.lstrip().startswith("ID"):
        return [(HEADING, line)]
    return [(TEXT, line)]


svg = [
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
    'aria-label="The output of make demo: an attack arrives, a filter is announced over BGP, the kernel drops the attack and nothing else">',
    f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
]
for at, colour in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"]):
    svg.append(f'<circle cx="{MARGIN + at * 20}" cy="{MARGIN}" r="6" fill="{colour}"/>')
svg.append('<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="13">')
for at, line in enumerate(shown):
    column = 0
    for colour, piece in parts(line):
        # Viewers make one space of many, so what stands between them is placed by itself. Its length is given, so that columns stand below each other
        # with every font.
        for found in re.finditer(r"\S+(?: \S+)*", piece):
            bold = ' font-weight="bold"' if colour == HEADING else ""
            svg.append(
                f'<text x="{MARGIN + (column + found.start()) * WIDE:.1f}" y="{(at + 2) * HIGH + MARGIN}" fill="{colour}"{bold} '
                f'textLength="{len(found[0]) * WIDE:.1f}" lengthAdjust="spacingAndGlyphs">{html.escape(found[0], quote=False)}</text>'
            )
        column += len(piece)
svg += ["</g>", "</svg>"]
with open(out, "w", encoding="utf-8") as file:
    file.write("\n".join(svg) + "\n")
