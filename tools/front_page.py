"""What the front page shows of the book's own results: drawn when the site is built, from the shipped model
and the records, so that no number is typed.

    python tools/front_page.py             (make book does it, after the pages are written)

book/intro.md has a place for each piece, a `div` whose id begins with `front-`. What stands in it until then
is shown where nothing is built, such as in the repository.
"""

from __future__ import annotations

import html
import io
import json
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import matplotlib  # noqa: E402

matplotlib.use("agg")

import numpy as np  # noqa: E402
import yaml  # noqa: E402
from finish_site import FILES_PLACE, filled  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

import dhida_lib  # noqa: E402
from dhida_lib import experiments  # noqa: E402
from dhida_lib._files import write_atomic  # noqa: E402
from dhida_lib.records import Record, load_records  # noqa: E402

MODEL = "fashion-mini-dhida-16"
FOUND = 8
"""Images shown for a query."""

SEEDS = range(10)
RIGHT, WRONG, PLUS, MINUS = "#009e73", "#d55e00", "#0072b2", "#e0e0e0"


# ---- a query and what it retrieves ---------------------------------------------------------------------


@dataclass(frozen=True)
class Retrieval:
    """A query with the first images that its code finds."""

    name: str
    image: NDArray[np.uint8]
    code: NDArray[np.bool_]
    found: list[tuple[NDArray[np.uint8], NDArray[np.bool_], int, str]]

    @property
    def right(self) -> int:
        """How many of them are of the query's class."""
        return sum(name == self.name for *_, name in self.found)

    def words(self) -> str:
        """The same for those who do not see it."""
        names = ", ".join(f"{name} at distance {distance}" for _, _, distance, name in self.found)
        return f"Query of class {self.name}; nearest: {names}; {self.right} of {len(self.found)} are right."


def retrievals() -> list[Retrieval]:
    """The first query of the class that the shipped model finds best, and of the one that it finds worst."""
    data = dhida_lib.load_dataset("fashion-mini")
    model = dhida_lib.HashNetwork.load(dhida_lib.data_path("checkpoints", MODEL, "model.json"))
    query, database = (dhida_lib.encode(model, part).numpy() > 0 for part in (data.query, data.database))
    distances = (query[:, None, :] != database[None]).sum(axis=2)  # n×m
    order = np.argsort(distances, axis=1, kind="stable")[:, :FOUND]
    labels, own = np.asarray(data.database.labels), np.asarray(data.query.labels)
    right = (labels[order] == own[:, None]).mean(axis=1)
    share = [right[own == label].mean() for label in range(data.num_classes)]
    shown = []
    for label in (int(np.argmax(share)), int(np.argmin(share))):
        i = int(np.flatnonzero(own == label)[0])
        images = data.database.pictures(order[i])
        found = [
            (image, database[k], int(distances[i, k]), data.class_names[labels[k]])
            for image, k in zip(images, order[i], strict=True)
        ]
        shown.append(Retrieval(data.class_names[label], data.query.pictures([i])[0], query[i], found))
    return shown


