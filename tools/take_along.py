"""The book to take along: a PDF, an EPUB and a zip of the site, all made from the built site.

    python tools/take_along.py pdf|epub|zip [--pages PAGE ...]        (make pdf, make epub, make zip)

The pages of the site are in order already: executed, with figures as files. So nothing is executed again. A
Chromium prints the PDF and turns formulas into MathML for the EPUB, which has no scripts. What needs a hand
(sliders, the page "Try it") is left out, and so is the reference of the library.
"""

from __future__ import annotations

import argparse
import base64
import copy
import datetime
import html
import json
import mimetypes
import os
import re
import shutil
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

import finish_site  # noqa: E402
import yaml  # noqa: E402
from browser import CHROMIUM, Browser  # noqa: E402
from bs4 import BeautifulSoup, Tag  # noqa: E402

from dhida_lib._files import write_atomic  # noqa: E402

BUILD = ROOT / "_build"
SITE = BUILD / "html"
STYLE = ROOT / "tools" / "take_along.css"
NAME = "dhida-book"
MATHJAX = "_static/vendor/tex-svg-full.js"
PATIENCE = 1800.0
"""Seconds that Chromium may take to print the book."""


# ---- the pages, cleaned --------------------------------------------------------------------------------


@dataclass
class Leaf:
    """A page of the site on its way into a book: its name in the site, its part, its content."""

    name: str
    part: str
    body: Tag

    @property
    def title(self) -> str:
        """Its heading."""
        return finish_site.plain(str(self.body.h1))

    @property
    def id(self) -> str:
        """A short name for it: what its file is called."""
        return self.name.rsplit("/", 1)[-1]


def contents(root: Path = ROOT) -> list[tuple[str, str]]:
    """(page, part) for every page of _toc.yml that somebody wrote, in order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = [(toc["root"], "")]
    for part in toc["parts"]:
        found += [(entry["file"], part["caption"]) for entry in part["chapters"] if "file" in entry]
    return found


def leaves(site: Path, root: Path = ROOT, pages: list[str] | None = None) -> list[Leaf]:
    """The pages that work on paper, cleaned; one that runs on scripts of its own is passed over.

    Args:
        site: the built site.
        root: where _toc.yml is.
        pages: only these.
    """
    found = []
    for name, part in contents(root):
        if pages is not None and name not in pages:
            continue
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        article = re.search(r'<article class="bd-article">(.*?)</article>', text, re.S)
        if article and not re.search(r"<script\b[^>]*\bsrc=", article[1]):
            body = BeautifulSoup(article[1], "html.parser")
            cleaned(body)
            found.append(Leaf(name, part, body))
    return found


def cleaned(body: BeautifulSoup) -> None:
    """Take out what paper has no use for; hints and solutions go to the end of the page."""
    useless = "a.headerlink, script, style, link, noscript, button, input, output, svg, wbr, .toctree-wrapper"
    for element in body.select(useless):
        element.decompose()
    for cell in body.select("div.cell.tag_setup"):
        cell.decompose()
    for fold in body.select("div.cell.tag_folded > details"):  # how a figure is drawn
        fold.decompose()
    for frames in body.select("figure.frames"):
        pictures = frames.find_all("img")
        shown = next((p for p in pictures if "display:none" not in p.get("style", "")), pictures[0])
        for picture in pictures:
            if picture is not shown:
                picture.decompose()
        for label in frames.select("label"):
            label.string = label.get_text().strip()
        if caption := frames.find("figcaption"):
            caption.append(f" ({shown.get('data-label', '')}; the others are on the site)")
    for image in body.select("img"):
        del image["loading"]
    for element in body.select("[onclick], [oninput], [onchange]"):
        for name in ("onclick", "oninput", "onchange"):
            del element[name]
    answers_last(body)


def answers_last(body: BeautifulSoup) -> None:
    """Move the folds of each exercise behind the page's last section."""
    answers = body.new_tag("section", id="hints-and-solutions")
    for exercise in body.select("section[id^=exercise-]"):
        folds = exercise.find_all("details", recursive=False) + exercise.select("div.cell.tag_solution")
        heading = exercise.find(["h2", "h3", "h4"])
        if not folds or heading is None:
            continue
        own = body.new_tag("section", id=f"answer-{exercise['id']}")
        title = body.new_tag("h3")
        title.extend(copy.copy(child) for child in heading.contents)
        own.append(title)
        own.extend(fold.extract() for fold in folds)
        answers.append(own)
        there = body.new_tag("p")
        link = body.new_tag("a", href=f"#answer-{exercise['id']}")
        link.string = "Hints and solution"
        there.append(link)
        exercise.append(there)
    if answers.contents:
        title = body.new_tag("h2")
        title.string = "Hints and solutions"
        answers.insert(0, title)
        (body.find("section") or body).append(answers)


