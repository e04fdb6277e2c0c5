"""Fill the page "All figures" with the figures of the built chapters: made from the pages, never by hand.

    python tools/gallery.py                (make book does it, after tools/finish_site.py)

Each figure of a chapter is shown small, with the words that stand for it, and leads to its place. A slider is
shown in the state in which it begins. book/gallery.md has the place for them, a `div` whose id is `gallery`;
what stands in it is kept where no chapter was executed.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tools"))

from finish_site import plain  # noqa: E402
from PIL import Image  # noqa: E402

from dhida_lib._files import write_atomic  # noqa: E402

PAGE = "gallery"
WIDTH = 720
"""Pixels: a small picture is at most so wide."""

_PLACE = re.compile(rf'(<div [^>]*\bid="{PAGE}"[^>]*>).*?(</div><!-- end of {PAGE} -->)', re.S)
_PIECE = re.compile(
    r'<span class="c1"># @title Figure: (?P<title>.*?)</span>'
    r'|<div class="cell [^"]*"'
    r"|<h[1-6]>(?P<heading>.*?)</h[1-6]>"
    r'|<figure class="dhida(?: frames)?"[^>]*\bid="(?P<id>[^"]+)"[^>]*>(?P<figure>.*?)</figure>',
    re.S,
)
_IMG = re.compile(r"<img\b[^>]*>")


@dataclass(frozen=True)
class Figure:
    """One figure of a chapter: where it stands, what it is called, its picture, the words for it."""

    anchor: str
    title: str
    file: Path
    words: str
    states: int


@dataclass(frozen=True)
class Chapter:
    """A chapter's page with its title and figures."""

    page: str
    title: str
    figures: tuple[Figure, ...]

    @property
    def number(self) -> str:
        """What stands before the dot in its title."""
        return self.title.partition("·")[0].strip()


def _attribute(tag: str, name: str) -> str:
    match = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(match[1]) if match else ""


def figures(text: str, folder: Path) -> Iterator[Figure]:
    """The figures of a finished page, in order; `folder` holds the page.

    A figure is called what its cell says ("# @title Figure: …"), or else what the heading above it says.
    """
    title = heading = ""
    for piece in _PIECE.finditer(text):
        if piece["title"] is not None:
            title = plain(piece["title"])
        elif piece["heading"] is not None:
            heading = plain(piece["heading"]).rstrip("#")
        elif piece["figure"] is None:
            title = ""  # the next cell
        else:
            tags = _IMG.findall(piece["figure"])
            shown = next(tag for tag in tags if "display:none" not in tag)
            file = folder / _attribute(shown, "src")
            called = title.removesuffix(", the drawing") or heading
            name = called[:1].upper() + called[1:]
            yield Figure(piece["id"], name, file, _attribute(shown, "alt"), len(tags))


def chapters(site: Path) -> list[Chapter]:
    """The chapters of a finished site that have figures."""
    found = []
    for path in sorted((site / "book").glob("[0-9][0-9]_*.html")):
        article = re.search(r"<article\b.*?</article>", path.read_text(encoding="utf-8"), re.S)
        text = article[0] if article else ""
        first = re.search(r"<h1>(.*?)</h1>", text, re.S)
        own = tuple(figures(text, path.parent))
        if own:
            found.append(Chapter(path.name, plain(first[1]).rstrip("#") if first else path.stem, own))
    return found


def small(file: Path, folder: Path) -> tuple[str, int, int]:
    """Write a small picture of a figure, unless it is there; its name, width and height."""
    target = folder / f"{file.stem}.webp"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as picture:
            ground = Image.new("RGBA", picture.size, "white")
            whole = Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
            whole.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
            write_atomic(target, lambda path: whole.save(path, "WEBP", quality=82, method=4))
    with Image.open(target) as picture:
        return target.name, *picture.size


def shown(chapter: Chapter, site: Path) -> str:
    """A chapter's part of the page."""
    items = []
    for figure in chapter.figures:
        name, width, height = small(figure.file, site / "_images" / PAGE)
        place = f"{chapter.page}#{figure.anchor}"
        title, words = html.escape(figure.title), html.escape(figure.words)
        more = f" <small>(a slider with {figure.states} states)</small>" if figure.states > 1 else ""
        items.append(
            f'<figure><a href="{place}"><img loading="lazy" width="{width}" height="{height}" '
            f'src="../_images/{PAGE}/{name}" alt="{words}"></a>'
            f'<figcaption><a href="{place}">{title}</a>{more}'
            f'<details><summary>In words</summary><p aria-hidden="true">{words}</p></details>'
            "</figcaption></figure>"
        )
    link = f'<a href="{chapter.page}">{html.escape(chapter.title)}</a>'
    grid = f'<div class="grid">{"".join(items)}</div>'
    return f'<section id="chapter-{chapter.number}"><h2>{link}</h2>{grid}</section>'


def content(site: Path) -> str:
    """What the page shows; empty if no page has a figure."""
    found = chapters(site)
    if not found:
        return ""
    links = " ".join(
        f'<a href="#chapter-{c.number}" title="{html.escape(c.title)}">{c.number}</a>' for c in found
    )
    total = sum(len(c.figures) for c in found)
    line = f"<p>{total} figures in {len(found)} chapters. Go to the figures of chapter</p>"
    nav = f'<nav aria-label="Figures by chapter">{line}<p>{links}</p></nav>'
    return nav + "".join(shown(chapter, site) for chapter in found)


def filled(text: str, piece: str) -> str:
    """The page with the figures in their place.

    Raises:
        ValueError: if the place is missing.
    """
    if len(_PLACE.findall(text)) != 1:
        raise ValueError(f"book/{PAGE}.md must have one <div id={PAGE!r}> that ends with its comment.")
    return _PLACE.sub(lambda match: match[1] + piece + match[2], text) if piece else text


def build(site: Path = SITE) -> int:
    """Fill the page of a finished site; how many figures it has."""
    page = site / "book" / f"{PAGE}.html"
    text = filled(page.read_text(encoding="utf-8"), content(site))
    write_atomic(page, lambda path: Path(path).write_text(text, encoding="utf-8"))
    return text.count(f"_images/{PAGE}/")


if __name__ == "__main__":
    print(json.dumps({"figures": build()}))
