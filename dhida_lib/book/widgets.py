"""Figures that move: with a kernel or without one. All chapters.

`frame_slider` is plain HTML with one inline handler: it moves in JupyterLab, on Colab and on the site, where
no kernel runs, and loads nothing from anywhere. Below the slider the reader can unfold every state in words.
`live` calls Python and so needs a kernel; on the site its fallback stands in its place.
"""

from __future__ import annotations

import html
import io
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from matplotlib.figure import Figure

from dhida_lib._validate import bad, instance, sized, whole
from dhida_lib.book.plots import checked_alt, checked_width, data_uri, png

__all__ = ["frame_slider", "live"]

_numbers = itertools.count(1)
_PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins

# Runs inside the <input>. Nothing is looked up by id: two sliders never meet, even in two open notebooks.
_MOVE = (
    "var f=this.closest('figure'),k=+this.value,m=f.querySelectorAll('img');"
    "for(var i=0;i<m.length;i++){m[i].style.display=i===k?'block':'none'}"
    "var t=m[k].getAttribute('data-label');"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


def frame_slider(
    frames: Sequence[Figure | bytes],
    labels: Sequence[str],
    alts: Sequence[str],
    title: str,
    *,
    start: int = 0,
    width: int | None = None,
) -> None:
    """Show pictures one at a time, chosen with a slider that needs no kernel; all of them in words below it.

    Args:
        frames: matplotlib figures of one size (they are closed), or PNG files as bytes; at least two.
        labels: what the slider says at each frame, such as ``"γ = 0.1"``.
        alts: a description of each frame, at least 20 characters.
        title: what the slider changes, such as ``"Weight of the quantization term"``; its accessible name.
        start: the frame that is shown first.
        width: width on the page in pixels; ``None`` takes the frames' own.

    Raises:
        ValueError: if the numbers of frames, labels and descriptions differ, one of them is of another type,
            a description is too short, ``start`` is no frame, or ``width`` no positive integer.
    """
    if len(sized("frames", frames, "a list of figures")) < 2:
        raise bad("frames", f"{len(frames)} of them", "at least two figures")
    for i, frame in enumerate(frames):
        instance(f"frames[{i}]", frame, (Figure, bytes), "a matplotlib Figure, or a PNG file as bytes")
        if isinstance(frame, bytes) and not frame.startswith(_PNG):
            raise bad(f"frames[{i}]", frame[:8], "a PNG file as bytes")
    for name, given in (("labels", labels), ("alts", alts)):
        sized(name, given, f"as many as there are frames ({len(frames)})", len(frames))
    for i, label in enumerate(labels):
        instance(f"labels[{i}]", label, str, "text")
    if not isinstance(title, str) or not title.strip():
        raise bad("title", title, "a few words that say what the slider changes")
    if whole("start", start) >= len(frames):
        raise bad("start", start, f"the number of a frame, 0 to {len(frames) - 1}")
    width = checked_width(width)
    texts = [checked_alt(alt, f"alts[{i}]") for i, alt in enumerate(alts)]
    images = [_drawn(f) if isinstance(f, Figure) else bytes(f) for f in frames]
    display(HTML(_html(images, labels, texts, title, start, width)))


def _drawn(fig: Figure) -> bytes:
    """A frame as a PNG of few colours: a third of the bytes, and no difference that an eye sees."""
    from PIL import Image  # matplotlib needs it, so it is there

    full, small = png(fig, tight=False, scale=1.5), io.BytesIO()
    colours = Image.open(io.BytesIO(full)).convert("RGB")
    few = colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return min(full, small.getvalue(), key=len)


def _html(
    images: list[bytes], labels: Sequence[str], alts: list[str], title: str, start: int, width: int | None
) -> str:
    """The figure: the frames, of which one is shown, the slider with its value, and all frames in words."""
    pixels = width or round(int.from_bytes(images[0][16:20], "big") / 1.5)
    pictures = "".join(
        f'<img src="{data_uri(image)}" alt="{html.escape(alt)}" data-label="{html.escape(label)}" '
        f'style="display:{"block" if i == start else "none"};width:{pixels}px;max-width:100%;height:auto;'
        f'background:white">'
        for i, (image, label, alt) in enumerate(zip(images, labels, alts, strict=True))
    )
    words = "".join(
        f"<li><strong>{html.escape(label)}</strong>: {html.escape(alt)}</li>"
        for label, alt in zip(labels, alts, strict=True)
    )
    name = f"dhida-slider-{next(_numbers)}"
    now = html.escape(labels[start])
    # `data-lm-suppress-shortcuts`: JupyterLab leaves the arrow keys to the slider.
    return (
        f'<figure class="dhida frames" style="margin:0.5em 0">{pictures}'
        f'<figcaption style="display:flex;gap:0.8em;align-items:center;flex-wrap:wrap">'
        f'<label for="{name}">{html.escape(title)}</label>'
        f'<input id="{name}" type="range" min="0" max="{len(images) - 1}" step="1" value="{start}" '
        f'aria-valuetext="{now}" data-lm-suppress-shortcuts="true" oninput="{html.escape(_MOVE)}" '
        f'style="flex:1 1 10em;max-width:24em"><output for="{name}">{now}</output></figcaption>'
        f"<details><summary>All {len(images)} states in words</summary><ul>{words}</ul></details></figure>"
    )


def is_live() -> bool:
    """Is there a kernel that will answer, and not only a build that takes the page's picture?"""
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel") and not os.environ.get("DHIDA_STATIC")


def live(function: Callable[..., Any], fallback: Callable[[], Any], **controls: Any) -> None:
    """Call a function anew whenever a control moves; where no kernel answers, show something else.

    Args:
        function: draws for one setting of the controls.
        fallback: called without arguments on the site: shows a figure or a `frame_slider`.
        **controls: one per argument of ``function``, as `ipywidgets.interact` takes them: a tuple
            ``(low, high, step)``, a list of choices, a widget.
    """
    if not is_live():
        fallback()
        return
    import ipywidgets  # here, for only a live figure needs it

    ipywidgets.interact(function, **controls)