def opened(body: Tag) -> None:
    """Paper has no folds: each shows what it holds, under its name."""
    for fold in body.select("details"):
        summary = fold.find("summary")
        name = finish_site.plain(str(summary)) if summary else ""
        if summary:
            summary.decompose()
        fold.name, fold.attrs = "div", {"class": "fold"}
        title = BeautifulSoup("", "html.parser").new_tag("p", **{"class": "fold-name"})
        title.string = re.sub(r": show .*| : show.*|: show$", "", name)
        fold.insert(0, title)


def targets(found: list[Leaf], address: str, site: Path) -> Iterator[tuple[Tag, str, str, str]]:
    """All links: (the element, its page or "" if that is not in the book, anchor, address in the world)."""
    names = {leaf.name for leaf in found}
    for leaf in found:
        folder = leaf.name.rpartition("/")[0]
        for link in leaf.body.select("a[href]"):
            if re.match(r"[a-z][a-z+.-]*:", link["href"]):
                continue
            path, _, anchor = link["href"].partition("#")
            page = normpath(f"{folder}/{path}").removesuffix(".html") if path else leaf.name
            yield link, page if page in names else "", anchor, f"{address}/{page}.html#{anchor}".rstrip("#")


def title_of(root: Path = ROOT) -> tuple[str, str]:
    """Title and authors."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["title"], config["author"]


# ---- PDF -----------------------------------------------------------------------------------------------


def one_page(found: list[Leaf], site: Path, address: str) -> str:
    """The whole book as one HTML page in the site's folder: parts, chapters, links that stay inside."""
    for link, page, anchor, outside in targets(found, address, site):
        link["href"] = f"#{page.rsplit('/', 1)[-1]}{'--' + anchor if anchor else ''}" if page else outside
    title, author = title_of()
    lines, part, entries = [], "", []
    for leaf in found:
        opened(leaf.body)
        for element in leaf.body.select("[id]"):
            element["id"] = f"{leaf.id}--{element['id']}"
        for element in leaf.body.select("[for], [aria-labelledby]"):
            del element["for"], element["aria-labelledby"]
        for image in leaf.body.select("img[src]"):
            image["src"] = normpath(f"{leaf.name.rpartition('/')[0]}/{image['src']}")
        for level in (5, 4, 3, 2, 1):  # a part stands above a chapter
            for heading in leaf.body.select(f"h{level}"):
                heading.name = f"h{level + 1}"
        heading = ""
        if leaf.part != part:
            part = leaf.part
            heading = f'<h1 class="part">{html.escape(part)}</h1>'
            entries.append(f'<li class="part">{html.escape(part)}</li>')
        name = finish_site.plain(str(leaf.body.h2))
        entries.append(f'<li><a href="#{leaf.id}">{html.escape(name)}</a></li>')
        lines.append(f'<div class="leaf" id="{leaf.id}">{heading}{leaf.body}</div>')
    return f"""<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="author" content="{html.escape(author)}">
<link rel="stylesheet" href="_static/pygments.css"><style>{STYLE.read_text(encoding="utf-8")}</style>
<script>window.MathJax = {{svg: {{fontCache: "global"}}, options: {{enableMenu: false,
enableAssistiveMml: false, ignoreHtmlClass: ".*", processHtmlClass: "math"}}}}</script>
<script src="{MATHJAX}"></script></head><body>
<div class="cover"><p class="title">{html.escape(title)}</p><p>{html.escape(author)}</p>
<img src="_static/{finish_site.COVER}" alt="A query and the images that its code finds"></div>
<div class="leaf contents"><h1>Contents</h1><ul>{"".join(entries)}</ul></div>
{"".join(lines)}</body></html>"""


READY = (
    "Promise.all([...document.images].map((i) => i.decode().catch(() => 0))).then(() => document.fonts.ready)"
)


