#!/usr/bin/env python3
"""Whether the links of the built manual lead somewhere: `make manual`.

    scripts/check-links.py DIRECTORY

Every page below DIRECTORY: links to files that are there, with a place (#...) that the page has. Links to the network are not followed; one that leads
out of the book leads nowhere.
"""
import html.parser
import pathlib
import sys
import urllib.parse

top = pathlib.Path(sys.argv[1]).resolve()


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.update(attributes[name] for name in ["id", "name"] if attributes.get(name))
        for name in ["href", "src"]:
            if attributes.get(name):
                self.links.append(attributes[name])


pages = {path: Page(path) for path in sorted(top.rglob("*.html"))}
if len(pages) < 10:
    sys.exit(f"links: {top} has {len(pages)} pages: is the book built?")
wrong, followed = [], 0
for path, page in pages.items():
    # All pages in one: its links are those of the pages.
    if path.name in ["print.html", "toc.html", "404.html"]:
        continue
    for link in page.links:
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        followed += 1
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        place = urllib.parse.unquote(parts.fragment)
        if not target.exists():
            wrong.append(f"{path.relative_to(top)}: {link}: there is no such file")
        elif place and target in pages and place not in pages[target].places:
            wrong.append(f"{path.relative_to(top)}: {link}: the page has no such place")
for line in wrong:
    print(f"links: {line}", file=sys.stderr)
print(f"links: {followed} followed on {len(pages)} pages, {len(wrong)} lead nowhere")
sys.exit(1 if wrong or not followed else 0)
