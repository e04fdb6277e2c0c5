"""Figures: what reaches the page, and the promised errors."""

from __future__ import annotations

import base64
import html
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dhida_lib import plots

ALT = "A line that rises from one to two."
GREY = np.zeros((7, 5), np.uint8)
RGB = np.zeros((7, 5, 3), np.uint8)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def page(monkeypatch):
    """What was displayed, as HTML texts."""
    shown: list[str] = []
    monkeypatch.setattr(plots, "display", lambda element: shown.append(element.data))
    return shown


def line() -> plt.Figure:
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([1, 2])
    return fig


def test_show_gives_a_described_figure_and_closes_it(page):
    fig = line()
    plots.show(fig, alt='A "line"\nthat rises, 1 < 2', caption="1 < 2")
    [text] = page
    assert html.unescape(re.search(r'alt="([^"]*)"', text)[1]) == 'A "line" that rises, 1 < 2'
    assert "<figcaption>1 &lt; 2</figcaption>" in text
    assert not plt.fignum_exists(fig.number)
    image = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    assert image.startswith(b"\x89PNG")
    wide = int.from_bytes(image[16:20], "big")
    assert abs(int(re.search(r"width:(\d+)px", text)[1]) - wide / 2) <= 1, "two pixels for one of the page"


def test_show_width(page):
    plots.show(line(), alt=ALT, width=123)
    assert "width:123px" in page[0]
    assert "figcaption" not in page[0]


@pytest.mark.parametrize("alt", ["", "too short", " " * 30, None])
def test_show_needs_alt(alt):
    with pytest.raises(ValueError, match="alt"):
        plots.show(line(), alt=alt)


def test_show_needs_a_figure():
    with pytest.raises(ValueError, match="fig"):
        plots.show("no figure", alt=ALT)


def test_style_tells_lines_apart_without_colour():
    with matplotlib.rc_context():
        plots.use_style()
        cycle = list(matplotlib.rcParams["axes.prop_cycle"])
    assert len({c["linestyle"] for c in cycle[:4]}) == 4
    assert len({c["color"] for c in cycle[:6]}) == 6
    assert len({(c["color"], c["linestyle"]) for c in cycle}) == len(cycle)
    assert not {c["color"] for c in cycle} & {plots.RIGHT, plots.WRONG}  # those two have a meaning


def test_image_grid_marks_differ_in_more_than_colour():
    fig = plots.image_grid([GREY, RGB, GREY], ["a", "b", "c"], [True, False, None], columns=2)
    axes = fig.axes
    assert len(axes) == 4
    signs = [[t.get_text() for t in ax.texts] for ax in axes]
    assert signs == [["✓"], ["✗"], [], []]
    styles = [ax.spines["left"].get_linestyle() for ax in axes[:2]]
    assert styles[0] != styles[1]
    assert not axes[2].spines["left"].get_visible()
    assert [ax.get_title() for ax in axes[:3]] == ["a", "b", "c"]


def test_image_grid_errors():
    with pytest.raises(ValueError, match="images"):
        plots.image_grid([])
    with pytest.raises(ValueError, match="titles"):
        plots.image_grid([GREY], ["a", "b"])
    with pytest.raises(ValueError, match="marks"):
        plots.image_grid([GREY], marks=[])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"images": None}, "images"),
        ({"images": [np.zeros(3)]}, r"images\[0\]"),
        ({"images": [GREY, None]}, r"images\[1\]"),
        ({"images": [GREY.astype(complex)]}, r"images\[0\]"),
        ({"images": [np.zeros((0, 3))]}, r"images\[0\]"),
        ({"titles": 3}, "titles"),
        ({"marks": "x"}, "marks"),
        ({"marks": [np.zeros(2)]}, "marks"),
        ({"columns": 0}, "columns"),
        ({"columns": None}, "columns"),
        ({"size": 0}, "size"),
        ({"size": 10**400}, "size"),
        ({"size": 1e300}, "size"),
        ({"size": "big"}, "size"),
    ],
)
def test_image_grid_says_what_is_wrong(change, name):
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        plots.image_grid(**({"images": [GREY]} | change))


