"""Figures in one style, shown with a description: all chapters.

`show` puts a figure on the page with its alt text; the other functions draw what several chapters need.
Colours are Okabe and Ito's, which people with a colour vision deficiency can tell apart, and no figure speaks
through colour alone: right and wrong differ in sign and frame, curves in marker and dash.
"""

from __future__ import annotations

import base64
import html
import io
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from dhida_lib._validate import bad, choice, instance, number, positive, positive_int, sized, tensor

__all__ = [
    "BLOCKS",
    "COLORS",
    "MIN_ALT",
    "curve",
    "gallery",
    "heatmap",
    "image_grid",
    "pipeline",
    "pipeline_alt",
    "png",
    "show",
    "table",
    "use_style",
    "where_we_are",
]

COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#222222",
    "grey": "#8A8A8A",
}
MIN_ALT = 20  # characters: shorter than this, a description describes nothing
CSS_DPI = 96  # a browser's pixels per inch
RIGHT, WRONG = COLORS["green"], COLORS["red"]


def use_style() -> None:
    """Set matplotlib's defaults to the book's style.

    `dhida_lib.start` calls it in the first cell of every chapter.
    """
    # Green and red are kept for right and wrong. A second round of the colours has other dashes.
    names = ("blue", "orange", "purple", "sky", "black", "grey")
    dashes = ("-", "--", "-.", ":", "-", "--")
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=[COLORS[n] for n in names * 2])
            + cycler(linestyle=dashes + dashes[1:] + dashes[:1]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "axes.edgecolor": "#555555",
            "grid.color": "#E3E3E3",
            "grid.linewidth": 0.8,
            "figure.figsize": (6.4, 3.4),
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
            "image.cmap": "viridis",
            "xtick.color": "#333333",
            "ytick.color": "#333333",
        }
    )


def png(fig: Figure, *, tight: bool = True, scale: float = 2.0) -> bytes:
    """Draw a figure as a PNG, twice as fine as a browser's pixel, and close it.

    Args:
        fig: the figure.
        tight: cut the white margin away; ``False`` keeps the figure's own size (frames of one film).
        scale: pixels of the PNG for one CSS pixel.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: if ``fig`` is no figure or ``scale`` not a number > 0.
    """
    instance("fig", fig, Figure, "a matplotlib Figure")
    if not 0.01 <= positive("scale", scale) <= 20:
        raise bad("scale", scale, "a number of pixels, 0.01 to 20")
    buffer = io.BytesIO()
    box: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08} if tight else {}
    fig.savefig(buffer, format="png", dpi=CSS_DPI * scale, facecolor="white", **box)
    plt.close(fig)
    return buffer.getvalue()


def data_uri(image: bytes) -> str:
    """A PNG as the address of an image that needs no file."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def checked_alt(alt: Any, name: str = "alt") -> str:
    """Return a description that says enough, else raise ``ValueError``."""
    if not isinstance(alt, str) or len(alt.strip()) < MIN_ALT:
        raise bad(name, alt, f"a description of at least {MIN_ALT} characters of what the figure shows")
    return " ".join(alt.split())


def checked_width(width: Any) -> int | None:
    """Return a width on the page in pixels, or None for the picture's own, else raise ``ValueError``."""
    return None if width is None else positive_int("width", width)


def show(fig: Figure, alt: str, caption: str | None = None, width: int | None = None) -> None:
    """Show a figure with its description, alike in JupyterLab, on Colab and on the site.

    Args:
        fig: a matplotlib figure; it is closed, so that it does not appear twice.
        alt: what the figure shows, for a reader who does not see it; at least 20 characters, and not a copy
            of the caption.
        caption: a line under the figure.
        width: width on the page in pixels; ``None`` takes the figure's own.

    Raises:
        ValueError: if ``alt`` is too short, ``fig`` is no figure, or caption or width are of another type.
    """
    instance("fig", fig, Figure, "a matplotlib Figure")
    if caption is not None:
        instance("caption", caption, str, "a line of text, or None")
    alt, width = checked_alt(alt), checked_width(width)
    image = png(fig)
    pixels = width or round(struct.unpack(">I", image[16:20])[0] / 2)  # the PNG's own width stands at byte 16
    style = f"width:{pixels}px;max-width:100%;height:auto;background:white"
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    picture = f'<img src="{data_uri(image)}" alt="{html.escape(alt)}" style="{style}">'
    display(HTML(f'<figure class="dhida" style="margin:0.5em 0">{picture}{below}</figure>'))


