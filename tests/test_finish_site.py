"""The last steps of the build: what they change on a page, and that a second pass changes nothing."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import finish_site  # noqa: E402
import front_page  # noqa: E402

ICONS = (
    'a={github:[496,512,[],"f09b","M1 1z"]},b={star:[512,512,[11088],"f005","M2 2z"]},'
    'c={github:[1,1,[],"f0","M9 9z"],star:[576,512,[11088,61446],"f005","M3 3z"],'
    '"pencil":[512,512,[9999,"pencil-alt"],"f040","M4 4z"]}'
)


@pytest.fixture
def where(tmp_path):
    """A page in a site's folder `book/`, with the theme's icons."""
    (tmp_path / "book").mkdir()
    scripts = tmp_path / "_static" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "fontawesome.js").write_text(ICONS)
    return finish_site.Where(tmp_path, Path("book/page.html"), "https://someone.github.io/book")


def png(width=30, height=20) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "png")
    return buffer.getvalue()


def test_a_figure_becomes_one_file_and_is_loaded_when_needed(where):
    tag = f'<img src="data:image/png;base64,{base64.b64encode(png()).decode()}" alt="A red field">'
    done = finish_site.finished(f"<p>{tag}{tag}</p>", where)
    [file] = (where.site / "_images").iterdir()
    assert file.read_bytes() == png()
    new = f'<img loading="lazy" width="30" height="20" src="../_images/{file.name}" alt="A red field">'
    assert done == f"<p>{new}{new}</p>"


def test_the_icons_of_a_page_stand_in_it(where):
    script = '<script src="../_static/scripts/fontawesome.js?digest=1"></script>'
    text = f'{script}<i class="fab fa-github"></i><i class="fas fa-pencil-alt fa-lg" data-mode="x"></i>'
    done = finish_site.icons_in_place(text, where)
    assert "fontawesome" not in done
    assert [re.search(r' d="([^"]*)"', svg)[1] for svg in done.split("<svg")[1:]] == ["M1 1z", "M4 4z"]
    assert 'class="svg-inline--fa fas fa-pencil-alt fa-lg" data-mode="x"' in done
    with pytest.raises(ValueError, match="no icon 'fas fa-nothing'"):
        finish_site.icons_in_place(f'{script}<i class="fas fa-nothing"></i>', where)


def test_unused_scripts_go_and_others_stay(where):
    kept = "<script>let a = 1;</script>\n    <script>var b = 2;</script>"
    thebe = '<script>const THEBE_JS_URL = "x"; const c = 3</script>'
    gone = f'{thebe}\n{thebe}<script async="async" src="../_static/sphinx-thebe.js?v=1"></script>'
    assert finish_site.no_unused_scripts(kept + gone + kept, where) == kept + kept


@pytest.mark.parametrize(
    ("classes", "rest", "name"),
    [
        ("tag_setup tag_hide-input", "", "Setup"),
        ("tag_solution tag_hide-cell", "<img>", "Solution"),
        ("tag_folded tag_hide-input", "<img>", "Plot"),
        ("tag_folded tag_hide-input", "<pre>1</pre>", "Code"),
    ],
)
def test_a_fold_says_what_it_holds(where, classes, rest, name):
    text = (
        f'<div class="cell {classes} docutils container">\n<details><summary aria-label="Toggle">'
        "<span>Show code cell source</span><span>Hide code cell source</span>"
        f"</summary>x</details>{rest}</div></section>"
    )
    done = finish_site.folds_named(text, where)
    assert re.findall(r"<span[^>]*>([^<]*)", done) == [f"{name}: show", f"{name}: hide"]
    assert "aria-label" not in done
    assert done.endswith(f"</summary>x</details>{rest}</div></section>")


def test_tables_have_no_empty_header(where):
    text = '<tr><th class="head"><p>At a glance</p></th>\n<th class="head"><p></p></th>\n</tr>'
    done = finish_site.tables_headed(text, where)
    assert done == '<tr><th class="head" colspan="2"><p>At a glance</p></th>\n</tr>'
    corner = '<th class="head"><p></p></th>'
    assert finish_site.headers_not_empty(corner, where) == '<td class="head"><p></p></td>'
    assert finish_site.headers_not_empty('<th scope="col" style="a"></th><th>b</th>', where) == (
        '<td style="a"></td><th>b</th>'
    )


def test_long_names_in_tables_break_at_their_joints(where):
    name = '<span class="pre">tests/test_a.py::test_b_c</span>'
    done = finish_site.finished(f"<td>{name}</td><p>{name}</p>", where)
    broken = "tests/<wbr>test_<wbr>a.<wbr>py::<wbr>test_<wbr>b_<wbr>c"
    assert done == f'<td><span class="pre">{broken}</span></td><p>{name}</p>'


def test_a_page_is_described_by_its_first_paragraph(where):
    text = (
        "<html><head><title>One &#8212; Book</title></head><article><p>Short.</p>"
        "<p>By the <em>end</em> you can say what this &amp; that is.</p></article></html>"
    )
    done = finish_site.described(text, where)
    assert '<meta name="description" content="By the end you can say what this &amp; that is.">' in done
    assert '<meta property="og:image" content="https://someone.github.io/book/_static/cover.png">' in done
    assert '<meta property="og:title" content="One — Book">' in done
    assert finish_site.described(done, where) == done


def test_descriptions_end_with_a_sentence_or_a_word():
    assert finish_site.shortened("All of it.", 20) == "All of it."
    assert finish_site.shortened("A first one. Then more words.", 20) == "A first one."
    assert finish_site.shortened("There are words, and more", 18) == "There are words…"


def test_titles_in_the_search_index_have_no_marks():
    assert (
        finish_site.readable_titles(r'{"titles": ["What \\(f(u)\\) does"]}')
        == '{"titles": ["What f(u) does"]}'
    )


def test_the_address_of_the_site_follows_the_repository(tmp_path):
    (tmp_path / "_config.yml").write_text("repository: {url: https://github.com/Some-One/a-book}")
    assert finish_site.address(tmp_path) == "https://some-one.github.io/a-book"


# ---- the front page ----------------------------------------------------------------------------------


def test_every_place_of_the_front_page_is_filled_once():
    text = '<div class="cards" id="front-a"><p>not yet</p></div><div id="front-b"></div>'
    done = front_page.filled(text, {"front-a": "1", "front-b": "2"})
    assert done == '<div class="cards" id="front-a">1</div><div id="front-b">2</div>'
    with pytest.raises(ValueError, match="front-c"):
        front_page.filled(text, {"front-c": "3"})
    page = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    places = set(re.findall(r'id="(front-[a-z]+)"', page))
    assert places == set(front_page.pieces([], [], {"I": [front_page.Chapter("book/a", "A", 60)]}))


def test_the_parts_are_those_of_the_table_of_contents():
    book = front_page.parts(ROOT)
    assert sum(len(chapters) for chapters in book.values()) == len(list((ROOT / "book").glob("*.ipynb")))
    assert all(20 <= c.minutes <= 200 for chapters in book.values() for c in chapters)
    assert front_page.hours(90) == "1½ hours"
    assert front_page.hours(30) == "½ hour"
    assert front_page.hours(61) == "1 hour"


def test_findings_come_from_records():
    """Each says a number that this test works out from the records by itself."""
    from statistics import fmean

    from dhida_lib import data_path
    from dhida_lib.records import load_records

    found = front_page.findings()
    assert len(found) == 4
    everything = load_records(data_path("records", "fashion-mini"), method="dhida", protocol="unseen")
    assert found[3].number.endswith(f"→ {fmean(r.metrics['map'] for r in everything):.2f}")
    assert all((ROOT / f"{f.page}.ipynb").is_file() for f in found)