def test_pictures_of_any_strides_and_types():
    for x in (
        GREY.T,
        GREY[::-1, ::2],
        torch.zeros(4, 4).bfloat16(),
        torch.zeros(3, 4, 4).permute(1, 2, 0),
        [[0, 1]],
    ):
        plots.image_grid([x], marks=np.array([True]), titles=np.array(["a"]))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"queries": []}, "queries"),
        ({"queries": None}, "queries"),
        ({"results": [3]}, "results"),
        ({"results": [[GREY, "x"]]}, r"results\[0\]\[1\]"),
        ({"correct": [[True]]}, r"correct\[0\]"),
        ({"query_titles": []}, "query_titles"),
        ({"result_titles": [["a"]]}, r"result_titles\[0\]"),
        ({"result_titles": 3}, "result_titles"),
        ({"size": -1}, "size"),
    ],
)
def test_gallery_says_what_is_wrong(change, name):
    given = {"queries": [GREY], "results": [[GREY, RGB]], "correct": [[True, False]]}
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        plots.gallery(**(given | change))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"matrix": None}, "matrix"),
        ({"matrix": [[1], [1, 2]]}, "matrix"),
        ({"matrix": np.zeros((0, 3))}, "matrix"),
        ({"matrix": np.eye(2) * 1j}, "matrix"),
        ({"annotate": "%s"}, "annotate"),
        ({"center": "x"}, "center"),
        ({"center": 10**400}, "center"),
        ({"xticks": ["a"]}, "xticks"),
        ({"yticks": None}, "yticks"),
        ({"limits": [None]}, "limits"),
        ({"limits": (1, 1)}, "limits"),
        ({"ylabel": np.arange(2)}, "ylabel"),
        ({"ax": "x"}, "ax"),
    ],
)
def test_heatmap_says_what_is_wrong(change, name):
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        plots.heatmap(**({"matrix": np.eye(2)} | change))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"series": "x"}, "series"),
        ({"series": {"a": 3}}, "series"),
        ({"series": {"a": "xy"}}, "series"),
        ({"series": {"a": ([1], ["b"])}}, "series"),
        ({"series": {"a": ([[1]], [1])}}, "series"),
        ({"ylim": 3}, "ylim"),
        ({"ylim": (1, "2")}, "ylim"),
        ({"ylim": (1, 1)}, "ylim"),
        ({"ylim": (0, 1, 2)}, "ylim"),
        ({"title": 3}, "title"),
        ({"xlabel": 10**5000}, "xlabel"),
        ({"ax": {}}, "ax"),
    ],
    ids=range(12),
)
def test_curve_says_what_is_wrong(change, name):
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        plots.curve(**({"series": {"a": ([1], [2])}, "xlabel": "n", "ylabel": "P"} | change))


def test_png_and_show_say_what_is_wrong(page):
    for wrong in (None, [], "x"):
        with pytest.raises(ValueError, match=r"^`fig` must be"):
            plots.png(wrong)
    for wrong in (0, -1, "2", None, float("nan"), 1e308, 10**400):
        with pytest.raises(ValueError, match=r"^`scale` must be"):
            plots.png(line(), scale=wrong)
    with pytest.raises(ValueError, match=r"^`caption` must be"):
        plots.show(line(), ALT, caption=3)
    for wrong in (0, "3", 1.5, 10**5000):
        with pytest.raises(ValueError, match=r"^`width` must be"):
            plots.show(line(), ALT, width=wrong)


def test_gallery():
    fig = plots.gallery(
        [GREY, RGB],
        [[GREY, GREY, RGB], [RGB]],
        [[True, False, True], [False]],
        ["q", "r"],
        [["1", "2", "3"], ["4"]],
    )
    assert len(fig.axes) == 2 * 5
    signs = [t.get_text() for ax in fig.axes for t in ax.texts]
    assert signs == ["→", "✓", "✗", "✓", "→", "✗"]
    assert len(plots.gallery([GREY], [[GREY]], [[True]]).axes) == 3
    with pytest.raises(ValueError, match="results"):
        plots.gallery([GREY], [], [])


def test_heatmap_of_a_tensor():
    matrix = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, 0.0]], requires_grad=True)
    fig = plots.heatmap(
        matrix, title="M", xlabel="i", ylabel="j", annotate=".1f", center=0, xticks=list("abc")
    )
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.texts] == ["1.0", "-2.0", "3.0", "0.5", "0.2", "0.0"]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("M", "i", "j")
    _, given = plt.subplots()
    assert plots.heatmap(np.eye(2), yticks=True, limits=(-1, 3), ax=given) is given.get_figure()
    assert given.collections[0].get_clim() == (-1, 3)
    with pytest.raises(ValueError, match="matrix"):
        plots.heatmap(np.zeros(3))


def test_curve():
    fig = plots.curve({"a": ([1, 2], [3, 4]), "b": ([1, 2], [4, 3])}, xlabel="n", ylabel="P", ylim=(0, 5))
    lines = fig.axes[0].lines
    assert lines[0].get_marker() != lines[1].get_marker()
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["a", "b"]
    _, given = plt.subplots()
    plots.curve({"a": ([1], [2])}, xlabel="n", ylabel="P", markers=False, ax=given)
    assert given.get_legend() is None
    with pytest.raises(ValueError, match="series"):
        plots.curve({}, xlabel="n", ylabel="P")
    with pytest.raises(ValueError, match="2 x and 1 y"):
        plots.curve({"a": ([1, 2], [3])}, xlabel="n", ylabel="P")


