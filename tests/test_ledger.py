"""The ledger: whole, up to date, and every entry points at something that is there."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest
from myst_parser.mdit_to_docutils.base import default_slugify

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import ledger  # noqa: E402

ENTRIES = ledger.entries()
GOOD = next(entry for entry in ENTRIES if entry.item == "Eq. 5")


def test_every_entry_points_at_something():
    assert ledger.problems(ENTRIES) == []


def test_the_page_is_what_the_tool_writes():
    have = (ROOT / ledger.PAGE).read_text(encoding="utf-8")
    assert have == ledger.page(ENTRIES), "run `make ledger`"


def test_the_list_of_items_is_the_papers():
    """19 equations, 13 lines of Algorithm 1, 4 tables and 9 figures."""
    assert [len(items) for items in ledger.GROUPS.values()] == [19, 13, 4, 9]
    assert len(set(ledger.ITEMS)) == 45


def test_the_page_is_in_the_table_of_contents():
    assert "- file: book/ledger\n" in (ROOT / "_toc.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chapter": "99_not_there"}, "no chapter 99_not_there"),
        ({"cell": "05-00000000"}, "no cell or heading '05-00000000'"),
        ({"chapter": "06_channel_attention", "cell": "06-1ad294da"}, "does not print Eq. 5"),
        ({"library": ["dhida_lib.PositionAttentoin"]}, "no library name"),
        ({"library": ["dhida_lib.PositionAttention.backward_map"]}, "no library name"),
        ({"library": ["dhida_lib._validate.bad"]}, "no library name"),
        ({"library": ["torch.nn.Linear"]}, "no library name"),
        ({"library": []}, "no library name or no test"),
        ({"tests": []}, "no library name or no test"),
        ({"tests": ["tests/test_attention.py::test_not_there"]}, "no test"),
        ({"tests": ["tests/test_not_there.py::test_position_against_loops"]}, "no test"),
        ({"tests": ["tests/test_attention.py::make"]}, "no test"),
        ({"tests": ["tests/test_attention.py"]}, "no test"),
        ({"status": "done"}, "status 'done'"),
        ({"status": "not yet", "note": ""}, "without a note"),
    ],
)
def test_an_entry_that_points_at_nothing_is_found(change, said):
    assert list(ledger.problems_of(GOOD)) == []
    assert said in "\n".join(ledger.problems_of(dataclasses.replace(GOOD, **change)))


def test_an_awaited_chapter(tmp_path):
    """Its entries are "not yet" while the notebook is missing, and are checked as soon as it is there."""
    (tmp_path / "book").mkdir()
    text = (ROOT / ledger.DATA).read_text(encoding="utf-8")
    entry = text[text.index('[[entry]]\nitem = "Eq. 5"') : text.index('[[entry]]\nitem = "Eq. 6"')]
    data = tmp_path / ledger.DATA
    data.write_text(f'awaited = ["{GOOD.chapter}"]\n{entry}', encoding="utf-8")
    (waiting,) = ledger.entries(tmp_path)
    assert (waiting.status, waiting.cell) == ("not yet", "")
    assert [text for text in ledger.problems_of(waiting, tmp_path) if "test" not in text] == []
    assert "| Chapter 5 |" in ledger.row(waiting, tmp_path)
    data.write_text(entry, encoding="utf-8")
    assert "no chapter" in "\n".join(ledger.problems_of(ledger.entries(tmp_path)[0], tmp_path))
    (tmp_path / "book" / f"{GOOD.chapter}.ipynb").write_bytes(
        (ROOT / "book" / f"{GOOD.chapter}.ipynb").read_bytes()
    )
    data.write_text(f'awaited = ["{GOOD.chapter}"]\n{entry}', encoding="utf-8")
    assert ledger.entries(tmp_path) == [GOOD]


def test_a_heading_will_do_for_a_cell():
    named = dataclasses.replace(GOOD, cell="Softmax over i, then the transpose")
    assert list(ledger.problems_of(named)) == []
    assert "#softmax-over-i-then-the-transpose) |" in ledger.row(named)


def test_missing_double_and_foreign_items_are_found():
    assert "Eq. 5: 0 entries, not one" in ledger.problems([e for e in ENTRIES if e.item != "Eq. 5"])
    assert "Eq. 5: 2 entries, not one" in ledger.problems([*ENTRIES, GOOD])
    foreign = dataclasses.replace(GOOD, item="Eq. 20")
    assert "Eq. 20: not an item of the paper" in ledger.problems([*ENTRIES, foreign])


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("The library's version", "the-librarys-version"),
        ("f(u) is a clamp", "fu-is-a-clamp"),
        ("AP@k: what do we divide by?", "apk-what-do-we-divide-by"),
        ("The sign of `torch.sign` and *x*", "the-sign-of-torchsign-and-x"),
        ("The value $u_i$ at 0", "the-value--at-0"),
        ("Sums or means: what γ really weighs", "sums-or-means-what-γ-really-weighs"),
    ],
)
def test_anchors(heading, anchor):
    assert ledger.slug(heading) == anchor
    if not set(heading) & set("`*$"):
        assert default_slugify(heading) == anchor


def test_a_page_of_the_site_has_these_anchors():
    """What MyST made of a chapter's headings, if the site is built."""
    html = ROOT / "_build" / "html" / "book" / "05_position_attention.html"
    if not html.is_file():
        pytest.skip("no site: run `make book`")
    ids = set(re.findall(r'<section[^>]* id="([^"]+)"', html.read_text(encoding="utf-8")))
    ids |= set(re.findall(r'<span id="([^"]+)"', html.read_text(encoding="utf-8")))
    assert "softmax-over-i-then-the-transpose" in ids


@pytest.mark.parametrize("page", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_pages_lead_somewhere(page):
    """A link to a chapter or page is to a file, one with an anchor to a heading, that is there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not name:
            continue
        path = page.parent / name
        assert path.is_file(), target
        if anchor and path.suffix == ".ipynb":
            anchors = [a for _, _, a in ledger.outline(ledger.read_chapter(path))]
            assert anchor in anchors, f"{target}: {anchors}"
