"""The page of all figures: made from finished pages, each figure with its title, words and place."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "_build" / "html" / "book" / "gallery.html"
sys.path.insert(0, str(ROOT / "tools"))

import finish_site  # noqa: E402
import gallery  # noqa: E402


def cell(title: str, figure: str) -> str:
    """A cell as Sphinx writes it: its first line, and what it shows."""
    line = (
        f'<span class="c1"># @title Figure: {title}</span>' if title else '<span class="c1"># a line</span>'
    )
    return f'<div class="cell docutils container"><pre>{line}</pre>{figure}</div>'


def image(name: str, words: str, style: str = "") -> str:
    return f'<img src="../_images/{name}.png" alt="{words}" style="{style}">'


@pytest.fixture
def site(tmp_path):
    """A finished site of two chapters, one of them without a figure, and the page for the figures."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_images").mkdir()
    for name, size in (("wide", (1500, 300)), ("second", (80, 40)), ("third", (80, 40))):
        Image.new("RGBA", size, (0, 90, 200, 128)).save(tmp_path / "_images" / f"{name}.png")
    frames = image("second", "State one of two.", "display:none;width:9px") + image(
        "third", "State two &lt; three.", "display:block"
    )
    text = (
        "<article><h1>7 · A &amp; B<a>#</a></h1><h2>Build it<a>#</a></h2>"
        + cell("the map, the drawing", "")
        + cell("a wide picture", f'<figure class="dhida">{image("wide", "A wide field.")}</figure>')
        + cell("", f'<figure class="dhida frames">{frames}<input></figure>')
        + "</article>"
    )
    where = finish_site.Where(tmp_path, Path("book/07_a.html"), "https://someone.github.io/book")
    text = finish_site.figures_have_names(text, where)
    (tmp_path / "book" / "07_a.html").write_text(text, encoding="utf-8")
    (tmp_path / "book" / "08_b.html").write_text("<article><h1>8 · C</h1></article>", encoding="utf-8")
    (tmp_path / "book" / "gallery.html").write_text(
        '<div class="gallery" id="gallery"><p>Not yet.</p></div><!-- end of gallery -->', encoding="utf-8"
    )
    return tmp_path


def test_figures_are_numbered_once(site):
    path = site / "book" / "07_a.html"
    text = path.read_text(encoding="utf-8")
    assert re.findall(r'<figure class="[^"]*" id="([^"]*)"', text) == ["figure-1", "figure-2"]
    where = finish_site.Where(site, Path("book/07_a.html"), "https://someone.github.io/book")
    assert finish_site.figures_have_names(text, where) == text


def test_each_figure_has_its_title_words_and_place(site):
    [chapter] = gallery.chapters(site)
    assert (chapter.page, chapter.title, chapter.number) == ("07_a.html", "7 · A & B", "7")
    wide, frames = chapter.figures
    assert (wide.anchor, wide.title, wide.words, wide.states) == (
        "figure-1",
        "A wide picture",
        "A wide field.",
        1,
    )
    assert (frames.anchor, frames.title, frames.states) == ("figure-2", "Build it", 2), "the heading above it"
    assert frames.words == "State two < three.", "the state that is shown at first"


def test_the_page_shows_small_pictures_that_lead_to_their_places(site):
    assert gallery.build(site) == 2
    text = (site / "book" / "gallery.html").read_text(encoding="utf-8")
    assert "Not yet" not in text
    tags = re.findall(r"<img[^>]*>", text)
    assert all('loading="lazy"' in tag for tag in tags)
    assert 'href="07_a.html#figure-1"' in text
    assert 'href="07_a.html#figure-2"' in text
    assert "State two &lt; three." in text
    with Image.open(site / "_images" / "gallery" / "wide.webp") as picture:
        assert picture.size == (gallery.WIDTH, gallery.WIDTH // 5)
        assert f'width="{picture.size[0]}" height="{picture.size[1]}"' in tags[0]
        red, green, blue = picture.getpixel((5, 5))
        assert blue > green > red > 90, "what is transparent lies on white"
    with Image.open(site / "_images" / "gallery" / "third.webp") as picture:
        assert picture.size == (80, 40), "a small picture is not made larger"
    assert gallery.build(site) == 2
    assert (site / "book" / "gallery.html").read_text(encoding="utf-8") == text, (
        "a second pass changes nothing"
    )


def test_without_figures_the_page_stays_as_it_was(site):
    (site / "book" / "07_a.html").write_text("<article><h1>7 · A</h1></article>", encoding="utf-8")
    page = site / "book" / "gallery.html"
    before = page.read_text(encoding="utf-8")
    assert gallery.build(site) == 0
    assert page.read_text(encoding="utf-8") == before


def test_a_page_without_the_place_is_refused():
    with pytest.raises(ValueError, match="id='gallery'"):
        gallery.filled("<p>nothing</p>", "<p>a figure</p>")


def test_the_switch_has_a_filter_for_each_choice():
    """Every choice but the first has its filter, which keeps white white, and a rule in the style sheet."""
    text = (ROOT / "book" / "gallery.md").read_text(encoding="utf-8")
    style = (ROOT / "book" / "_static" / "dhida.css").read_text(encoding="utf-8")
    choices = re.findall(r'name="sight" id="sight-(\w+)"', text)
    filters = dict(re.findall(r'<filter id="seen-(\w+)"[^>]*><feColorMatrix values="([^"]*)"', text))
    assert choices[0] == "plain"
    assert choices[1:] == list(filters)
    for name, values in filters.items():
        rows = [float(v) for v in values.split()]
        assert len(rows) == 20
        for k in range(0, 15, 5):
            assert sum(rows[k : k + 3]) == pytest.approx(1, abs=1e-4), f"{name}: white stays white"
            assert rows[k + 3 : k + 5] == [0, 0]
        assert f"#sight-{name}:checked" in style
        assert f"url(#seen-{name})" in style


@pytest.mark.site
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.skipif(not PAGE.is_file(), reason="no site: run `make book`")
@pytest.mark.parametrize("dark", [False, True])
def test_the_switch_works_by_keyboard(dark):
    """An arrow key moves it, and the figures are seen through the filter of the choice."""
    seen = "getComputedStyle(document.querySelector('#gallery figure img')).filter"
    with Browser() as browser:
        page = browser.page(PAGE.as_uri(), dark=dark)
        if not page.run("document.querySelector('#gallery figure img') !== null"):
            pytest.skip("no chapter was executed")
        assert page.run(seen) == "none"
        page.run("document.getElementById('sight-plain').focus()")
        found = []
        for _ in range(4):
            page.press("ArrowDown")
            found.append((page.run("document.activeElement.id"), page.run(seen)))
        names = ["deutan", "protan", "tritan", "grey"]
        assert found == [(f"sight-{name}", f'url("#seen-{name}")') for name in names]
        assert page.faults() == []
        page.close()
