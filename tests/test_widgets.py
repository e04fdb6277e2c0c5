"""Figures that move: complete without a kernel, described, two on a page."""

from __future__ import annotations

import base64
import io
import pickle
import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dhida_lib import plots, widgets

ALTS = [f"A line that ends at the height {k}." for k in range(3)]


class Elements(HTMLParser):
    """The elements of a text as (name, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def frames() -> list:
    made = []
    for k in range(3):
        fig, ax = plt.subplots(figsize=(2, 1.5))
        ax.plot([0, k])
        made.append(fig)
    return made


@pytest.fixture
def page(monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(widgets, "display", lambda element: shown.append(element.data))
    return shown


def test_slider_is_complete_without_a_kernel(page):
    figures = frames()
    widgets.frame_slider(figures, ["k = 0", 'k = "1"', "k < 3"], ALTS, "Height & end", start=1)
    assert not any(plt.fignum_exists(fig.number) for fig in figures)
    page_ = Elements(page[0])
    images, [slider], [label], [output] = (page_.all(t) for t in ("img", "input", "label", "output"))
    assert [image["alt"] for image in images] == ALTS
    assert [image["data-label"] for image in images] == ["k = 0", 'k = "1"', "k < 3"]
    assert [("display:block" in image["style"]) for image in images] == [False, True, False]
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert slider["id"] == label["for"] == output["for"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "1")
    assert slider["aria-valuetext"] == 'k = "1"'
    assert slider["data-lm-suppress-shortcuts"] == "true"
    assert "closest('figure')" in slider["oninput"]
    assert "Height &amp; end" in page[0]
    words = page[0].split("<details>")[1]
    assert "All 3 states in words" in words
    for label, alt in zip(("k = 0", "k = &quot;1&quot;", "k &lt; 3"), ALTS, strict=True):
        assert f"<li><strong>{label}</strong>: {alt}</li>" in words, "who sees no frame can read it"
    assert not re.search(r"https?://|<script", page[0]), "nothing is loaded"


def test_two_sliders_do_not_clash(page):
    for _ in range(2):
        widgets.frame_slider(frames(), list("abc"), ALTS, "Height")
    ids = [Elements(text).all("input")[0]["id"] for text in page]
    assert ids[0] != ids[1]


def test_frames_are_small_and_look_the_same(page):
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.imshow(np.random.default_rng(0).random((7, 7)))
    ax.add_patch(plt.Rectangle((2, 2), 1, 1, fill=False, ec="#E69F00"))  # a rare colour stays
    other, _ = plt.subplots(figsize=(4, 3))
    full = plots.png(pickle.loads(pickle.dumps(fig)), tight=False, scale=1.5)
    widgets.frame_slider([fig, other], ["a", "b"], ALTS[:2], "Height")
    small = base64.b64decode(Elements(page[0]).all("img")[0]["src"].split(",")[1])
    assert len(small) < len(full) / 2
    before, after = (plt.imread(io.BytesIO(image))[..., :3] for image in (full, small))
    assert np.abs(before - after).max() < 0.03


def test_slider_takes_png_files(page):
    images = [plots.png(fig, tight=False) for fig in frames()]
    widgets.frame_slider(images, list("abc"), ALTS, "Height", width=200)
    assert "width:200px" in Elements(page[0]).all("img")[0]["style"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"frames": [b""]}, "frames"),
        ({"labels": ["a"]}, "labels"),
        ({"alts": ALTS[:2]}, "alts"),
        ({"alts": [*ALTS[:2], "short"]}, r"alts\[2\]"),
        ({"title": " "}, "title"),
        ({"start": 3}, "start"),
        ({"frames": None}, "frames"),
        ({"frames": "abc"}, "frames"),
        ({"frames": ["a", "b", "c"]}, r"frames\[0\]"),
        ({"frames": [b"GIF89a"] * 3}, r"frames\[0\]"),
        ({"labels": 3}, "labels"),
        ({"labels": ["a", 1, "c"]}, r"labels\[1\]"),
        ({"alts": None}, "alts"),
        ({"title": 3}, "title"),
        ({"start": "1"}, "start"),
        ({"start": 1j}, "start"),
        ({"width": 0}, "width"),
        ({"width": 10**5000}, "width"),
        ({"width": np.arange(2)}, "width"),
    ],
    ids=range(19),
)
def test_slider_errors(change, name):
    pixel = plots.png(plt.figure(figsize=(1, 1)), tight=False)
    given = {"frames": [pixel] * 3, "labels": list("abc"), "alts": ALTS, "title": "Height"}
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        widgets.frame_slider(**(given | change))


class Shell:
    kernel = object()


def test_live_calls_python_only_where_a_kernel_answers(monkeypatch):
    calls = []
    widgets.live(calls.append, lambda: calls.append("fallback"), k=(0, 3, 1))
    assert calls == ["fallback"], "no kernel here"

    monkeypatch.setattr(widgets, "get_ipython", Shell)
    monkeypatch.setenv("DHIDA_STATIC", "1")
    widgets.live(calls.append, lambda: calls.append("fallback"), k=(0, 3, 1))
    assert calls == ["fallback"] * 2, "a build is no reader"

    monkeypatch.delenv("DHIDA_STATIC")
    made = {}
    monkeypatch.setattr("ipywidgets.interact", lambda function, **controls: made.update(controls))
    widgets.live(calls.append, lambda: calls.append("fallback"), k=(0, 3, 1))
    assert made == {"k": (0, 3, 1)}
    assert calls == ["fallback"] * 2


def test_live_draws_anew_when_a_control_moves(monkeypatch):
    import ipywidgets

    calls, made, real = [], [], ipywidgets.interact
    monkeypatch.setattr(widgets, "get_ipython", Shell)
    monkeypatch.delenv("DHIDA_STATIC", raising=False)
    monkeypatch.setattr(ipywidgets, "interact", lambda f, **controls: made.append(real(f, **controls)))
    widgets.live(lambda k, edge: calls.append((k, edge)), lambda: None, k=(0, 4), edge=(0.5, 1.5, 0.5))
    slider = made[0].widget.children[0]
    assert calls == [(2, 1.0)], "it starts in the middle"
    slider.value = 3
    assert calls[-1] == (3, 1.0)
    assert slider.description == "k", "the slider has a name"


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_handler_moves_one_slider_in_a_browser(page, tmp_path):
    """What an arrow key does to an <input type=range>: a new value and the event `input`."""
    for _ in range(2):
        widgets.frame_slider(frames(), ["a", "b", "c & d"], ALTS, "Height")
    move = "var s=document.querySelectorAll('input')[1];s.value=2;s.dispatchEvent(new Event('input'))"
    text = f"<!doctype html>{''.join(page)}<script>{move}</script>"
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command = [str(CHROMIUM), *flags, (tmp_path / "page.html").as_uri()]
    text = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode("utf-8")
    after = Elements(text)
    shown = ["block" in image["style"].split(";")[0] for image in after.all("img")]
    assert shown == [True, False, False, False, False, True], "the second slider moved, the first did not"
    assert after.all("input")[1]["aria-valuetext"] == "c & d"
    assert text.count(">c &amp; d</output>") == 1