def pdf(site: Path, to: Path, pages: list[str] | None = None) -> None:
    """Print the book.

    Args:
        site: the built site; a page is written into it for the time that this takes.
        to: the file.
        pages: only these, by their names in _toc.yml.
    """
    text = one_page(leaves(site, pages=pages), site, finish_site.address())
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=site, encoding="utf-8") as file, Browser() as b:
        file.write(text)
        file.flush()
        b._socket.settimeout(PATIENCE)
        page = b.page(Path(file.name).as_uri())
        page.run(READY + ".then(() => 1)")
        if faults := page.faults():
            raise RuntimeError(f"The book's page has faults: {faults[:3]}")
        foot = (
            '<div style="width:100%;text-align:center;font-size:8px"><span class="pageNumber"></span></div>'
        )
        settings = {"printBackground": True, "preferCSSPageSize": True, "generateDocumentOutline": True}
        settings |= {
            "generateTaggedPDF": True,
            "displayHeaderFooter": True,
            "headerTemplate": "<span></span>",
        }
        stream = page.call("Page.printToPDF", **settings, footerTemplate=foot, transferMode="ReturnAsStream")
        pieces = []
        while True:
            piece = page.call("IO.read", handle=stream["stream"])
            data = piece["data"]
            pieces.append(base64.b64decode(data) if piece.get("base64Encoded") else data.encode("latin-1"))
            if piece["eof"]:
                break
    write_atomic(to, lambda path: Path(path).write_bytes(b"".join(pieces)))


# ---- EPUB ----------------------------------------------------------------------------------------------

_FORMULA = re.compile(r"^\s*\\([(\[])(.*)\\[)\]]\s*$", re.S)


def formulas_as_mathml(found: list[Leaf], site: Path) -> None:
    """Every formula of TeX becomes MathML, which readers of EPUB set by themselves."""
    places = [place for leaf in found for place in leaf.body.select(".math")]
    asked = []
    for place in places:
        text = place.get_text()
        marked = _FORMULA.match(text)
        asked.append([marked[2], marked[1] == "["] if marked else [text, True])
    if not asked:
        return
    page = "<html><script>window.MathJax = {startup: {typeset: false}}</script>"
    page += f'<script src="{MATHJAX}"></script></html>'
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=site) as file, Browser() as browser:
        file.write(page)
        file.flush()
        opened_page = browser.page(Path(file.name).as_uri())
        script = f"{json.dumps(asked)}.map(([tex, display]) => MathJax.tex2mml(tex, {{display}}))"
        answers = opened_page.run(script)
    for place, answer in zip(places, answers, strict=True):
        if "merror" in answer:
            raise ValueError(f"a formula cannot be set: {place.get_text()[:80]}")
        math = BeautifulSoup(re.sub(r' data-[\w-]+="[^"]*"', "", answer), "html.parser").math
        for element in math.select("[class]"):
            del element["class"]
        place.clear()
        place.append(math)


