"""Draw the README's picture, book/_static/retrieval.png: a query, its code, and what the shipped model finds.

    python tools/readme_picture.py

The images are those that ship (Fashion-MNIST, MIT). tests/test_readme.py compares the words beside the
picture with what the model finds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402

matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

import dhida_lib  # noqa: E402
from dhida_lib import metrics  # noqa: E402

PICTURE = ROOT / "book" / "_static" / "retrieval.png"
QUERY, SHOWN = 0, 6  # the first question of all, so that nothing is chosen; and how many answers are shown


class Found(NamedTuple):
    """A query and its nearest images: pictures, names of their classes, codes and distances; query first."""

    pictures: list[np.ndarray]
    names: list[str]
    codes: np.ndarray
    distances: list[int]

    @property
    def right(self) -> int:
        """How many of the images that were found show what the query shows."""
        return sum(name == self.names[0] for name in self.names[1:])


def retrieve(query: int = QUERY, shown: int = SHOWN) -> Found:
    """Ask the shipped model; of images equally near, the one that stands first comes first."""
    model = dhida_lib.HashNetwork.load(dhida_lib.data_path("checkpoints/fashion-mini-dhida-16/model.json"))
    data = dhida_lib.load_dataset("fashion-mini")
    asked = dhida_lib.encode(model, data.query.take(query + 1))[query:]
    codes = dhida_lib.encode(model, data.database)
    distance = metrics.hamming_distance(asked, codes)[0]
    nearest = distance.argsort(stable=True)[:shown].tolist()
    pictures = [data.query.picture(query), *(data.database.picture(i) for i in nearest)]
    labels = [int(data.query.labels[query]), *(int(data.database.labels[i]) for i in nearest)]
    return Found(
        [np.asarray(picture) for picture in pictures],
        [data.class_names[label] for label in labels],
        np.vstack([asked.numpy(), codes[nearest].numpy()]),
        [0, *(int(distance[i]) for i in nearest)],
    )


def words(found: Found) -> str:
    """The picture in words, for those who do not see it."""
    bits, shown = found.codes.shape[1], len(found.names) - 1
    return (
        f"A query ({found.names[0]}) with its code of {bits} bits, and the {shown} nearest images by Hamming "
        f"distance, {found.right} of them of the same class"
    )


def draw(found: Found) -> plt.Figure:
    """The query on the left, what was found beside it, under each image its code and its distance."""
    fig, axes = plt.subplots(
        2, len(found.pictures), figsize=(9, 2.4), height_ratios=[5, 1], facecolor="white"
    )
    for column, (picture, name) in enumerate(zip(found.pictures, found.names, strict=True)):
        same, top, below = name == found.names[0], *axes[:, column]
        top.imshow(picture.squeeze(), cmap="gray_r")
        title = f"query: {name}" if column == 0 else f"{'✓' if same else '✗'} {name}"
        top.set_title(title, fontsize=9, color="#1f3b73" if column == 0 else "#1b6e3c" if same else "#a11d1d")
        below.imshow(found.codes[column][None] < 0, cmap="gray", aspect="auto", vmin=0, vmax=1)
        differ = np.flatnonzero(found.codes[column] != found.codes[0])
        below.plot(differ, np.zeros(len(differ)), "s", color="#d62728", markersize=3)
        text = (
            f"{found.codes.shape[1]} bits" if column == 0 else f"bits that differ: {found.distances[column]}"
        )
        below.set_xlabel(text, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    fig.tight_layout()
    return fig


def main() -> int:
    found = retrieve()
    fig = draw(found)
    fig.savefig(PICTURE, dpi=110, metadata={"Description": words(found)})
    plt.close(fig)
    print(f"wrote {PICTURE.relative_to(ROOT)}: {words(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
