"""The book as PDF, EPUB and zip: made of a small site, and read as a reader's program reads it."""

from __future__ import annotations

import io
import shutil
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import CHROMIUM
from PIL import Image
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import finish_site  # noqa: E402
import take_along  # noqa: E402

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
FIRST, SECOND, THIRD = "book/01_why_hash", "book/02_data_and_protocol", "book/try_it"

PAGES = {
    "book/intro": '<h1>A book<a class="headerlink" href="#a">#</a></h1><div id="front-files"></div>',
    FIRST: """<section id="one"><h1>1 · One<a class="headerlink" href="#one">#</a></h1>
      <p>A formula <span class="math notranslate nohighlight">\\(h = \\mathrm{sign}(u)\\)</span>
      &amp; a word.</p>
      <div class="cell tag_setup"><p>The setup of everything.</p></div>
      <div class="cell tag_folded"><details><summary>Plot: show</summary><pre>draw()</pre></details>
      <img src="../_images/red.png" alt="a red square" loading="lazy"></div>
      <figure class="frames">
      <img src="../_images/red.png" alt="first" data-label="κ = 1" style="display:none">
      <img src="../_images/blue.png" alt="second" data-label="κ = 2" style="display:block">
      <figcaption><input type="range" oninput="go()"><output>κ = 2</output></figcaption></figure>
      <section id="exercise-1-1"><h3>Exercise 1.1</h3><p>Count the bits.</p>
      <details><summary>Hint 1</summary><p>They are sixteen.</p></details>
      <div class="cell tag_solution"><details><summary><p class="collapsed">Solution: show</p></summary>
      <pre>answer = 16</pre></details></div></section>
      <section id="end"><h2>The end</h2><p><a href="02_data_and_protocol.html#two">On</a>,
      <a href="try_it.html">or try it</a>.</p></section></section>""",
    SECOND: '<section id="two"><h1>2 · Two</h1><p>Here the second page stands.<br>It ends.</p></section>',
    THIRD: '<section id="three"><h1>Try it</h1><script src="x.js"></script></section>',
}


@pytest.fixture
def site(tmp_path):
    """A site of four pages with two pictures."""
    site = tmp_path / "html"
    for name, article in PAGES.items():
        path = site / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'<html><body><article class="bd-article">{article}</article></body></html>', encoding="utf-8"
        )
    for name in ("_images/red.png", "_images/blue.png", f"_static/{finish_site.COVER}"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), "blue" if "blue" in name else "red").save(site / name)
    (site / "_static" / "pygments.css").write_text(".k { color: green }")
    vendor = site / Path(take_along.MATHJAX).parent
    vendor.mkdir(parents=True)
    shutil.copyfile(ROOT / "book" / take_along.MATHJAX, site / take_along.MATHJAX)
    (site / "searchindex.js").touch()
    return site


def leaves(site: Path) -> list[take_along.Leaf]:
    return take_along.leaves(site, pages=list(PAGES))


def test_pages_come_in_the_books_order_without_what_paper_cannot_do(site):
    found = leaves(site)
    assert [leaf.name for leaf in found] == ["book/intro", FIRST, SECOND]
    assert [leaf.title for leaf in found] == ["A book", "1 · One", "2 · Two"]
    text = str(found[1].body)
    for gone in ("headerlink", "The setup of", "draw()", "oninput", "<input", "loading=", "first"):
        assert gone not in text, gone
    assert "(κ = 2; the others are on the site)" in text


def test_hints_and_solutions_stand_at_the_end(site):
    body = leaves(site)[1].body
    sections = [section["id"] for section in body.select("section")]
    assert sections.index("hints-and-solutions") > sections.index("end")
    answer = body.select_one("#answer-exercise-1-1")
    assert "They are sixteen." in answer.get_text()
    assert "answer = 16" in answer.get_text()
    assert body.select_one("#exercise-1-1 a")["href"] == "#answer-exercise-1-1"


def test_links_stay_in_the_book_where_they_can(site):
    found = leaves(site)
    places = {
        link.get_text(): (page, anchor) for link, page, anchor, _ in take_along.targets(found, "", site)
    }
    assert places["On"] == (SECOND, "two")
    assert places["or try it"] == ("", "")
    text = take_along.one_page(found, site, "https://a.b/c")
    assert 'href="#02_data_and_protocol--two"' in text
    assert 'id="02_data_and_protocol--two"' in text
    assert 'href="https://a.b/c/book/try_it.html"' in text


