"""The last step of `make book`: what Sphinx and its theme leave to be done on the pages they wrote.

    python tools/finish_site.py            (make book does it)

Each step takes a page's text and gives it back changed; a page that is finished already stays as it is. So
pages get light (figures become files that load when they are needed, the few icons that are used replace a
script of 1.5 MB), speak to screen readers (names of buttons and folds), and can be found (descriptions).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402

COVER = "cover.png"
DESCRIPTION = 155
"""Characters of a description that search engines show."""


@dataclass(frozen=True)
class Where:
    """A page's place: the site's folder, the page's path in it, and the site's public address."""

    site: Path
    page: Path
    address: str

    @property
    def up(self) -> str:
        """From the page to the site's folder."""
        return "../" * (len(self.page.parts) - 1)


# ---- weight --------------------------------------------------------------------------------------------

_DATA = re.compile(r'<img\b[^>]*?\bsrc="data:image/(png|jpeg|webp|gif);base64,([^"]+)"[^>]*>')
_KINDS = {"jpeg": "jpg"}


def figures_as_files(text: str, where: Where) -> str:
    """Figures that stand in the page as base64 become files beside it, one for each content."""
    folder = where.site / "_images"

    def file(match: re.Match[str]) -> str:
        content = base64.b64decode(match[2])
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.{_KINDS.get(match[1], match[1])}"
        folder.mkdir(exist_ok=True)
        if not (folder / name).is_file():
            (folder / name).write_bytes(content)
        return match[0].replace(f"data:image/{match[1]};base64,{match[2]}", f"{where.up}_images/{name}")

    return _DATA.sub(file, text)


_FIGURE = re.compile(r'(<figure class="dhida(?: frames)?")(?: id="figure-\d+")?')


def figures_have_names(text: str, where: Where) -> str:
    """Figures are numbered on each page, so that a link can lead to one; tools/gallery.py does so."""
    numbers = count(1)
    return _FIGURE.sub(lambda match: f'{match[1]} id="figure-{next(numbers)}"', text)


_IMG = re.compile(r"<img\b[^>]*>")


def images_when_needed(text: str, where: Where) -> str:
    """A figure is loaded when the reader comes near it; its size is known before, so nothing jumps."""

    def lazy(match: re.Match[str]) -> str:
        tag = match[0]
        source = re.search(r'\bsrc="([^"]+)"', tag)
        if source is None or "/_images/" not in f"/{source[1]}" or "loading=" in tag:
            return tag
        more = ' loading="lazy"'
        if not re.search(r"\b(?:width|height)=", tag) and (
            size := _size((where.site / where.page).parent / source[1])
        ):
            more += f' width="{size[0]}" height="{size[1]}"'
        return f"<img{more}{tag[4:]}"

    return _IMG.sub(lazy, text)


@cache
def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture of pixels; None for a drawing."""
    from PIL import Image

    if path.suffix == ".svg" or not path.is_file():
        return None
    with Image.open(path) as picture:
        return picture.size


_ICON_SCRIPT = re.compile(r"\s*<(?:script|link)\b[^>]*\bfontawesome[^>]*>(?:\s*</script>)?")
_ICON = re.compile(r'<(i|span) ([^>]*\bclass="[^"]*\bfa-[^"]*"[^>]*)>\s*</\1>')
_DRAWING = re.compile(
    r'[{,]"?([\w-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"\w+",(?:"([^"]+)"|\["[^"]*","([^"]+)"\])\]'
)
_STYLES = {"fab", "fas", "far", "fa-brands", "fa-solid", "fa-regular", "fa-lg", "fa-sm", "fa-xs"}


@cache
def _drawings(script: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Name or alias → drawing, of the theme's brands and of its solid icons."""
    text = script.read_text(encoding="utf-8")
    found: list[dict[str, str]] = []
    for match in _DRAWING.finditer(text):
        box = f'viewBox="0 0 {match[2]} {match[3]}"><path fill="currentColor" d="{match[5] or match[6]}"/>'
        if not found or match[1] in found[-1]:  # the next style begins with a name that was there
            found.append({})
        for name in (match[1], *re.findall(r'"([\w-]+)"', match[4])):
            found[-1].setdefault(name, box)
    everything: dict[str, str] = {}
    for style in found:
        everything |= style  # solid icons come last
    first: dict[str, str] = {}
    for style in reversed(found):
        first |= style
    return first, everything