def _code(axes: Axes, code: NDArray[np.bool_], x: float, y: float, width: float) -> None:
    """A code as two rows of squares, dark for +1."""
    side = width / (len(code) / 2)
    for k, bit in enumerate(code):
        row, column = divmod(k, len(code) // 2)
        corner = (x + column * side, y + row * side)
        axes.add_patch(Rectangle(corner, side * 0.88, side * 0.88, facecolor=PLUS if bit else MINUS, lw=0))


def draw(axes: Axes, shown: list[Retrieval]) -> None:
    """One row for each query: it, its code, and what was found, right and wrong by sign and line."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.05, FOUND * 1.15 + 1.6)
    axes.set_ylim(len(shown) * 2.05 - 0.05, -0.3)
    for row, one in enumerate(shown):
        top = row * 2.05
        entries = [(0.0, one.image, one.code, f"query: {one.name}", None)]
        entries += [
            (1.55 + k * 1.15, image, code, f"{distance} {'✓' if name == one.name else '✗'}", name == one.name)
            for k, (image, code, distance, name) in enumerate(one.found)
        ]
        for x, image, code, text, right in entries:
            axes.imshow(image, cmap="gray", extent=(x, x + 1, top + 1, top), interpolation="nearest")
            _code(axes, code, x, top + 1.08, 1.0)
            axes.text(x + 0.5, top - 0.06, text, ha="center", va="bottom", fontsize=10)
            if right is not None:
                colour, line = (RIGHT, "-") if right else (WRONG, "--")
                frame = {"fill": False, "edgecolor": colour, "linestyle": line, "linewidth": 2.5}
                axes.add_patch(Rectangle((x, top), 1, 1, **frame))


def picture(shown: list[Retrieval]) -> bytes:
    """The strip of the front page, as WebP."""
    fig = Figure(figsize=(10.8, 3.9))
    draw(fig.add_axes((0, 0, 1, 1)), shown)
    return _saved(fig, "webp", dpi=140)


def cover(shown: list[Retrieval], title: str, line: str) -> bytes:
    """The picture that stands beside a link to the book elsewhere: 1200×630 pixels, PNG."""
    fig = Figure(figsize=(12, 6.3), facecolor="white")
    fig.text(0.05, 0.86, title, fontsize=44, weight="bold", color="#1a1a1a")
    fig.text(0.05, 0.77, line, fontsize=20, color="#444444")
    draw(fig.add_axes((0.04, 0.04, 0.92, 0.68)), shown)
    return _saved(fig, "png", dpi=100)


def _saved(fig: Figure, kind: str, dpi: int) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=dpi, facecolor="white")
    return buffer.getvalue()


# ---- findings ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """A result in a sentence or two, with the chapter that measures it."""

    title: str
    number: str
    text: str
    page: str


def _means(rows: dict[str, dict[int, Record]]) -> dict[str, float]:
    """Row → mean mAP over its seeds; rows without a record are left out."""
    return {
        name: statistics.fmean(float(r.metrics["map"]) for r in seeds.values())
        for name, seeds in rows.items()
        if seeds
    }


def _rows(table: str, dataset: str, records: list[Record], **more: Any) -> dict[str, dict[int, Record]]:
    jobs = experiments.plan(table, dataset, (16,), SEEDS, records, **more)
    return experiments.scores(jobs, records)


def findings() -> list[Finding]:
    """Four results of the book, from what is recorded.

    Raises:
        ValueError: if a table has no record.
    """
    grounds = "fashion-mnist", "fashion-mini", "cifar10-frozen"
    full, mini, still = (load_records(dhida_lib.data_path("records", name)) for name in grounds)
    starts = {
        std: _rows("table4", "fashion-mnist", full, rows=["DHIDA"], init_std=(std,))["DHIDA"]
        for std in (0.01, 0.1)
    }
    small, usual = (_means({"DHIDA": row})["DHIDA"] for row in starts.values())
    models = _rows("table4", "fashion-mnist", full)
    attention = experiments.paired(models["DHIDA"], models["DHIDA-R"])
    double = experiments.paired(models["A doubled"], models["DHIDA-R"])
    heads = _rows("table4", "cifar10-frozen", still)
    bent, plain = (
        experiments.paired(heads[row], heads["DHIDA-R"]).mean for row in ("DHIDA", "plain convolutions")
    )
    methods = sorted(_means(_rows("table3", "fashion-mnist", full)).items(), key=lambda item: -item[1])
    place = [name for name, _ in methods].index("DHIDA") + 1
    seen = _means(_rows("beyond", "fashion-mini", full + mini))
    unseen = _means(_rows("beyond", "fashion-mini", full + mini, change={"protocol": "unseen"}))
    best_seen, best_unseen = (max(rows, key=lambda name: rows[name]) for rows in (seen, unseen))
    return [
        Finding(
            "How the hash layer starts",
            f"{small:.2f} → {usual:.2f}",
            f"DHIDA’s mAP when its hash layer is drawn with σ = 0.1 instead of σ = 0.01, a number that the "
            f"paper does not give. Mean of {len(starts[0.1])} seeds, Fashion-MNIST, 16 bits.",
            "book/15_ablation",
        ),
        Finding(
            "What attention adds",
            f"{attention.mean:+.3f} ± {attention.error:.3f}".replace("-", "−"),
            "mAP with the paper’s attention, compared with none, seed by seed. A control that only doubles "
            f"the feature map changes it by {double.mean:+.3f} ± {double.error:.3f}. On CIFAR-10, with "
            f"features from ImageNet that stand still, attention adds {bent:+.3f}, and as many convolutions "
            f"without it add {plain:+.3f}.".replace("-10", "‑10").replace("-", "−"),
            "book/15_ablation",
        ),
        Finding(
            f"{len(methods)} methods, tuned alike",
            f"no. {place} of {len(methods)}",
            f"is DHIDA’s place with a mAP of {dict(methods)['DHIDA']:.2f}; {methods[0][0]} comes first with "
            f"{methods[0][1]:.2f}. Each method was tuned with the same budget.",
            "book/14_eight_baselines",
        ),
        Finding(
            "Classes that training never saw",
            f"{seen['DHIDA']:.2f} → {unseen['DHIDA']:.2f}",
            f"DHIDA’s mAP on classes that were left out of training. Of {len(seen)} methods {best_seen} is "
            f"ahead when all classes were seen, {best_unseen} when they were not.",
            "book/19_beyond_dhida",
        ),
    ]


# ---- parts and times -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chapter:
    """A chapter's page, its heading and the minutes that it says it takes."""

    page: str
    title: str
    minutes: int


def chapter(root: Path, page: str) -> Chapter | None:
    """Read a chapter's heading and time; None for a page that is no notebook."""
    path = root / f"{page}.ipynb"
    if not path.is_file():
        return None
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
    text = first if isinstance(first, str) else "".join(first)
    title, time = re.search(r"^# (.+)$", text, re.M), re.search(r"\*\*Time to read\*\* *\| *(\d+) *min", text)
    if title is None or time is None:
        raise ValueError(f"{path.name}: its first cell must have a heading and a time to read.")
    return Chapter(page, title[1], int(time[1]))


def parts(root: Path = ROOT) -> dict[str, list[Chapter]]:
    """Caption → chapters, as _toc.yml has them; parts without a chapter are left out."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = {}
    for part in toc["parts"]:
        own = [chapter(root, entry["file"]) for entry in part["chapters"] if "file" in entry]
        if chapters := [c for c in own if c is not None]:
            found[part["caption"]] = chapters
    return found


def hours(minutes: int) -> str:
    """Minutes as hours, to the half."""
    halves = round(minutes / 30)
    whole, half = divmod(halves, 2)
    text = f"{whole or ''}{'½' if half else ''}"
    return f"{text} hour{'' if halves <= 2 else 's'}"


# ---- the page ------------------------------------------------------------------------------------------


def _link(page: str) -> str:
    return f"{page.removeprefix('book/')}.html"


def pieces(shown: list[Retrieval], results: list[Finding], book: dict[str, list[Chapter]]) -> dict[str, str]:
    """Id of a place → the HTML that goes there."""
    alt = html.escape(" ".join(one.words() for one in shown))
    cards = "".join(
        f'<a class="card-front" href="{_link(f.page)}"><b>{html.escape(f.title)}</b>'
        f'<span class="number">{html.escape(f.number)}</span><span>{html.escape(f.text)}</span></a>'
        for f in results
    )
    content = ""
    for caption, chapters in book.items():
        items = "".join(f'<li><a href="{_link(c.page)}">{html.escape(c.title)}</a></li>' for c in chapters)
        time = hours(sum(c.minutes for c in chapters))
        content += (
            f'<section class="card-front"><h3>{html.escape(caption)}</h3>'
            f'<ul class="plain">{items}</ul><small>about {time}</small></section>'
        )
    times = [c.minutes for chapters in book.values() for c in chapters]
    strip = "../_static/front/retrieval.webp"
    return {
        "front-retrieval": f'<img src="{strip}" alt="{alt}" width="1512" height="546">',
        "front-findings": cards,
        "front-parts": content,
        FILES_PLACE: "",  # what is made of the site can only be offered afterwards
        "front-time": f"<p>The {len(times)} chapters take about {hours(sum(times))} to read, with their "
        f"exercises; the longest takes {max(times)} minutes.</p>",
    }


def build(site: Path = SITE) -> None:
    """Draw the pictures and fill the front page of a site."""
    page = site / "book" / "intro.html"
    shown = retrievals()
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    (site / "_static" / "front").mkdir(parents=True, exist_ok=True)
    write_atomic(site / "_static" / "front" / "retrieval.webp", lambda p: Path(p).write_bytes(picture(shown)))
    line = "A deep hash for finding images, step by step"
    write_atomic(site / "_static" / "cover.png", lambda p: Path(p).write_bytes(cover(shown, title, line)))
    text = filled(page.read_text(encoding="utf-8"), pieces(shown, findings(), parts()))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    build()
