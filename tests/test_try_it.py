"""The page "Try it": its network is the library's, and its controls work by mouse and by keyboard."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import CHROMIUM, Browser
from PIL import Image
from torch import nn

import dhida_lib

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGE = HTML / "book" / "try_it.html"
sys.path.insert(0, str(ROOT / "tools"))

import try_it  # noqa: E402

CHECKPOINTS = dhida_lib.data_path("checkpoints")
site = pytest.mark.skipif(
    not PAGE.is_file() or CHROMIUM is None, reason="no site (`make book`) or no Chromium"
)


# ---- what is written for the page ----------------------------------------------------------------------


def test_a_folded_convolution_is_both_of_its_parts():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
    for _ in range(5):
        norm(conv(torch.randn(8, 3, 6, 6)))  # its running statistics move
    norm.eval()
    nn.init.normal_(norm.weight)
    weight, bias = try_it.folded(conv, norm)
    x = torch.randn(2, 3, 6, 6)
    got = nn.functional.conv2d(x.double(), torch.tensor(weight), torch.tensor(bias), padding=1)
    torch.testing.assert_close(got.float(), norm(conv(x)))


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "narrow-alexnet"},
        {"attention": "none"},
        {"attention": "danet"},
        {"in_channels": 3},
        {"code_rule": "one-hot"},
    ],
)
def test_another_kind_of_network_is_refused(settings):
    usual = {"backbone": "narrow-resnet", "attention": "ida", "in_channels": 1, "width": 4}
    assert try_it.tensors(dhida_lib.HashNetwork(**usual))
    with pytest.raises(ValueError, match="this network"):
        try_it.tensors(dhida_lib.HashNetwork(**(usual | settings)))


def test_codes_as_numbers_have_the_hamming_distance_of_the_codes():
    codes = torch.randn(50, 16).sign()
    numbers = try_it.packed(codes)
    for i in range(49):
        assert (numbers[i] ^ numbers[i + 1]).bit_count() == int((codes[i] != codes[i + 1]).sum())
    assert max(numbers) < 1 << 16


def test_an_image_stands_on_its_sheet_where_the_page_looks_for_it():
    images = np.random.default_rng(0).integers(0, 256, (47, 4, 4), dtype=np.uint8)
    sheet = np.asarray(try_it.sprite(images))
    assert sheet.shape == (3 * 4, try_it.COLUMNS * 4)
    for k in (0, 19, 20, 46):
        row, column = divmod(k, try_it.COLUMNS)
        assert (sheet[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] == images[k]).all()
    assert try_it.first_of_each_class(np.array([1, 0, 1, 1, 0]), 2) == [1, 4, 0, 2]


# ---- the page in Chromium ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    return dhida_lib.load_dataset("fashion-mini")


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


@pytest.fixture
def page(browser):
    opened = browser.page(PAGE.as_uri())
    opened.wait("document.getElementById('try-it').dataset.answered > 0")
    yield opened
    faults = opened.faults()
    opened.close()
    assert faults == []


def count(page) -> int:
    return int(page.run("document.getElementById('try-it').dataset.answered"))


def part(name: str) -> str:
    return f'#try-it [data-part="{name}"]'


def text(page, name: str) -> str:
    return page.run(f"document.querySelector({json.dumps(part(name))}).textContent")


@site
@pytest.mark.site
def test_the_browser_computes_what_pytorch_computes(page, data):
    """On a hundred queries: u to a ten-thousandth, every code, and both attention maps."""
    model = dhida_lib.HashNetwork.load(CHECKPOINTS / try_it.MODEL / "model.json")
    chosen = list(range(100))
    x = data.query.batch(chosen)[0]
    with torch.inference_mode():
        A = model.feature_map(x)
        u, codes = model(x), model.codes(x)
        P, X = model.attention.position.attention_map(A), model.attention.channel.attention_map(A)
    pixels = base64.b64encode(np.ascontiguousarray(data.query.pictures(chosen)).tobytes()).decode()
    got = page.run(f"""(async () => {{
        const model = await tryItPage.load();
        const all = Uint8Array.from(atob({json.dumps(pixels)}), (c) => c.charCodeAt(0));
        const answers = [];
        for (let k = 0; k < 100; k++) {{
            const pixels = all.subarray(784 * k, 784 * (k + 1));
            const {{ u, f, code, position, channel }} = dhida.forward(model, pixels);
            const maps = k < 5 ? [Array.from(position), Array.from(channel)] : null;
            answers.push({{ u, f, code, maps }});
        }}
        return answers;
    }})()""")
    assert len(got) == 100
    torch.testing.assert_close(torch.tensor([a["u"] for a in got]), u, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor([a["f"] for a in got]), u.clamp(-1, 1), rtol=0, atol=1e-4)
    assert torch.equal(torch.tensor([a["code"] for a in got], dtype=codes.dtype), codes)
    for k in range(5):
        for values, want in zip(got[k]["maps"], (P[k], X[k]), strict=True):
            torch.testing.assert_close(torch.tensor(values).view_as(want), want, rtol=0, atol=1e-4)


@site
@pytest.mark.site
def test_the_ranking_is_the_librarys_and_its_verdicts_are_right(page, data):
    model = dhida_lib.HashNetwork.load(CHECKPOINTS / try_it.MODEL / "model.json")
    database = dhida_lib.encode(model, data.database)
    query = page.run("tryIt.images.queries.rows[0]")
    distances = (model.codes(data.query.batch([query])[0]) != database).sum(dim=1)
    order = torch.argsort(distances, stable=True)[:20]
    label = int(data.query.labels[query])
    shown = page.run(f"[...document.querySelectorAll('{part('ranking')} li')].map((e) => e.textContent)")
    for line, item in zip(shown, order.tolist(), strict=True):
        right = int(data.database.labels[item]) == label
        name = data.class_names[int(data.database.labels[item])]
        assert line.startswith(f"{'✓' if right else '✗'} {name}, {'right' if right else 'wrong'}")
        assert line.endswith(f"distance {distances[item]}")
    right = int((data.database.labels[order] == label).sum())
    assert text(page, "verdict").startswith(f"{right} of the first 20")


@site
@pytest.mark.site
def test_a_flipped_bit_changes_the_ranking_and_can_be_undone_by_keyboard(page):
    first = text(page, "ranking")
    page.run(f"document.querySelector('{part('bits')} button').focus()")
    page.press(" ")
    label = page.run("document.activeElement.textContent")
    assert label.startswith("Bit 1:"), "the focus stays on the bit"
    assert label.endswith("flipped by you")
    assert text(page, "ranking") != first
    assert page.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.run(f"document.querySelector('{part('restore')}').focus()")
    page.press(" ")
    assert text(page, "ranking") == first
    assert page.run(f"document.querySelector('{part('restore')}').disabled")


@site
@pytest.mark.site
def test_the_sliders_move_by_keyboard_and_say_where_they_are(page):
    page.run(f"document.querySelector('{part('radius')}').focus()")
    page.press("Home")
    at_zero = text(page, "radius-words")
    page.press("End")
    assert text(page, "radius-value") == "16"
    assert page.run("document.activeElement.getAttribute('aria-valuetext')") == "radius 16"
    assert text(page, "radius-words").startswith("4000 of 4,000 images")
    assert "Recall: 100 %" in text(page, "radius-words")
    assert text(page, "radius-words") != at_zero
    before = text(page, "position-words")
    page.run(f"document.querySelector('{part('where')}').focus()")
    page.press("Home")
    assert page.run("document.activeElement.getAttribute('aria-valuetext')") == "row 1, column 1"
    assert text(page, "position-words") != before


@site
@pytest.mark.site
def test_a_drawing_by_keyboard_gets_an_answer(page):
    page.run(f"document.querySelector('{part('canvas')}').focus()")
    n = count(page)
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.press(key, shift=True)
    page.wait(f"document.getElementById('try-it').dataset.answered > {n}")
    assert text(page, "name") == "your drawing"
    assert page.run("tryItPage.state.pixels.some((value) => value > 200)")


@site
@pytest.mark.site
@pytest.mark.parametrize("light", [True, False])
def test_a_picture_from_a_file_gets_an_answer(page, light):
    """A colour picture with a dark square on light, or light on dark: the network sees light on dark."""
    n = count(page)
    picture = Image.new("RGB", (90, 60), "white" if light else "black")
    picture.paste((40, 40, 40) if light else (215, 215, 215), (30, 15, 60, 45))
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    sent = base64.b64encode(buffer.getvalue()).decode()
    page.run(f"""(() => {{
        const bytes = Uint8Array.from(atob({json.dumps(sent)}), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "mine.png", {{ type: "image/png" }}));
        const input = document.querySelector('{part("file")}');
        input.files = transfer.files;
        input.dispatchEvent(new Event("change"));
    }})()""")
    page.wait(f"document.getElementById('try-it').dataset.answered > {n}")
    assert text(page, "name") == "your picture mine.png"
    assert ("inverted" in text(page, "file-words")) == light
    side = page.run("tryItPage.state.pixels[14 * 28 + 14]"), page.run("tryItPage.state.pixels[0]")
    assert side[0] == pytest.approx(215, abs=2)
    assert side[1] == pytest.approx(0, abs=2)


@site
@pytest.mark.site
def test_a_file_that_is_no_picture_is_told_so(page):
    page.run(f"""(() => {{
        const transfer = new DataTransfer();
        transfer.items.add(new File(["no picture"], "a.png", {{ type: "image/png" }}));
        const input = document.querySelector('{part("file")}');
        input.files = transfer.files;
        input.dispatchEvent(new Event("change"));
    }})()""")
    page.wait(f"document.querySelector('{part('file-words')}').textContent.length > 0")
    assert "cannot read this file" in text(page, "file-words")


@site
@pytest.mark.site
def test_every_control_of_the_page_has_a_name(page):
    nameless = page.run("""[...document.querySelectorAll("#try-it :is(button, input, select, canvas[role])")]
        .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.closest("label")))
        .map((e) => e.outerHTML.slice(0, 80))""")
    assert nameless == []
    assert page.run("document.querySelectorAll('#try-it button').length") > 30


@site
@pytest.mark.site
def test_the_page_is_light():
    sizes = {path.name: path.stat().st_size for path in (HTML / "_static" / "try_it").iterdir()}
    assert max(sizes.values()) < 5_000_000
    assert sum(sizes.values()) < 5_000_000
    assert {"network.js", "page.js", "images.js", f"{try_it.MODEL}.js"} <= set(sizes)