def icons_in_place(text: str, where: Where) -> str:
    """The icons that a page shows stand in it; the script with all two thousand goes."""
    script = where.site / "_static" / "scripts" / "fontawesome.js"

    def drawn(match: re.Match[str]) -> str:
        tag, attributes = match[1], match[2]
        classes = re.search(r'class="([^"]*)"', attributes)
        assert classes is not None
        words = classes[1].split()
        names = [w.removeprefix("fa-") for w in words if w.startswith("fa-") and w not in _STYLES]
        brands, solid = _drawings(script)
        own = brands if {"fab", "fa-brands"} & set(words) else solid
        drawing = next((own[name] for name in names if name in own), None)
        if drawing is None:
            raise ValueError(f"{where.page}: the theme has no icon {' '.join(words)!r}.")
        plain = attributes.replace(classes[0], f'class="svg-inline--fa {" ".join(words)}"')
        return f'<svg aria-hidden="true" focusable="false" {plain} {drawing}</svg>' if tag else ""

    if not script.is_file() or not _ICON_SCRIPT.search(text):
        return text
    return _ICON.sub(drawn, _ICON_SCRIPT.sub("", text))


_THEBE = re.compile(
    r"""\s*<script>(?:(?!</script>).)*?\bTHEBE_JS_URL\b.*?</script>
      | \s*<script\b[^>]*\bsphinx-thebe\.js[^>]*>\s*</script>
      | \s*<script\b[^>]*text/x-thebe-config[^>]*>.*?</script>
      | \s*<link\b[^>]*\bsphinx-thebe\.css[^>]*>""",
    re.S | re.X,
)


def no_unused_scripts(text: str, where: Where) -> str:
    """Thebe's scripts go: the book has no use for them, and the theme declares their constants twice."""
    return _THEBE.sub("", text)


# ---- what is said --------------------------------------------------------------------------------------


def plain(fragment: str) -> str:
    """The text of a piece of HTML, on one line."""
    words = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", fragment, flags=re.S)
    words = html.unescape(re.sub(r"<[^>]*>", "", words)).replace("¶", "")
    return re.sub(r"\s+", " ", re.sub(r"\\[()]", "", words)).strip()