def cells_of(text: str, row: int) -> list[str]:
    """The texts of a row of a table; row 0 is the header."""
    line = re.findall(r"<tr>(.*?)</tr>", text)[row]
    return [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", line)]


def test_table(page):
    rows = [["a < b", 0.5, torch.tensor(-0.25), 1200], ["second", float("nan"), 0.125, None]]
    plots.table(rows, ["name", "mAP", "gain", "n"], "Two rows & four columns", best={"gain": "max"})
    [text] = page
    assert cells_of(text, 0) == ["name", "mAP", "gain", "n"]
    assert cells_of(text, 1) == ["a < b", "0.500", "−0.250", "1,200"]
    assert cells_of(text, 2) == ["second", "", "0.125\xa0★", ""]
    assert "<caption" in text
    assert "Two rows &amp; four columns</caption>" in text
    assert text.count('scope="col"') == 4
    assert text.count('<th scope="row"') == 2, "the first cell of a row names it"
    assert text.count('<strong>0.125</strong>&nbsp;<span role="img" aria-label="best">') == 1
    first, *others = re.findall(r"<th[^>]*text-align:(left|right);", text)[:4]
    assert (first, set(others)) == ("left", {"right"}), "numbers stand under each other"


def test_table_best_of_each_column_and_its_ties(page):
    rows = [["a", 2, 0.30, True], ["b", 2, 0.10, False], ["c", None, 0.20, True]]
    header = ["name", "n", "loss", "kept"]
    plots.table(rows, header, "c", best={"n": "max", "loss": "min"}, form={"loss": ".1f"})
    texts = [cells_of(page[0], i) for i in (1, 2, 3)]
    assert texts == [
        ["a", "2\xa0★", "0.3", "yes"],
        ["b", "2\xa0★", "0.1\xa0★", "no"],
        ["c", "", "0.2", "yes"],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "rows"),
        ({"rows": [["a", 1], ["b"]]}, "a row of 1"),
        ({"caption": " "}, "caption"),
        ({"best": {"m": "max"}}, "'name', 'n'"),
        ({"best": {"n": "largest"}}, "largest"),
        ({"form": {"m": ".1f"}}, "form"),
    ],
)
def test_table_errors(change, message):
    given = {"rows": [["a", 1]], "header": ["name", "n"], "caption": "numbers"} | change
    with pytest.raises(ValueError, match=message):
        plots.table(**given)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rows": None}, "rows"),
        ({"rows": [3]}, "rows"),
        ({"header": [1, 2]}, "header"),
        ({"caption": None}, "caption"),
        ({"best": "max"}, "best"),
        ({"form": "x"}, "form"),
        ({"form": 3}, "form"),
    ],
)
def test_table_says_what_is_wrong(change, name):
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        plots.table(**({"rows": [["a", 0.5]], "header": ["name", "n"], "caption": "numbers"} | change))


@pytest.mark.parametrize("block", [None, *plots.BLOCKS])
def test_pipeline_highlights_one_block(block, page):
    fig = plots.pipeline(block)
    bold = {t.get_text() for t in fig.axes[0].texts if t.get_weight() == "bold"} - {"IDA"}
    hot = {"hash": {"hash layer"}, "piecewise": {"f(u)"}, "ida": {"position", "channel"}, None: set()}
    assert bold == hot.get(block, {block})
    plt.close(fig)
    plots.where_we_are(block)
    alt = html.unescape(re.search(r'alt="([^"]*)"', page[0])[1])
    assert alt == plots.pipeline_alt(block)
    assert block is None or alt.endswith(f"Highlighted here: {plots.BLOCKS[block]}.")


def test_pipeline_texts_stay_inside_their_boxes():
    with matplotlib.rc_context():
        plots.use_style()
        fig = plots.pipeline()
        fig.canvas.draw()
        ax = fig.axes[0]
        boxes = [
            p.get_window_extent() for p in ax.patches if isinstance(p, matplotlib.patches.FancyBboxPatch)
        ]
        for text in ax.texts:
            extent = text.get_window_extent()
            around = [b for b in boxes if b.contains(*((extent.p0 + extent.p1) / 2))]
            if around:
                box = min(around, key=lambda b: b.width)
                assert box.x0 <= extent.x0, text.get_text()
                assert extent.x1 <= box.x1, text.get_text()


def test_pipeline_errors():
    with pytest.raises(ValueError, match="highlight"):
        plots.pipeline("no such block")
    with pytest.raises(ValueError, match="highlight"):
        plots.pipeline_alt("no such block")