@needs_chromium
def test_the_pdf_has_pages_text_a_picture_and_bookmarks(site, tmp_path):
    take_along.pdf(site, tmp_path / "book.pdf", list(PAGES))
    reader = PdfReader(tmp_path / "book.pdf")
    title = take_along.title_of()[0]
    assert reader.metadata.title == title
    assert len(reader.pages) >= 5, "cover, contents, and each page on its own sheet"
    texts = [" ".join(page.extract_text().split()) for page in reader.pages]
    whole = " ".join(texts)
    for words in ("Count the bits.", "They are sixteen.", "answer = 16", "Here the second page stands."):
        assert words in whole
    assert next(k for k, t in enumerate(texts) if "second page" in t) > next(
        k for k, t in enumerate(texts) if "Count the bits" in t
    )
    assert any(page.images for page in reader.pages[2:]), "the figures"

    def names(outline) -> list[str]:
        return [n for o in outline for n in (names(o) if isinstance(o, list) else [o.title])]

    assert {"1 · One", "2 · Two", "Exercise 1.1"} <= set(names(reader.outline))
    assert sorted(p.name for p in site.iterdir()) == ["_images", "_static", "book", "searchindex.js"]


@needs_chromium
def test_the_epub_is_well_formed_whole_and_has_its_formulas_as_mathml(site, tmp_path):
    take_along.epub(site, tmp_path / "book.epub", list(PAGES))
    with zipfile.ZipFile(tmp_path / "book.epub") as file:
        names = file.namelist()
        assert names[0] == "mimetype"
        assert file.getinfo("mimetype").compress_type == zipfile.ZIP_STORED
        trees = {
            n: ElementTree.fromstring(file.read(n)) for n in names if n.endswith(("xhtml", "opf", "xml"))
        }
        package = trees["EPUB/package.opf"]
        listed = {e.get("href") for e in package.iter("{http://www.idpf.org/2007/opf}item")}
        assert {f"EPUB/{name}" for name in listed} == set(names) - {
            *("mimetype", "META-INF/container.xml", "EPUB/package.opf")
        }
        chapter = trees["EPUB/01_why_hash.xhtml"]
        assert len(list(chapter.iter("{http://www.w3.org/1998/Math/MathML}math"))) == 1
        assert "\\(" not in "".join(chapter.itertext())
        ids = {e.get("id") for tree in trees.values() for e in tree.iter() if e.get("id")}
        for tree in trees.values():
            for link in tree.iter("{http://www.w3.org/1999/xhtml}a"):
                path, _, anchor = link.get("href").partition("#")
                assert not path or path.startswith("https://") or f"EPUB/{path}" in names
                assert not anchor or anchor in ids
        picture = Image.open(io.BytesIO(file.read("EPUB/_images/blue.png")))
        assert picture.size == (60, 40)


def test_the_front_page_offers_what_was_made_and_the_zip_holds_the_rest(site):
    front = site / "book" / "intro.html"
    assert finish_site.files_offered(site) == ""
    (site / finish_site.FILES).mkdir()
    (site / finish_site.FILES / "dhida-book.pdf").write_bytes(b"x" * 2_400_000)
    finish_site.offer_files(site)
    assert '<a href="../files/dhida-book.pdf" download>PDF</a> (2 MB)' in front.read_text(encoding="utf-8")
    made = take_along.make("zip", site.parent)
    offered = front.read_text(encoding="utf-8")
    assert "the site as a zip</a>" in offered
    assert offered.count("dhida-book.pdf") == 1
    with zipfile.ZipFile(made) as file:
        inside = {name.removeprefix(f"{take_along.NAME}/") for name in file.namelist()}
        text = file.read(f"{take_along.NAME}/book/intro.html").decode()
    there = {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()}
    assert inside == {name for name in there if not name.startswith("files/")}
    assert 'id="front-files"></div>' in text


def test_without_a_site_it_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(take_along, "SITE", tmp_path)
    assert take_along.main(["zip"]) == 1
    assert "make book" in capsys.readouterr().err