def shortened(sentence: str, most: int = DESCRIPTION) -> str:
    """The first sentences of a text, or else its first words."""
    if len(sentence) <= most:
        return sentence
    ends = [m.end() for m in re.finditer(r"[.?!](?= )", sentence[: most + 1])]
    if ends and ends[-1] >= most // 3:
        return sentence[: ends[-1]]
    return sentence[: most - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def described(text: str, where: Where) -> str:
    """A description of the page, its first paragraph, for search engines and where its link is passed on."""
    if '<meta name="description"' in text or "</head>" not in text:
        return text
    article = re.search(r"<article\b.*?</article>", text, re.S)
    body = article[0] if article else ""
    paragraphs = [plain(p) for p in re.findall(r"<p>(.*?)</p>", body, re.S)]
    title = plain((re.search(r"<title>(.*?)</title>", text, re.S) or [""])[0])
    first = next((p for p in paragraphs if len(p) >= 40 and "Open in Colab" not in p), title)
    said = html.escape(shortened(first))
    head = {
        "description": said,
        "og:title": html.escape(title),
        "og:description": said,
        "og:type": "article",
        "og:url": f"{where.address}/{where.page.as_posix()}",
        "og:image": f"{where.address}/_static/{COVER}",
        "og:image:alt": "The name of the book, and a query with the images that its code finds",
        "twitter:card": "summary_large_image",
    }
    lines = [
        f'<meta {"property" if key.startswith("og:") else "name"}="{key}" content="{value}">'
        for key, value in head.items()
    ]
    return text.replace("</head>", "".join(f"  {line}\n" for line in lines) + "</head>", 1)


_FOLD = re.compile(
    r'(<div class="cell (?P<classes>[^"]*)"[^>]*>\s*<details[^>]*>\s*<summary)(?: aria-label="[^"]*")?>'
    r"(?P<summary>.*?)</summary>(?P<rest>.*?)(?=<div class=\"cell |</section>)",
    re.S,
)


def fold_name(classes: str, rest: str) -> str:
    """What a folded cell is, in a word, by its tags and by what it shows."""
    for name in ("setup", "solution"):
        if f"tag_{name}" in classes:
            return name.capitalize()
    return "Plot" if "<img" in rest else "Code"


def folds_named(text: str, where: Where) -> str:
    """A fold says what it holds: setup, solution, plot or code."""

    def named(match: re.Match[str]) -> str:
        kind = fold_name(match["classes"], match["rest"])
        said = re.sub(
            r"(Show|Hide) code cell (?:source|content|outputs?)",
            lambda m: f"{kind}: {m[1].lower()}",
            match["summary"],
        )
        return f"{match[1]}>{said}</summary>{match['rest']}"

    return _FOLD.sub(named, text)


def tables_headed(text: str, where: Where) -> str:
    """A header over two columns whose second half is empty spans both."""
    return re.sub(
        r'<th class="head">(<p>[^<]+</p></th>)\s*<th class="head"><p></p></th>(\s*</tr>)',
        r'<th class="head" colspan="2">\1\2',
        text,
    )


def headers_not_empty(text: str, where: Where) -> str:
    """An empty corner of a table is no header."""
    return re.sub(r"<th((?: (?:style|class)=\"[^\"]*\"| scope=\"col\")*)>(|<p></p>)</th>", _corner, text)


def _corner(match: re.Match[str]) -> str:
    attributes = match[1].replace(' scope="col"', "")
    return f"<td{attributes}>{match[2]}</td>"


def search_button_named(text: str, where: Where) -> str:
    """The search button's name is what stands on it."""
    return re.sub(
        r'(<button class="[^"]*\bsearch-button-field\b[^"]*"[^>]*?) aria-label="Search"', r"\1", text
    )


def _breakable(match: re.Match[str]) -> str:
    """Places in a code name at which a line may end: behind a dot, a slash, an underscore."""
    inner = re.sub(r"(::|[./_](?=[^\s<]))", r"\1<wbr>", match[2])
    return match[1] + inner + match[3]


def names_break_at_joints(text: str, where: Where) -> str:
    """Long names in tables break at their joints, never inside a word."""
    if "<wbr>" in text:
        return text

    def cell(match: re.Match[str]) -> str:
        return re.sub(r'(<span class="pre">)([^<]{12,})(</span>)', _breakable, match[0])

    return re.sub(r"<td\b.*?</td>", cell, text, flags=re.S)


STEPS: tuple[Callable[[str, Where], str], ...] = (
    figures_as_files,
    figures_have_names,
    images_when_needed,
    no_unused_scripts,
    icons_in_place,
    folds_named,
    tables_headed,
    headers_not_empty,
    search_button_named,
    names_break_at_joints,
    described,
)


def finished(text: str, where: Where) -> str:
    """A page after all steps."""
    for step in STEPS:
        text = step(text, where)
    return text


# ---- places on the front page --------------------------------------------------------------------------

FILES = "files"
"""The site's folder of what can be taken along (tools/take_along.py)."""

FILES_PLACE = "front-files"
KINDS = {"pdf": "PDF", "epub": "EPUB", "zip": "the site as a zip"}


def filled(text: str, content: dict[str, str]) -> str:
    """The page with each piece in its place.

    Raises:
        ValueError: if a place is missing.
    """
    for name, piece in content.items():
        place = re.compile(rf'(<div [^>]*\bid="{name}"[^>]*>).*?(</div>)', re.S)
        if len(place.findall(text)) != 1:
            raise ValueError(f"book/intro.md must have one <div id={name!r}>.")
        text = place.sub(lambda match, piece=piece: match[1] + piece + match[2], text)
    return text


def files_offered(site: Path) -> str:
    """Links to what can be taken along, as far as it was made; empty if nothing was."""
    found = {p.suffix[1:]: p for p in sorted((site / FILES).glob("*.*")) if p.suffix[1:] in KINDS}
    size = {kind: f"{path.stat().st_size / 1e6:.0f} MB" for kind, path in found.items()}
    links = [
        f'<a href="../{FILES}/{found[kind].name}" download>{words}</a> ({size[kind]})'
        for kind, words in KINDS.items()
        if kind in found
    ]
    return f"<p>To take along: {' · '.join(links)}.</p>" if links else ""


def offer_files(site: Path = SITE) -> None:
    """Put the links into the front page of a site."""
    page = site / "book" / "intro.html"
    text = filled(page.read_text(encoding="utf-8"), {FILES_PLACE: files_offered(site)})
    page.write_text(text, encoding="utf-8")


# ---- the site ------------------------------------------------------------------------------------------


def readable_titles(index: str) -> str:
    """The search index without the marks around formulas in its titles."""
    return re.sub(r"\\\\[()]", "", index)


def address(root: Path = ROOT) -> str:
    """The public address of the site on GitHub Pages, from the repository's."""
    url = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    return notebooks.House(root, url).site


def finish(site: Path = SITE) -> int:
    """Finish every page of a site, and its search index.

    Returns:
        How many pages there are.
    """
    public = address()
    pages = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        done = finished(text, Where(site, path.relative_to(site), public))
        if done != text:
            path.write_text(done, encoding="utf-8")
    index = site / "searchindex.js"
    if index.is_file():
        index.write_text(readable_titles(index.read_text(encoding="utf-8")), encoding="utf-8")
    return len(pages)


if __name__ == "__main__":
    print(json.dumps({"pages": finish()}))
