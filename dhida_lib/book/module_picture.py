"""The IDA module in one picture, with any part of it lit; and a column of numbers followed through it.

In the picture bold letters are tensors, C is the number of channels and HW that of positions, as in the
book's notation. Chapters 5 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from dhida_lib._validate import bad, choice, instance, sized, tensor, whole
from dhida_lib.book.plots import COLORS, show

__all__ = ["BRANCHES", "PARTS", "followed", "module_alt", "module_picture", "where_in_the_module"]

BRANCHES = {"position": "position attention", "channel": "channel attention"}
PARTS = {
    "maps": "the three 1×1 convolutions, which give B, C and D",
    "affinity": "the inner products, M between positions and G between channels",
    "improve": "(max + mean)/2 minus the inner products",
    "softmax": "the softmax over i",
    "sum": "the weighted sum",
    "residual": "the learnt factor, and A added",
    "fusion": "the sum of the two branches",
}
_INK, _LINE = "#222222", "#555555"
_FILL, _EDGE = "#F3F5F7", "#9AA3AB"
_HOT_FILL, _HOT_EDGE = "#FFE3B3", "#B86E00"

# All lengths in inches, from the lower left corner. A box: left, bottom, width, height.
_Box = tuple[float, float, float, float]
_SMALL: dict[str, Any] = {"size": 8, "color": _LINE}
_WIDE, _HIGH, _LOW = 7.5, 6.5, -0.62
_BUS = 5.62  # the height of the line that hands A to everybody
_NARROW, _BROAD, _TALL = 2.0, 3.1, 0.54
_LEFT = {"position": 0.35, "channel": 5.15}  # of the narrow boxes
_BROAD_LEFT = {"position": 0.35, "channel": 4.05}
_BOTTOM = {"affinity": 3.78, "improve": 2.9, "softmax": 2.02, "sum": 1.14, "residual": 0.26}
_MAPS = {"B": "query", "C": "key", "D": "value"}  # letter → the name of the convolution in code
_MAP_LEFT = dict(zip(_MAPS, (0.35, 1.45, 2.5), strict=True))
_MAP_WIDE, _MAP_BOTTOM = 0.92, 4.68
_FORMULA = {
    ("affinity", "position"): r"$M_{ij} = \mathbf{B}_i \cdot \mathbf{C}_j$",
    ("improve", "position"): r"$\tilde{M}_{ij} = t_j - M_{ij}$",
    ("softmax", "position"): r"$P_{ji}$ = softmax of $\tilde{M}_{ij}$",
    ("sum", "position"): r"$\Sigma_i\, P_{ji}\, \mathbf{D}_i$",
    ("residual", "position"): r"$\mathbf{E}_j = \alpha\, \Sigma_i\, P_{ji}\, \mathbf{D}_i + \mathbf{A}_j$",
    ("affinity", "channel"): r"$G_{ij} = \mathbf{A}_i \cdot \mathbf{A}_j$",
    ("improve", "channel"): r"$\tilde{G}_{ij} = t_j - G_{ij}$",
    ("softmax", "channel"): r"$X_{ji}$ = softmax of $\tilde{G}_{ij}$",
    ("sum", "channel"): r"$\Sigma_i\, X_{ji}\, \mathbf{A}_i$",
    ("residual", "channel"): r"$\mathbf{E}_j = \beta\, \Sigma_i\, X_{ji}\, \mathbf{A}_i + \mathbf{A}_j$",
}
_BELOW = {
    "affinity": "i is looked at, j looks",
    "improve": r"$t_j$ = (max + mean)/2 over i",
    "softmax": "over i, for each j",
    "sum": "what j fetches from all i",
    "residual": "the learnt factor starts at 0: then E = A",
}
_EQUATION = {
    ("improve", "position"): 3,
    ("softmax", "position"): 4,
    ("residual", "position"): 5,
    ("improve", "channel"): 6,
    ("softmax", "channel"): 7,
    ("residual", "channel"): 8,
}
_SHAPES = {"position": "HW×HW", "channel": "C×C"}
_WORDS = (
    "The IDA module from top to bottom, two branches side by side. The feature map A, C×H×W, enters both. "
    "Position attention: three 1×1 convolutions give B (query), C (key) and D (value), C×HW each; B and C "
    "give the inner products M, HW×HW, with i looked at and j looking; then t minus M, t = (max + mean)/2 "
    "over i (Eq. 3); the softmax over i gives P, HW×HW (Eq. 4); P and D give the weighted sum, C×HW; α times "
    "this plus A is E (Eq. 5). Channel attention does the same without convolutions: A with itself gives G, "
    "C×C; t minus G (Eq. 6); the softmax over i gives X (Eq. 7); X and A give the weighted sum; β times this "
    "plus A is E (Eq. 8). Both E, C×H×W, are added."
)


def _box(ax: Axes, at: _Box, text: str, small: str, hot: bool) -> None:
    """A box with a formula and a smaller line under it; a lit one has another fill and a thick edge."""
    x, y, w, h = at
    box = FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.07")
    box.set(facecolor=_HOT_FILL if hot else _FILL, edgecolor=_HOT_EDGE if hot else _EDGE)
    box.set(linewidth=2.6 if hot else 1.1, zorder=2)
    ax.add_patch(box)
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": _INK, "zorder": 3}
    ax.text(x + w / 2, y + h * (0.66 if small else 0.5), text, size=10, **style)
    if small:
        ax.text(x + w / 2, y + h * 0.24, small, size=8, **style)


def _arrow(ax: Axes, *points: tuple[float, float], shape: str = "") -> None:
    """A straight or broken line with a head, and beside its last piece the shape of what it carries."""
    xs, ys = zip(*points, strict=True)
    ax.plot(xs, ys, color=_LINE, linewidth=1.2, linestyle="-", zorder=1)
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "color": _LINE}
    head = FancyArrowPatch(points[-2], points[-1], shrinkA=0, shrinkB=0, **style)
    head.set_zorder(1)
    ax.add_patch(head)
    if shape:
        (x0, y0), (x1, y1) = points[-2:]
        ax.text((x0 + x1) / 2 + 0.05, (y0 + y1) / 2, shape, **_SMALL, ha="left", va="center")


def _lit(part: str | None, branch: str | None) -> set[tuple[str, str]]:
    """The boxes (part, branch) that are lit."""
    if part is not None:
        choice("part", part, PARTS)
    if branch is not None:
        choice("branch", branch, BRANCHES)
    if part is None and branch is None:
        return set()
    branches = [branch] if branch else list(BRANCHES)
    parts = [part] if part else [name for name in PARTS if name != "fusion"]
    return {(p, b) for p in parts for b in branches}


def _checked_worked(worked: Any) -> dict[str, str]:
    """The numbers of a worked example by part, else ``ValueError``."""
    given = {} if worked is None else worked
    for name, numbers in instance("worked", given, Mapping, "a dictionary: part → numbers").items():
        choice("worked", name, _BELOW)
        instance("worked", numbers, str, "numbers as text")
    return dict(given)


def module_picture(
    part: str | None = None, branch: str | None = None, worked: Mapping[str, str] | None = None
) -> Figure:
    """The dataflow of the IDA module, with the shape of the tensor on every arrow.

    Args:
        part: a name in `PARTS`, lit in both branches or in ``branch``; None lights the whole ``branch``.
        branch: ``"position"`` or ``"channel"``; None for both.
        worked: part → numbers of a worked example, which stand in the box of that part in ``branch`` in place
            of its second line.

    Returns:
        The figure; `where_in_the_module` shows it with its description.

    Raises:
        ValueError: if there is no such part or branch, or there is ``worked`` and no ``branch``.

    Source: §3.3, Fig. 2; Chapters 5-7.
    """
    hot = _lit(part, branch)
    worked = _checked_worked(worked)
    if worked and branch is None:
        raise bad("branch", branch, "the branch whose boxes hold the numbers of worked")
    fig = plt.figure(figsize=(_WIDE, _HIGH - _LOW), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, _WIDE), ylim=(_LOW, _HIGH))
    ax.set_axis_off()
    _box(ax, (3.05, 5.95, 1.4, 0.44), r"feature map $\mathbf{A}$", "", hot=False)
    for key, formula in _FORMULA.items():
        name, owner = key
        small = worked.get(name, _BELOW[name]) if owner == branch else _BELOW[name]
        _box(ax, _place(*key), formula, small, key in hot)
        if key in _EQUATION:
            x, y, w, h = _place(*key)
            ax.text(x + w - 0.05, y + h - 0.1, f"Eq. {_EQUATION[key]}", **_SMALL, ha="right", va="center")
    for letter, role in _MAPS.items():
        at = (_MAP_LEFT[letter], _MAP_BOTTOM, _MAP_WIDE, _TALL)
        _box(ax, at, rf"$\mathbf{{{letter}}}$", f"{role}: 1×1", ("maps", "position") in hot)
    _wires(ax)
    _fusion(ax, any(name == "fusion" for name, _ in hot))
    for name, x in (("position", 1.45), ("channel", 6.05)):
        ax.text(x, 6.12, BRANCHES[name], size=10, weight="bold", color=_INK, ha="center")
    _note(ax, 6.15, 5.33, "no convolutions:\nthe rows of A", ha="center")
    _note(ax, 0.14, -0.31, "For one image. A batch is\none more axis, in front.", ha="left")
    return fig


def _note(ax: Axes, x: float, y: float, text: str, ha: str) -> None:
    """A remark between the boxes."""
    ax.text(x, y, text, size=8, style="italic", color=_LINE, ha=ha, va="center")


def _place(part: str, branch: str) -> _Box:
    """Where the box of a part stands."""
    broad = part in ("sum", "residual")
    left = (_BROAD_LEFT if broad else _LEFT)[branch]
    return left, _BOTTOM[part], _BROAD if broad else _NARROW, _TALL


def _wires(ax: Axes) -> None:
    """All arrows, with their shapes."""
    top = {part: low + _TALL for part, low in _BOTTOM.items()}
    level = _BOTTOM["residual"] + _TALL / 2
    edge = 0.14  # where A goes round the boxes to be added at the end
    for points in (((_WIDE / 2, 5.95), (_WIDE / 2, _BUS)), ((edge, _BUS), (_WIDE - edge, _BUS))):
        ax.plot(*zip(*points, strict=True), color=_LINE, linewidth=1.2, linestyle="-", zorder=1)
    for letter, left in _MAP_LEFT.items():
        x = left + _MAP_WIDE / 2
        _arrow(ax, (x, _BUS), (x, _MAP_BOTTOM + _TALL), shape="C×H×W")
        _arrow(ax, (x, _MAP_BOTTOM), (x, top["sum" if letter == "D" else "affinity"]), shape="C×HW")
    for x, end in ((4.5, "sum"), (5.5, "affinity"), (6.8, "affinity")):
        _arrow(ax, (x, _BUS), (x, top[end]), shape="C×HW")
    for branch, shape in _SHAPES.items():
        middle = _LEFT[branch] + _NARROW / 2
        for above, below, order in (
            ("affinity", "improve", "i, j"),
            ("improve", "softmax", "i, j"),
            ("softmax", "sum", "j, i"),
        ):
            _arrow(ax, (middle, _BOTTOM[above]), (middle, top[below]), shape=f"{shape}, [{order}]")
        middle = _BROAD_LEFT[branch] + _BROAD / 2
        _arrow(ax, (middle, _BOTTOM["sum"]), (middle, top["residual"]), shape="C×HW")
    for x, side in ((edge, _BROAD_LEFT["position"]), (_WIDE - edge, _BROAD_LEFT["channel"] + _BROAD)):
        _arrow(ax, (x, _BUS), (x, level), (side, level))
        around: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "backgroundcolor": "white"}
        ax.text(x, 3.2, r"$\mathbf{A}$  C×H×W", **_SMALL, **around)


def _fusion(ax: Axes, hot: bool) -> None:
    """The plus between the two branches, and what comes out."""
    x, y = _WIDE / 2, _BOTTOM["residual"] + _TALL / 2
    _arrow(ax, (3.45, y), (x - 0.14, y))
    _arrow(ax, (4.05, y), (x + 0.14, y))
    plus = Circle((x, y), 0.14, facecolor=_HOT_FILL if hot else "white", zorder=3)
    plus.set(edgecolor=_HOT_EDGE if hot else _LINE, linewidth=2.6 if hot else 1.1)
    ax.add_patch(plus)
    ax.text(x, y - 0.005, "+", ha="center", va="center", size=12, color=_INK, zorder=4)
    ax.text(x, y + 0.25, "C×H×W", **_SMALL, ha="center", va="center")
    _arrow(ax, (x, y - 0.14), (x, -0.1), shape="C×H×W")
    _box(ax, (x - 1.0, -0.52, 2.0, 0.42), "the module's output", "", hot)


def module_alt(
    part: str | None = None, branch: str | None = None, worked: Mapping[str, str] | None = None
) -> str:
    """The description of `module_picture` with the same arguments, for a reader who does not see it.

    Args:
        part: a name in `PARTS`, or None.
        branch: ``"position"`` or ``"channel"``, or None.
        worked: part → numbers of a worked example in its box.

    Returns:
        The text.

    Raises:
        ValueError: if there is no such part or branch.

    Source: §3.3, Fig. 2; Chapters 5-7.
    """
    text = _WORDS
    hot = _lit(part, branch)
    if hot:
        what = PARTS[part] if part else "every box"
        text += f" Lit here: {what}{f' of {BRANCHES[branch]}' if branch else ''}."
    for name, numbers in _checked_worked(worked).items():
        text += f" In the box of {PARTS[name]}: {numbers}."
    return text


def where_in_the_module(
    part: str | None = None, branch: str | None = None, worked: Mapping[str, str] | None = None
) -> None:
    """Show the module with one part of it lit.

    Args:
        part: a name in `PARTS`, lit in both branches or in ``branch``; None lights the whole ``branch``.
        branch: ``"position"`` or ``"channel"``; None for both.
        worked: part → numbers of a worked example, for the boxes of ``branch``.

    Raises:
        ValueError: if there is no such part or branch, or there is ``worked`` and no ``branch``.

    Source: §3.3, Fig. 2; Chapters 5-7.
    """
    show(module_picture(part, branch, worked), alt=module_alt(part, branch, worked))


# ---- a column of numbers on its way ------------------------------------------------------------------------

_CELL_WIDE, _CELL_HIGH, _GAP = 0.54, 0.34, 0.68


def followed(
    columns: Sequence[tuple[str, Any]],
    arrows: Sequence[str],
    rows: Sequence[str],
    *,
    weights: Sequence[int] = (),
    lit: int | None = None,
) -> Figure:
    """Columns of numbers side by side, with what happens between them: a softmax, step by step.

    Args:
        columns: (title, numbers); the numbers are n of them, n×m (a vector in each row), or 1×m (a result of
            all rows, drawn at half height).
        arrows: what leads from each column to the next; one fewer than there are columns.
        rows: names of the n rows, at the left.
        weights: the columns, counted from 0, whose numbers are shares of 1: a bar behind each shows it.
        lit: a row, counted from 0, that is marked through all columns.

    Returns:
        The figure; show it with `plots.show(fig, alt=…)`.

    Raises:
        ValueError: if there are too few columns, a wrong number of arrows, a column of another length, or
            another argument is of another kind.

    Source: Eq. (3)-(8); Chapters 5-7.
    """
    count = len(sized("columns", columns, "pairs (title, numbers)"))
    sized("arrows", arrows, "a text for each arrow")
    if count < 2 or len(arrows) != count - 1:
        got = f"{len(arrows)} for {count} columns"
        raise bad("arrows", got, "two columns or more, and one arrow fewer")
    n = len(sized("rows", rows, "a name for each row"))
    if n == 0:
        raise bad("rows", "none", "a name for at least one row")
    for name, texts in (("arrows", arrows), ("rows", rows)):
        for word in texts:
            instance(name, word, str, "texts")
    for k in sized("weights", weights, "numbers of columns"):
        whole("weights", k)
    if lit is not None and whole("lit", lit) >= n:
        raise bad("lit", lit, f"the number of a row, 0 to {n - 1}")
    arrays = [_rows_of(column, n) for column in columns]
    left = 0.2 + 0.085 * max(len(name) for name in rows)
    wide = left + sum(_CELL_WIDE * a.shape[1] for a in arrays) + _GAP * len(arrows) + 0.1
    high = _CELL_HIGH * n + 0.5
    fig = plt.figure(figsize=(wide, high), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, wide), ylim=(0, high))
    ax.set_axis_off()
    text: dict[str, Any] = {"color": _INK, "va": "center"}
    for i, name in enumerate(rows):
        ax.text(left - 0.1, 0.1 + _CELL_HIGH * (n - i - 0.5), name, ha="right", size=9, **text)
    x, middle = left, 0.1 + _CELL_HIGH * n / 2
    for k, ((title, _), array) in enumerate(zip(columns, arrays, strict=True)):
        _cells(ax, x, array, n, k in weights, lit)
        end = x + _CELL_WIDE * array.shape[1]
        ax.text((x + end) / 2, high - 0.17, title, ha="center", size=10, **text)
        if k < len(arrows):
            _arrow(ax, (end + 0.08, middle), (end + _GAP - 0.08, middle))
            ax.text(end + _GAP / 2, middle + 0.13, arrows[k], ha="center", size=8.5, **text)
        x = end + _GAP
    return fig


def _rows_of(column: Any, n: int) -> np.ndarray:
    """The numbers of a column as an array n×m or 1×m."""
    title, numbers = sized("columns", column, "pairs (title, numbers)", 2)
    instance("columns", title, str, "pairs (title, numbers)")
    x = tensor("columns", numbers, f"real numbers for {title!r}").detach().cpu()
    if x.is_complex() or x.numel() == 0 or not bool(x.isfinite().all()):
        raise bad("columns", f"{title!r} of {x.dtype}", "finite real numbers")
    array = x.double().numpy()
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) not in (1, n):
        raise bad("columns", f"{title!r} of shape {array.shape}", f"numbers for {n} rows, or one row")
    return array


def _cells(ax: Axes, left: float, array: np.ndarray, n: int, shares: bool, lit: int | None) -> None:
    """The cells of one column; a single row stands in the middle of the n."""
    first = 0 if len(array) == n else (n - 1) / 2
    for (i, m), value in np.ndenumerate(array):
        at = (left + _CELL_WIDE * m, 0.1 + _CELL_HIGH * (n - 1 - first - i))
        hot = len(array) == n and i == lit
        cell = Rectangle(at, _CELL_WIDE, _CELL_HIGH, facecolor=_HOT_FILL if hot else _FILL, zorder=2)
        cell.set(edgecolor=_HOT_EDGE if hot else _EDGE, linewidth=2 if hot else 1)
        ax.add_patch(cell)
        if shares:
            bar = Rectangle(at, _CELL_WIDE * value, _CELL_HIGH, facecolor=COLORS["sky"], alpha=0.55)
            ax.add_patch(bar)
            bar.set_zorder(2)
        number = f"{value:.2f}" if shares else f"{round(value, 2):g}".replace("-", "−")
        style: dict[str, Any] = {"ha": "center", "va": "center", "size": 9, "color": _INK, "zorder": 3}
        ax.text(at[0] + _CELL_WIDE / 2, at[1] + _CELL_HIGH / 2, number, **style)