def chapter_xhtml(leaf: Leaf) -> str:
    """A page as a file of the EPUB."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en" data-theme="light"><head>'
        f"<title>{html.escape(leaf.title)}</title>"
        '<link rel="stylesheet" href="pygments.css"/><link rel="stylesheet" href="book.css"/></head>'
        f"<body>{leaf.body.decode(formatter='minimal')}</body></html>"
    )


def navigation(found: list[Leaf], title: str) -> str:
    """The table of contents of the EPUB."""
    parts: dict[str, list[str]] = {}
    for leaf in found:
        line = f'<li><a href="{leaf.id}.xhtml">{html.escape(leaf.title)}</a></li>'
        parts.setdefault(leaf.part or title, []).append(line)
    items = "".join(
        f"<li><span>{html.escape(part)}</span><ol>{''.join(lines)}</ol></li>" for part, lines in parts.items()
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en">'
        f"<head><title>{html.escape(title)}</title></head>"
        f'<body><nav epub:type="toc"><h1>Contents</h1><ol>{items}</ol></nav></body></html>'
    )


def package(found: list[Leaf], files: dict[str, str], address: str, when: datetime.datetime) -> str:
    """The EPUB's list of what it holds.

    Args:
        found: the pages.
        files: name → kind of the other files.
        address: the site's, from which the book's id follows.
        when: when the site was built.
    """
    title, author = title_of()
    items, spine = [], []
    for leaf in found:
        mathml = ' properties="mathml"' if leaf.body.find("math") else ""
        kind = "application/xhtml+xml"
        items.append(f'<item id="page-{leaf.id}" href="{leaf.id}.xhtml" media-type="{kind}"{mathml}/>')
        spine.append(f'<itemref idref="page-{leaf.id}"/>')
    for k, (name, kind) in enumerate(files.items()):
        cover = ' properties="cover-image"' if name.endswith(finish_site.COVER) else ""
        items.append(f'<item id="file-{k}" href="{html.escape(name)}" media-type="{kind}"{cover}/>')
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="id" xml:lang="en"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<dc:identifier id="id">urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, address)}</dc:identifier>'
        f"<dc:title>{html.escape(title)}</dc:title><dc:creator>{html.escape(author)}</dc:creator>"
        f"<dc:language>en</dc:language><dc:source>{html.escape(address)}</dc:source>"
        f'<meta property="dcterms:modified">{when:%Y-%m-%dT%H:%M:%SZ}</meta></metadata><manifest>'
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f"{''.join(items)}</manifest><spine>{''.join(spine)}</spine></package>"
    )


CONTAINER = (
    '<?xml version="1.0"?>\n<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
    '<rootfiles><rootfile full-path="EPUB/package.opf" '
    'media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def epub(site: Path, to: Path, pages: list[str] | None = None) -> None:
    """Write the book as an EPUB 3 with MathML.

    Args:
        site: the built site.
        to: the file.
        pages: only these, by their names in _toc.yml.
    """
    found, address = leaves(site, pages=pages), finish_site.address()
    for link, page, anchor, outside in targets(found, address, site):
        inside = f"{page.rsplit('/', 1)[-1]}.xhtml{'#' + anchor if anchor else ''}"
        link["href"] = inside if page else outside
    formulas_as_mathml(found, site)
    pictures = {f"_static/{finish_site.COVER}"}
    for leaf in found:
        for image in leaf.body.select("img[src]"):
            image["src"] = normpath(f"{leaf.name.rpartition('/')[0]}/{image['src']}")
            pictures.add(image["src"])
    names = sorted(name for name in pictures if (site / name).is_file())
    kinds = {name: mimetypes.guess_type(name)[0] or "image/webp" for name in names}
    styles = {
        "pygments.css": (site / "_static" / "pygments.css").read_bytes(),
        "book.css": STYLE.read_bytes(),
    }
    newest = datetime.datetime.fromtimestamp((site / "searchindex.js").stat().st_mtime, datetime.UTC)
    opf = package(found, kinds | dict.fromkeys(styles, "text/css"), address, newest)

    def build(path: str) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
            file.writestr("META-INF/container.xml", CONTAINER)
            file.writestr("EPUB/package.opf", opf)
            file.writestr("EPUB/nav.xhtml", navigation(found, title_of()[0]))
            for leaf in found:
                file.writestr(f"EPUB/{leaf.id}.xhtml", chapter_xhtml(leaf))
            for name, content in styles.items():
                file.writestr(f"EPUB/{name}", content)
            for name in names:
                file.write(site / name, f"EPUB/{name}")

    write_atomic(to, build)


# ---- zip -----------------------------------------------------------------------------------------------


def archive(site: Path, to: Path, pages: list[str] | None = None) -> None:
    """The site as one file, to be opened from its own folder without a server.

    Args:
        site: the built site.
        to: the file.
        pages: not used: the site is whole.
    """
    front = Path(f"{contents()[0][0]}.html")

    def build(path: str) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for one in sorted(p for p in site.rglob("*") if p.is_file()):
                inside = one.relative_to(site)
                if inside.parts[0] == finish_site.FILES:
                    continue
                if inside == front:  # the zip does not hold the files that the front page offers
                    text = finish_site.filled(one.read_text(encoding="utf-8"), {finish_site.FILES_PLACE: ""})
                    file.writestr(f"{NAME}/{inside.as_posix()}", text)
                else:
                    file.write(one, f"{NAME}/{inside.as_posix()}")

    write_atomic(to, build)


KINDS: dict[str, Any] = {"pdf": pdf, "epub": epub, "zip": archive}


def make(kind: str, build: Path = BUILD, pages: list[str] | None = None) -> Path:
    """Make one of the files, and offer it on the site's front page.

    Args:
        kind: ``"pdf"``, ``"epub"`` or ``"zip"``.
        build: the folder that holds the site in `html`.
        pages: only these, by their names in _toc.yml.

    Returns:
        The file.
    """
    site, to = build / "html", build / f"{NAME}.{kind}"
    KINDS[kind](site, to, pages)
    folder = site / finish_site.FILES
    folder.mkdir(exist_ok=True)
    shutil.copyfile(to, folder / f"{to.name}.new")
    os.replace(folder / f"{to.name}.new", folder / to.name)
    finish_site.offer_files(site)
    return to


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--pages", nargs="*", help="only these pages, such as book/01_why_hash")
    arguments = parser.parse_args(argv)
    if not (SITE / "searchindex.js").is_file():
        print("There is no site yet: run `make book` first.", file=sys.stderr)
        return 1
    if CHROMIUM is None and KINDS[arguments.kind] is not archive:
        print("This needs Chromium (or Chrome), which prints and sets the formulas.", file=sys.stderr)
        return 1
    path = make(arguments.kind, pages=arguments.pages)
    print(f"{path.stat().st_size / 1e6:.1f} MB  {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