# ---- pictures ------------------------------------------------------------------------------------------


def _image(name: str, image: Any) -> np.ndarray:
    """A picture as matplotlib can draw it, else ``ValueError``."""
    need = "a picture of real numbers, H×W or H×W×3"
    x = tensor(name, image, need).detach().cpu()
    if x.is_complex() or x.numel() == 0 or not (x.ndim == 2 or (x.ndim == 3 and x.shape[2] in (3, 4))):
        raise bad(name, f"shape {tuple(x.shape)} of {x.dtype}", need)
    return (x.float() if x.is_floating_point() else x).numpy()


def _picture(ax: Axes, image: np.ndarray, mark: bool | None, title: str | None) -> None:
    """One picture without axes; right has a green full frame and ✓, wrong a red dashed one and ✗."""
    ax.imshow(image, cmap="gray" if image.ndim == 2 else None, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(mark is not None)
        spine.set(color=RIGHT if mark else WRONG, linewidth=2.5, linestyle="-" if mark else (0, (2, 1.5)))
    if mark is not None:
        badge = {"boxstyle": "circle,pad=0.15", "fc": RIGHT if mark else WRONG, "ec": "white"}
        style: dict[str, Any] = {
            "transform": ax.transAxes,
            "va": "top",
            "color": "white",
            "size": 8,
            "bbox": badge,
        }
        ax.text(0.04, 0.96, "✓" if mark else "✗", **style)
    if title is not None:
        ax.set_title(title, size=8, pad=3)


def _size(size: Any) -> float:
    """The width of a picture in inches: matplotlib can draw no larger ones, and no smaller ones."""
    if not 0.01 <= positive("size", size) <= 20:
        raise bad("size", size, "a width in inches, 0.01 to 20")
    return float(size)


def image_grid(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    marks: Sequence[bool | None] | None = None,
    *,
    columns: int = 10,
    size: float = 0.8,
) -> Figure:
    """Pictures in rows.

    Args:
        images: H×W (grey) or H×W×3 arrays, as `Split.picture` gives them.
        titles: a short text over each picture.
        marks: for each picture True (right: full green frame, ✓), False (wrong: dashed red frame, ✗)
            or None.
        columns: pictures in a row.
        size: width of a picture in inches.

    Returns:
        The figure; show it with `show(fig, alt=…)`.

    Raises:
        ValueError: if there are no pictures, one of them is none, titles or marks are of another number, or
            columns or size are no positive numbers.
    """
    if len(sized("images", images, "a list of pictures")) == 0:
        raise bad("images", "none", "at least one picture")
    for name, given in (("titles", titles), ("marks", marks)):
        if given is not None:
            sized(name, given, f"as many as there are images ({len(images)})", len(images))
    if marks is not None:
        for mark in marks:
            if not isinstance(mark, (bool, np.bool_, type(None))):
                raise bad("marks", mark, "True, False or None for each picture")
    pictures = [_image(f"images[{i}]", image) for i, image in enumerate(images)]
    size = _size(size)
    columns = min(positive_int("columns", columns), len(pictures))
    rows = -(-len(pictures) // columns)
    height = size * (1.28 if titles is not None else 1.05)
    fig, axes = plt.subplots(rows, columns, figsize=(size * columns * 1.05, height * rows), squeeze=False)
    for i, ax in enumerate(axes.flat):
        if i < len(pictures):
            mark = marks[i] if marks is not None else None
            _picture(ax, pictures[i], mark, titles[i] if titles is not None else None)
        else:
            ax.set_axis_off()
    return fig


def gallery(
    queries: Sequence[Any],
    results: Sequence[Sequence[Any]],
    correct: Sequence[Sequence[bool]],
    query_titles: Sequence[str] | None = None,
    result_titles: Sequence[Sequence[str]] | None = None,
    *,
    size: float = 0.72,
) -> Figure:
    """Queries at the left, each with the images that the search returned, right and wrong marked.

    Args:
        queries: n pictures, H×W or H×W×3.
        results: for each query its results, nearest first (n×m pictures).
        correct: for each result, does it share a label with the query? (n×m)
        query_titles: a short text over each query.
        result_titles: a short text over each result (n×m), such as its distance.
        size: width of a picture in inches.

    Returns:
        The figure; show it with `show(fig, alt=…)`.

    Raises:
        ValueError: if the numbers of queries, results, marks and titles differ, a picture is none, or
            ``size`` is no width.
    """
    n = len(sized("queries", queries, "a list of pictures"))
    if n == 0:
        raise bad("queries", "none", "at least one picture")
    need = f"one row a query ({n})"
    lengths = [len(sized("results", row, "a row of pictures")) for row in sized("results", results, need, n)]
    for name, rows in (("correct", correct), ("result_titles", result_titles)):
        if rows is not None or name == "correct":
            for i, row in enumerate(sized(name, rows, need, n)):
                sized(f"{name}[{i}]", row, f"one for each result of query {i} ({lengths[i]})", lengths[i])
    if query_titles is not None:
        sized("query_titles", query_titles, f"one a query ({n})", n)
    asked = [_image(f"queries[{i}]", image) for i, image in enumerate(queries)]
    found = [[_image(f"results[{i}][{j}]", x) for j, x in enumerate(row)] for i, row in enumerate(results)]
    size = _size(size)
    m = max(len(row) for row in found)
    ratios = [1.0, 0.35, *[1.0] * m]  # a gap between query and results
    titled = query_titles is not None or result_titles is not None
    fig, axes = plt.subplots(
        n,
        m + 2,
        figsize=(size * (m + 1.5), size * n * (1.3 if titled else 1.06)),
        squeeze=False,
        gridspec_kw={"width_ratios": ratios},
    )
    for i in range(n):
        _picture(axes[i, 0], asked[i], None, query_titles[i] if query_titles is not None else None)
        axes[i, 1].set_axis_off()
        axes[i, 1].text(0.5, 0.5, "→", ha="center", va="center", size=13, color=COLORS["grey"])
        for j in range(m):
            if j < len(found[i]):
                title = result_titles[i][j] if result_titles is not None else None
                _picture(axes[i, j + 2], found[i][j], bool(correct[i][j]), title)
            else:
                axes[i, j + 2].set_axis_off()
    return fig


# ---- numbers -------------------------------------------------------------------------------------------


def _checked_texts(**texts: Any) -> None:
    """Refuse a title or the name of an axis that is no text (None: there is none)."""
    for name, text in texts.items():
        if text is not None:
            instance(name, text, str, "text")


def _ends(name: str, ends: Any) -> tuple[float, float]:
    """The lower and the upper end of a range, else ``ValueError``."""
    need = "two different numbers, the lower and the upper end"
    low, high = (number(name, end) for end in sized(name, ends, need, 2))
    if low == high:
        raise bad(name, ends, need)
    return low, high


def _checked_format(name: str, form: Any, number: Any = 0.5) -> str:
    """Return a format that can write the number, else raise ``ValueError``."""
    try:
        format(number, form)
    except (TypeError, ValueError) as error:
        raise bad(name, form, "a format of numbers such as '.2f'") from error
    return str(form)


def heatmap(
    matrix: Any,
    *,
    title: str | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    annotate: bool | str = False,
    center: float | None = None,
    limits: tuple[float, float] | None = None,
    xticks: Sequence[str] | bool = False,
    yticks: Sequence[str] | bool = False,
    ax: Axes | None = None,
) -> Figure:
    """A matrix as coloured squares.

    Args:
        matrix: rows×columns, an array or a tensor.
        title: over the picture.
        xlabel: what a column is.
        ylabel: what a row is.
        annotate: write the numbers into the squares; a string is their format (``".2f"``).
        center: the value that is drawn white (0 for signed numbers); ``None`` runs from dark to bright.
        limits: the lower and upper end of the colours; ``None`` takes the matrix's own. Matrices that stand
            beside each other want the same.
        xticks: names of the columns, or True for their numbers.
        yticks: names of the rows, or True for their numbers.
        ax: draw here instead of in a new figure.

    Returns:
        The figure; show it with `show(fig, alt=…)`.

    Raises:
        ValueError: if ``matrix`` has not two dimensions, or another argument is of another kind.
    """
    import seaborn  # here, for it takes a second to import

    _checked_texts(title=title, xlabel=xlabel, ylabel=ylabel)
    x = tensor("matrix", matrix).detach().cpu()
    if x.ndim != 2 or x.numel() == 0 or x.is_complex():
        need = "a matrix (two dimensions) of real numbers"
        raise bad("matrix", f"shape {tuple(x.shape)} of {x.dtype}", need)
    values = x.double().numpy() if x.is_floating_point() else x.numpy()
    if isinstance(annotate, str):
        _checked_format("annotate", annotate, values[0, 0])
    if center is not None:
        number("center", center)
    low, high = (None, None) if limits is None else _ends("limits", limits)
    for name, ticks in (("xticks", xticks), ("yticks", yticks)):
        if not isinstance(ticks, bool):
            count = x.shape[1] if name == "xticks" else x.shape[0]
            sized(name, ticks, f"True, False or {count} names", count)
    if ax is None:
        rows, columns = values.shape
        size = (min(6.4, max(2.6, 0.45 * columns + 1.4)), min(5.2, max(2.0, 0.45 * rows + 0.8)))
        _, ax = plt.subplots(figsize=size)
    instance("ax", ax, Axes, "axes of matplotlib, or None")
    seaborn.heatmap(
        values,
        ax=ax,
        annot=bool(annotate),
        fmt=annotate if isinstance(annotate, str) else ".2g",
        center=center,
        vmin=low,
        vmax=high,
        cmap="viridis" if center is None else "RdBu_r",
        square=True,
        xticklabels=xticks if isinstance(xticks, bool) else list(xticks),
        yticklabels=yticks if isinstance(yticks, bool) else list(yticks),
        cbar_kws={"shrink": 0.8},
        annot_kws={"size": 8},
    )
    ax.set(title=title or "", xlabel=xlabel or "", ylabel=ylabel or "")
    fig = ax.get_figure()
    assert isinstance(fig, Figure)
    return fig


def _numbers(name: Any, values: Any) -> np.ndarray:
    """One axis of a line, real numbers (n,)."""
    x = tensor("series", values, f"real numbers (n,) for {name!r}").detach().cpu()
    if x.ndim != 1 or x.is_complex():
        raise bad("series", f"shape {tuple(x.shape)} of {x.dtype}", f"real numbers (n,) for {name!r}")
    return (x.double() if x.is_floating_point() else x).numpy()


def curve(
    series: Mapping[str, tuple[Any, Any]],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    markers: bool = True,
    ylim: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Lines over one axis, told apart by colour, dash and marker.

    Args:
        series: name → (x, y), sequences of the same length.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        title: over the picture.
        markers: mark the points; False for curves of many points.
        ylim: lower and upper end of y.
        ax: draw here instead of in a new figure.

    Returns:
        The figure; show it with `show(fig, alt=…)`.

    Raises:
        ValueError: if there is no line, x and y differ in length, or another argument is of another kind.
    """
    _checked_texts(title=title, xlabel=xlabel, ylabel=ylabel)
    if not instance("series", series, Mapping, "a dictionary: name → (x, y)"):
        raise bad("series", "none", "at least one line")
    ends = None if ylim is None else _ends("ylim", ylim)
    if ax is None:
        _, ax = plt.subplots()
    instance("ax", ax, Axes, "axes of matplotlib, or None")
    for (name, line), marker in zip(series.items(), "osD^vPX*<>" * len(series), strict=False):
        x, y = (_numbers(name, values) for values in sized("series", line, f"x and y for {name!r}", 2))
        if len(x) != len(y):
            raise bad("series", f"{len(x)} x and {len(y)} y for {name!r}", "as many x as y")
        every = max(1, len(x) // 12)
        ax.plot(x, y, label=name, marker=marker if markers else None, markersize=5, markevery=every)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title or "")
    if ends is not None:
        ax.set_ylim(*ends)
    if len(series) > 1:
        ax.legend()
    fig = ax.get_figure()
    assert isinstance(fig, Figure)
    return fig


def _written(value: Any, form: str) -> str:
    """A cell's text: a number in the given format, a whole one with its thousands apart."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}"
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else format(float(value), form).replace("-", "−")
    return "" if value is None else str(value)


def _number(value: Any) -> bool:
    """Is it a number (and not a yes or no)?"""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def table(
    rows: Sequence[Sequence[Any]],
    header: Sequence[str],
    caption: str,
    *,
    best: Mapping[str, str] | None = None,
    form: str | Mapping[str, str] = ".3f",
) -> None:
    """Show results as a table with a caption; in each row the first cell is its name.

    Numbers stand at the right, under each other. The best of a column is bold and has a star, which is read
    aloud as "best".

    Args:
        rows: one sequence a row: its name, then texts, numbers or None (left empty); tensors with one number
            count as numbers.
        header: a name for each column.
        caption: what the table shows, above it.
        best: column → ``"max"`` or ``"min"``: where to look for the best, and which end it is.
        form: the format of numbers that are not whole, for all columns or as column → format.

    Raises:
        ValueError: if there is no row, a row is not as long as the header, ``best`` or ``form`` names no
            column, a format is none, or there is no caption.
    """
    if len(sized("rows", rows, "a list of rows")) == 0:
        raise bad("rows", "none", "at least one row")
    if not isinstance(caption, str) or not caption.strip():
        raise bad("caption", caption, "a line that says what the table shows")
    for name in sized("header", header, "a name for each column"):
        instance("header", name, str, "names of columns")
    for row in rows:
        if len(sized("rows", row, "rows of cells")) != len(header):
            raise bad("rows", f"a row of {len(row)}", f"as many cells as the header has ({len(header)})")
    if not isinstance(form, str):
        instance("form", form, Mapping, "a format, or a dictionary: column → format")
    forms = dict.fromkeys(header, form) if isinstance(form, str) else dict(form)
    ends = dict(instance("best", {} if best is None else best, Mapping, "a dictionary: column → max or min"))
    for given_form in forms.values():
        _checked_format("form", given_form)
    for name, given in (("form", forms), ("best", ends)):
        for column in given:
            choice(name, column, header)
    cells = [[v.item() if getattr(v, "ndim", 1) == 0 else v for v in row] for row in rows]
    winners: list[Any] = []
    sides = []
    for name, values in zip(header, zip(*cells, strict=True), strict=True):
        end = choice("best", ends[name], ("max", "min")) if name in ends else None
        numbers = [v for v in values if _number(v) and not math.isnan(v)]
        winners.append((max if end == "max" else min)(numbers) if end and numbers else None)
        sides.append("right" if all(_number(v) or v is None for v in values) else "left")
    style = "text-align:{};padding:0.2em 0.7em;font-variant-numeric:tabular-nums"
    head = "".join(
        f'<th scope="col" style="{style.format(side)}">{html.escape(name)}</th>'
        for name, side in zip(header, sides, strict=True)
    )
    body = ""
    for row in cells:
        body += "<tr>"
        for i, (name, value, winner, side) in enumerate(zip(header, row, winners, sides, strict=True)):
            text = html.escape(_written(value, forms.get(name, ".3f")))
            if winner is not None and value == winner:
                text = f'<strong>{text}</strong>&nbsp;<span role="img" aria-label="best">★</span>'
            tag, scope = ("td", "") if i else ("th", ' scope="row"')
            body += f'<{tag}{scope} style="{style.format(side)}">{text}</{tag}>'
        body += "</tr>"
    title = f'<caption style="caption-side:top;{style.format("left")}">{html.escape(caption)}</caption>'
    display(HTML(f'<table class="dhida">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'))


# ---- the whole system ----------------------------------------------------------------------------------

BLOCKS = {
    "images": "images",
    "backbone": "the backbone",
    "position": "position attention",
    "channel": "channel attention",
    "ida": "the IDA module (position and channel attention, summed)",
    "pooling": "pooling",
    "hash": "the hash layer",
    "piecewise": "the piecewise function f(u)",
    "loss": "the loss",
    "sign": "the sign, which gives the code",
    "ranking": "the ranking by Hamming distance",
}
_INK, _FILL, _EDGE = "#222222", "#F3F5F7", "#9AA3AB"
_HOT_FILL, _HOT_EDGE = "#FFE3B3", "#B86E00"


def _block(ax: Axes, at: tuple[float, float, float, float], text: str, small: str, hot: bool) -> None:
    """One box of the picture; a highlighted one has another fill and a thick edge."""
    x, y, w, h = at
    box = FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.10")
    box.set(facecolor=_HOT_FILL if hot else _FILL, edgecolor=_HOT_EDGE if hot else _EDGE)
    box.set(linewidth=2.6 if hot else 1.1, zorder=2)
    ax.add_patch(box)
    middle = y + h / 2
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": _INK, "zorder": 3}
    ax.text(
        x + w / 2, middle + (0.13 if small else 0), text, size=9, weight="bold" if hot else "normal", **style
    )
    if small:
        ax.text(x + w / 2, middle - 0.2, small, size=7, **style)


def _line(ax: Axes, *points: tuple[float, float], arrow: bool = True) -> None:
    """A straight or broken line through the points, with a head at the end."""
    xs, ys = zip(*points, strict=True)
    ax.plot(xs, ys, color="#555555", linewidth=1.2, linestyle="-", zorder=1)
    if arrow:
        arrowhead = FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, color="#555555", shrinkA=0, shrinkB=0
        )
        arrowhead.set_zorder(1)
        ax.add_patch(arrowhead)


def _photographs(ax: Axes, x: float, y: float, hot: bool) -> None:
    """Three stacked photographs: a hill under the sun."""
    edge, width = (_HOT_EDGE, 2.2) if hot else (_EDGE, 1.1)
    for k in (2, 1, 0):
        paper = Rectangle((x + 0.09 * k, y + 0.09 * k), 0.72, 0.72, fc="#DCEBF5", ec=edge, lw=width, zorder=2)
        ax.add_patch(paper)
    hill = ([0.04, 0.26, 0.42, 0.52, 0.68], [0.04, 0.42, 0.2, 0.3, 0.04])
    ax.fill([x + dx for dx in hill[0]], [y + dy for dy in hill[1]], color="#7FA98F", zorder=3)
    ax.add_patch(Circle((x + 0.54, y + 0.55), 0.08, color="#E9B44C", zorder=3))


def pipeline(highlight: str | None = None) -> Figure:
    """The whole system in one picture: from images to codes, in training and in search.

    Args:
        highlight: a name in `BLOCKS`, drawn in another colour with a thick edge; None for the plain picture.

    Returns:
        The figure; `where_we_are` shows it with its description.

    Raises:
        ValueError: if ``highlight`` is no block.

    Source: Fig. 1; "Where we are" of every chapter.
    """
    if highlight is not None:
        choice("highlight", highlight, BLOCKS)
    hot = {highlight, *(("position", "channel") if highlight == "ida" else ())}
    fig = plt.figure(figsize=(7.4, 2.37), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 10.75), ylim=(-0.02, 3.42))
    ax.set_axis_off()

    bold = "bold" if "images" in hot else "normal"
    _photographs(ax, 0.12, 1.26, "images" in hot)
    ax.text(0.57, 1.0, "images", ha="center", va="center", size=9, color=_INK, weight=bold)
    _line(ax, (1.08, 1.7), (1.3, 1.7))
    _block(ax, (1.32, 1.25, 1.3, 0.9), "backbone", "ResNet18", "backbone" in hot)
    _line(ax, (2.64, 1.7), (3.05, 1.7), arrow=False)

    frame = FancyBboxPatch((2.9, 0.42), 2.48, 2.56, boxstyle="round,pad=0,rounding_size=0.12", fc="none")
    frame.set(edgecolor=_HOT_EDGE if "ida" in hot else _EDGE, linewidth=2.2 if "ida" in hot else 1.1)
    frame.set(linestyle=(0, (4, 2)), zorder=1)
    ax.add_patch(frame)
    ax.text(4.14, 3.05, "IDA", ha="center", va="bottom", size=9, color=_INK, weight="bold")
    _block(ax, (3.26, 1.92, 1.42, 0.84), "position", "attention", "position" in hot)
    _block(ax, (3.26, 0.64, 1.42, 0.84), "channel", "attention", "channel" in hot)
    for y, rim in ((2.34, 1.9), (1.06, 1.5)):
        _line(ax, (3.05, 1.7), (3.05, y), (3.25, y))
        _line(ax, (4.69, y), (5.03, y), (5.03, rim))
    ax.add_patch(Circle((5.03, 1.7), 0.19, facecolor="white", edgecolor="#555555", zorder=3))
    ax.text(5.03, 1.685, "+", ha="center", va="center", size=12, color=_INK, zorder=4)

    _line(ax, (5.23, 1.7), (5.52, 1.7))
    _block(ax, (5.54, 1.25, 0.98, 0.9), "pooling", "average", "pooling" in hot)
    _line(ax, (6.54, 1.7), (6.7, 1.7))
    _block(ax, (6.72, 1.25, 1.22, 0.9), "hash layer", "K numbers u", "hash" in hot)

    for y, title, title_y in ((2.5, "in training", 3.05), (0.86, "in search", 0.1)):
        _line(ax, (7.95, 1.7), (8.1, 1.7), (8.1, y), (8.3, y))
        _line(ax, (9.32, y), (9.6, y))
        ax.text(9.47, title_y, title, ha="center", va="bottom", size=8, style="italic", color="#555555")
    _block(ax, (8.32, 2.08, 0.98, 0.84), "f(u)", "in [−1, 1]", "piecewise" in hot)
    _block(ax, (9.62, 2.08, 1.02, 0.84), "loss", "over pairs", "loss" in hot)
    _block(ax, (8.32, 0.44, 0.98, 0.84), "sign", "codes of ±1", "sign" in hot)
    _block(ax, (9.62, 0.44, 1.02, 0.84), "ranking", "by Hamming", "ranking" in hot)
    return fig


def pipeline_alt(highlight: str | None = None) -> str:
    """The description of `pipeline(highlight)`, for a reader who does not see it.

    Args:
        highlight: a name in `BLOCKS`, or None.

    Returns:
        The text.

    Source: Fig. 1; "Where we are" of every chapter.
    """
    text = (
        "The whole system from left to right: images enter the backbone, a ResNet18; its feature map goes "
        "through position attention and channel attention side by side, whose results are summed (the IDA "
        "module); then average pooling and the hash layer, which gives K numbers u. In training, f(u) limits "
        "them to [−1, 1] and the loss compares pairs of images. In search, the sign of u is the code, and "
        "the database is ranked by the Hamming distance of its codes."
    )
    if highlight is None:
        return text
    return f"{text} Highlighted here: {BLOCKS[choice('highlight', highlight, BLOCKS)]}."


def where_we_are(highlight: str | None = None) -> None:
    """Show the picture of the whole system with this chapter's block highlighted.

    Args:
        highlight: a name in `BLOCKS`, or None for the plain picture.

    Raises:
        ValueError: if ``highlight`` is no block.

    Source: Fig. 1; "Where we are" of every chapter.
    """
    show(pipeline(highlight), alt=pipeline_alt(highlight))
