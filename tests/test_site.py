"""The built site: every page is there, described, light, self-contained and without an error in a formula;
and in a browser it loads without a fault, fits a narrow screen, and its sliders move by keyboard.

Run after `make book`: `pytest -m site`, or `make test-site`, which also gets axe-core for the test of
accessibility. Without a built site these tests are skipped; without Chromium no page is opened.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tools"))

import finish_site  # noqa: E402
import notebooks  # noqa: E402

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not (HTML / "index.html").is_file(), reason="no site: run `make book`"),
]
MIN_ALT = 20


def pages() -> list[str]:
    """The pages of the table of contents, without their extension."""

    def walk(node) -> list[str]:
        if isinstance(node, list):
            return [page for part in node for page in walk(part)]
        own = [node[key] for key in ("root", "file") if key in node]
        if "glob" in node:  # pages that the build writes
            own += sorted(p.relative_to(HTML).with_suffix("").as_posix() for p in HTML.glob(node["glob"]))
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
    assert any(e.get("src", "").startswith("../_images/") for e in page.all("img")), "figures"
    assert "not attempted yet" in page.text, "the checks of the exercises ran"
    assert "✓ Exercise" in page.text, "the solutions passed"
    assert "Traceback" not in page.text


@pytest.mark.parametrize("name", PAGES)
def test_page_says_what_it_is_about(name):
    page = Page(name)
    said = {e.get("name") or e.get("property"): e.get("content", "") for e in page.all("meta")}
    assert 20 <= len(said["description"]) <= finish_site.DESCRIPTION
    assert said["og:image"].startswith("https://")
    assert (HTML / "_static" / finish_site.COVER).is_file()


def test_descriptions_differ():
    said = [re.findall(r'<meta name="description" content="([^"]*)"', Page(name).text) for name in PAGES]
    assert len({text for [text] in said}) == len(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_light(name):
    """The page itself, and with all that it loads at once, packed as a server does it."""
    page = Page(name)
    assert len(page.text.encode()) < 1_500_000
    loaded = {e["src"] for e in page.all("script") if e.get("src")}
    loaded |= {e["href"] for e in page.all("link") if e.get("rel") == "stylesheet"}
    loaded |= {e["src"] for e in page.all("img") if e.get("loading") != "lazy"}
    files = [(HTML / name).parent / address.partition("?")[0] for address in loaded]
    total = len(gzip.compress(page.text.encode()))
    for file in files:
        content = file.read_bytes()
        total += len(gzip.compress(content)) if file.suffix in (".js", ".css", ".svg") else len(content)
    assert total < 2_000_000


@pytest.mark.parametrize("name", PAGES)
def test_nothing_of_a_page_that_the_book_does_not_use(name):
    page = Page(name)
    assert "THEBE_JS_URL" not in page.text
    assert "fontawesome.js" not in page.text
    assert "data:image/png;base64" not in page.text
    assert "Show code cell" not in page.text
    assert not re.search(r'<th class="head"><p></p></th>', page.text)


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
    path = HTML / f"{name}.html"
    text = path.read_text(encoding="utf-8")
    if 'class="math notranslate' in text:
        text = rendered(path)
        assert "<mjx-container" in text, "no formula was set"
    assert formula_errors(text) == []


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


# ---- in a browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


@pytest.fixture
def opened(browser):
    """Opens pages, and closes them afterwards."""
    pages = []

    def open_page(path: Path, **settings):
        pages.append(browser.page(path.as_uri(), **settings))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


MOVE = """(() => {
    const input = document.querySelectorAll("figure.frames input[type=range]")[%d];
    input.focus();
    const frames = [...input.closest("figure").querySelectorAll("img")];
    const shown = frames.findIndex((e) => e.style.display !== "none");
    return [shown, input.getAttribute("aria-valuetext"), Number(input.value), Number(input.max)];
})()"""


@needs_chromium
@pytest.mark.parametrize("name", PAGES)
def test_page_works_in_a_browser(name, opened):
    """No fault in the console, no request that fails or leaves; each formula is set; each slider moves."""
    page = opened(HTML / f"{name}.html")
    unset = """[...document.querySelectorAll(".math.notranslate")]
        .filter((e) => !e.querySelector("mjx-container")).map((e) => e.textContent)"""
    assert page.run(unset) == []
    for k in range(page.run("document.querySelectorAll('figure.frames input[type=range]').length")):
        before = page.run(MOVE % k)
        page.press("ArrowLeft" if before[2] == before[3] else "ArrowRight")
        after = page.run(MOVE % k)
        step = -1 if before[2] == before[3] else 1
        assert after[0] == before[0] + step, f"slider {k}: another frame is shown"
        assert after[1] != before[1], f"slider {k}: it says so"
    assert page.faults() == []


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_narrow_screen(name, dark, opened):
    page = opened(HTML / f"{name}.html", width=360, height=740, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")


@needs_chromium
def test_search_finds_a_page_without_loading_others(opened):
    page = opened(HTML / "search.html")
    page.run("location.search = '?q=hamming'; 1")
    page.wait("document.querySelectorAll('#search-results li a').length > 0")
    titles = page.run("[...document.querySelectorAll('#search-results li')].map((e) => e.textContent)")
    assert [title for title in titles if "\\(" in title] == []
    assert page.faults() == []


@needs_chromium
def test_a_fault_of_a_page_is_seen(opened, tmp_path):
    """The tests above can fail: an exception, an error in the console, a missing file."""
    page = tmp_path / "page.html"
    page.write_text(
        "<html><body><script src='missing.js'></script><script>console.error('a fault')</script>"
        "<script>throw new Error('another')</script></body></html>"
    )
    faults = "\n".join(opened(page).faults())
    for text in ("a fault", "another", "ERR_FILE_NOT_FOUND"):
        assert text in faults


# ---- accessibility -------------------------------------------------------------------------------------

AXE = ROOT / "_build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""Where `make test-site` puts axe-core."""

KINDS = [
    *("book/intro", "book/try_it", "book/08_piecewise_function", "book/ledger", "search"),
    "book/api/attention",
]
"""A page of each kind: front, interactive, chapter, reference, search, library."""


@needs_chromium
@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: run `make test-site`")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False)])
@pytest.mark.parametrize("name", KINDS)
def test_nothing_serious_stands_in_the_way_of_anybody(name, width, dark, opened):
    page = opened(HTML / f"{name}.html", width=width, dark=dark)
    page.run(AXE.read_text(encoding="utf-8") + ";1")
    found = page.run("""axe.run(document, {resultTypes: ["violations"]}).then((result) => result.violations
        .filter((v) => ["serious", "critical"].includes(v.impact))
        .map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")))""")
    assert found == []
