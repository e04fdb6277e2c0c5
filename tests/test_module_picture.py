"""The picture of the IDA module: what is lit, what stands in the boxes, and the promised errors."""

from __future__ import annotations

import html
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from dhida_lib.book import module_picture, plots
from dhida_lib.book.module_picture import PARTS, followed, module_alt


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def lit(fig) -> int:
    """How many boxes and circles have the thick edge."""
    return sum(p.get_linewidth() > 2 for p in fig.axes[0].patches if isinstance(p, (FancyBboxPatch, Circle)))


@pytest.mark.parametrize(
    ("part", "branch", "boxes"),
    [
        (None, None, 0),
        ("maps", None, 3),
        ("maps", "channel", 0),  # it has none
        ("affinity", None, 2),
        ("affinity", "channel", 1),
        ("improve", "position", 1),
        ("fusion", None, 2),  # the plus and the output
        (None, "position", 8),
        (None, "channel", 5),
    ],
)
def test_lit_parts(part, branch, boxes):
    assert lit(module_picture.module_picture(part, branch)) == boxes


def test_every_arrow_has_a_shape_and_every_equation_its_number():
    ax = module_picture.module_picture().axes[0]
    texts = [t.get_text() for t in ax.texts]
    shapes = [t for t in texts if "×" in t and "1×1" not in t]
    arrows = [p for p in ax.patches if type(p).__name__ == "FancyArrowPatch"]
    assert len(shapes) == len(arrows) - 1, "the two arrows into the plus share one"
    assert sorted(t for t in texts if t.startswith("Eq.")) == [f"Eq. {n}" for n in range(3, 9)]


def test_texts_stay_inside_their_boxes_and_do_not_touch_each_other():
    fig = module_picture.module_picture(
        None, "position", {name: "1.25, 1.00, 0.50, 2.00" for name in PARTS if name in module_picture._BELOW}
    )
    fig.canvas.draw()
    ax = fig.axes[0]
    boxes = [p.get_window_extent() for p in ax.patches if isinstance(p, FancyBboxPatch)]
    extents = [(t.get_text(), t.get_window_extent()) for t in ax.texts]
    for text, extent in extents:
        around = [b for b in boxes if b.contains(*((extent.p0 + extent.p1) / 2))]
        for box in around:
            assert box.x0 <= extent.x0, text
            assert extent.x1 <= box.x1, text
    for i, (text, a) in enumerate(extents):
        for other, b in extents[:i]:
            if {text, other} & {f"Eq. {n}" for n in range(3, 9)}:
                continue  # in the corner of a box, above its formula's foot
            assert not a.overlaps(b), (text, other)
    assert all(e.x0 >= 0 and e.x1 <= fig.bbox.width for _, e in extents)


def test_worked_numbers_stand_in_the_boxes_of_their_branch():
    ax = module_picture.module_picture("softmax", "channel", {"softmax": "0.2, 0.8"}).axes[0]
    [at] = [t.get_position() for t in ax.texts if t.get_text() == "0.2, 0.8"]
    assert at[0] > 3.75, "in the right half, where the channel branch is"
    assert "0.2, 0.8" in module_alt("softmax", "channel", {"softmax": "0.2, 0.8"})


def test_it_is_shown_with_its_description(monkeypatch):
    page: list[str] = []
    monkeypatch.setattr(plots, "display", lambda element: page.append(element.data))
    module_picture.where_in_the_module("sum", "position")
    alt = html.unescape(re.search(r'alt="([^"]*)"', page[0])[1])
    assert alt == module_alt("sum", "position")
    assert alt.endswith("Lit here: the weighted sum of position attention.")
    assert "Lit" not in module_alt()
    assert module_alt(branch="channel").endswith("Lit here: every box of channel attention.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "nothing"}, "part"),
        ({"branch": "nothing"}, "branch"),
        ({"worked": {"softmax": "1"}}, "branch"),
        ({"branch": "position", "worked": {"maps": "1"}}, "worked"),
        ({"branch": "position", "worked": {"softmax": 1}}, "worked"),
        ({"branch": "position", "worked": "x"}, "worked"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        module_picture.module_picture(**arguments)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"columns": -1}, "columns"),
        ({"columns": [("a", [1, 2]), 3]}, "columns"),
        ({"columns": [("a", [1, 2]), ("b", "xy")]}, "columns"),
        ({"columns": [("a", [1, 2]), ("b", [1, float("nan")])]}, "columns"),
        ({"arrows": 3}, "arrows"),
        ({"arrows": {"a": 1}}, "arrows"),
        ({"arrows": [3]}, "arrows"),
        ({"rows": []}, "rows"),
        ({"rows": ["x", 3]}, "rows"),
        ({"weights": None}, "weights"),
        ({"weights": [None]}, "weights"),
        ({"lit": 2}, "lit"),
        ({"lit": "x"}, "lit"),
    ],
)
def test_followed_says_what_is_wrong(change, name):
    given = {"columns": [("a", [1, 2]), ("b", [3, 4])], "arrows": ["to"], "rows": ["x", "y"]}
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        followed(**(given | change))


def test_a_column_followed():
    M = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)
    P = (-M).softmax(0)
    D = torch.tensor([[1.0, 0.5], [0.0, 2.0], [1.0, -0.25]])
    fig = followed(
        [("M", M), ("P", P), ("D", D), ("sum", (P @ D)[None])],
        ["softmax", "times", "Σ"],
        ["i = 1", "i = 2", "i = 3"],
        weights=[1],
        lit=1,
    )
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert texts[:3] == ["i = 1", "i = 2", "i = 3"]
    assert {"M", "P", "D", "sum", "softmax", "times", "Σ", "−0.25", "0.5"} <= set(texts)
    assert [t for t in texts if re.fullmatch(r"0\.\d\d", t)][:3] == [f"{p:.2f}" for p in P.tolist()]
    cells = [p for p in fig.axes[0].patches if isinstance(p, Rectangle)]
    assert len(cells) == 3 + 3 + 3 + 6 + 2, "three bars behind the weights"
    assert sum(p.get_linewidth() == 2 for p in cells) == 4, "row 2 of M, P and D is lit"
    with pytest.raises(ValueError, match="arrows"):
        followed([("M", M), ("P", P)], [], ["a", "b", "c"])
    with pytest.raises(ValueError, match="columns"):
        followed([("M", M), ("P", P)], ["x"], ["a", "b"])
