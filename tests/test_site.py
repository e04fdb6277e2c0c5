"""The built site: every page is there, described, self-contained and without an error in a formula.

Run after `make book`: `pytest -m site`. Without a built site these tests are skipped; without Chromium the
formulas are not looked at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not (HTML / "index.html").is_file(), reason="no site: run `make book`"),
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
MIN_ALT = 20


def pages() -> list[str]:
    """The pages of the table of contents, without their extension."""

    def walk(node) -> list[str]:
        if isinstance(node, list):
            return [page for part in node for page in walk(part)]
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [p for key in ("parts", "chapters", "sections") for p in walk(node.get(key, []))]

    return walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = (HTML / f"{name}.html").read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


PAGES = pages() if (ROOT / "_toc.yml").is_file() else []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_there(name):
    assert (HTML / f"{name}.html").is_file()


@pytest.mark.parametrize("name", PAGES)
def test_every_image_is_described(name):
    for image in Page(name).all("img"):
        icon = "logo__image" in image.get("class", "") or "/_static/images/logo_" in image["src"]
        if not icon:  # the theme's own
            assert len(image.get("alt", "").strip()) >= MIN_ALT, image.get("src", "")[:80]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_loaded_from_elsewhere(name):
    page = Page(name)
    tags = ("script", "img", "iframe", "source", "video")
    loaded = [element.get("src", "") for tag in tags for element in page.all(tag)]
    links = ("canonical", "author", "search", "next", "prev")
    loaded += [element.get("href", "") for element in page.all("link") if element.get("rel") not in links]
    assert [address for address in loaded if re.match(r"(?:https?:)?//", address)] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name):
    for link in Page(name).all("a"):
        target, _, anchor = link.get("href", "").partition("#")
        if re.match(r"[a-z]+:", target) or not target:
            continue
        file = (HTML / f"{name}.html").parent / target
        assert file.is_file(), f"{target} is not there"
        if anchor and file.suffix == ".html":
            assert f'id="{anchor}"' in file.read_text(encoding="utf-8"), f"no {anchor} in {target}"


@pytest.mark.parametrize("path", notebooks.House.at(ROOT).notebooks(), ids=lambda p: p.stem)
def test_chapter_was_executed(path):
    """A chapter shows what its cells gave: the setup line, figures, verdicts of the checks."""
    page = Page(f"book/{path.stem}")
    assert page.text.count('class="cell_output') >= 3
    assert "dhida_lib" in page.text.split('class="cell_output')[1][:400], "the setup cell prints its line"
    assert any(e.get("src", "").startswith("data:image/png;base64,") for e in page.all("img")), "figures"
    assert "not attempted yet" in page.text, "the checks of the exercises ran"
    assert "✓ Exercise" in page.text, "the solutions passed"
    assert "Traceback" not in page.text


def rendered(path: Path) -> str:
    """The page after its scripts ran, in a browser that may not leave this machine."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    flags += ["--virtual-time-budget=60000", "--dump-dom"]
    command = [str(CHROMIUM), *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, timeout=180, check=True).stdout.decode("utf-8")


def formula_errors(text: str) -> list[str]:
    """What MathJax could not set: syntax errors, unknown macros, missing references, text left as it was."""
    errors = re.findall(r'data-mjx-error="([^"]*)"', text)
    errors += re.findall(r'mathcolor="red">(\\[A-Za-z]+)', text)
    errors += re.findall(r"\(\?\?\?\)", text)
    words = re.sub(r"<(script|pre|code)\b.*?</\1>", "", text, flags=re.S)
    return errors + re.findall(r"\\[(\[][^<]{0,40}", words)


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@needs_chromium
@pytest.mark.parametrize("name", PAGES)
def test_formulas_have_no_error(name):
    text = rendered(HTML / f"{name}.html")
    assert formula_errors(text) == []
    if 'class="math notranslate' in text:
        assert "<mjx-container" in text, "no formula was set"


@needs_chromium
@pytest.mark.parametrize(
    ("formula", "error"),
    [
        (r"\(x^2\)", None),
        (r"\(x^2^3\)", "Double exponent"),
        (r"\(\nosuchmacro x\)", "nosuchmacro"),
        (r"\(\eqref{a}\)", "???"),
        (r"\(\frac{1\)", "frac"),
    ],
)
def test_errors_in_formulas_are_seen(formula, error, tmp_path):
    page, script = tmp_path / "page.html", ROOT / "book" / "_static" / "vendor" / "tex-svg-full.js"
    page.write_text(f'<html><body><script src="{script.as_uri()}"></script><p>{formula}</p></body></html>')
    errors = formula_errors(rendered(page))
    assert errors == [] if error is None else error in errors[0]
