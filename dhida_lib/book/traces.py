"""What one step does, and when: recorded with PyTorch's profiler, and drawn as a timeline (Chapter 12)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dhida_lib._validate import bad, instance, number, sized
from dhida_lib.book.plots import COLORS

__all__ = ["Span"]

_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo")


class Span(NamedTuple):
    """One piece of work in a trace.

    Attributes:
        name: of the operator (``aten::mm``), of a kernel, or of a label set with ``record_function``.
        start: when it began, in ms after the trace's first span.
        length: how long it took, in ms.
        lane: ``"host"``, ``"device"``, or ``"autograd"``: on a GPU, PyTorch works backward in a thread of
            its own while the host's line waits for it.
        depth: how many spans of the same lane it lies in.
        own: its length without the spans that lie in it, in ms; over all spans these add up.
    """

    name: str
    start: float
    length: float
    lane: str = "host"
    depth: int = 0
    own: float = 0.0


def record(step: Callable[[], Any], device: torch.device) -> list[Span]:
    """Run a step once under the profiler. Call the step before, so that its first, slow time is over.

    Args:
        step: what to run.
        device: where it computes; on a GPU its kernels are recorded, too.

    Returns:
        The spans, by their start.

    Raises:
        ValueError: if ``step`` is no function, or ``device`` no device.
    """
    if not callable(step):
        raise bad("step", type(step).__name__, "a function without arguments")
    instance("device", device, torch.device, "a torch.device")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it reports its own start and stop on a page
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profiled:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    events = list(profiled.events() or ())
    first = min((e.time_range.start for e in events), default=0.0)
    on_host = [e.device_type == torch.autograd.DeviceType.CPU for e in events]
    labels = {e.name for e, host in zip(events, on_host, strict=True) if host and e.cpu_parent is None}
    own = min(
        zip(events, on_host, strict=True), key=lambda e: (not e[1], e[0].time_range.start), default=None
    )
    thread = None if own is None else own[0].thread  # the step's own: its first event is the first of all
    spans = []
    for event, host in zip(events, on_host, strict=True):
        if not host and event.name in labels:
            continue  # a label is shown again over the kernels that it covers
        depth, parent = 0, event.cpu_parent
        while parent is not None:
            depth, parent = depth + 1, parent.cpu_parent
        begun, length = (event.time_range.start - first) / 1000, event.time_range.elapsed_us() / 1000
        lane = "device" if not host else "host" if event.thread == thread else "autograd"
        inside = sum(child.time_range.elapsed_us() for child in event.cpu_children) / 1000
        spans.append(Span(event.name, begun, length, lane, depth, max(0.0, length - inside)))
    return sorted(spans, key=lambda span: (span.start, span.depth))


def timeline(
    lanes: Mapping[str, Sequence[tuple[str, float, float]]],
    *,
    names: bool = True,
    title: str = "",
    xlabel: str = "ms",
    order: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Bars on a time axis, one row for each lane; what has one name has one colour and one hatching.

    Args:
        lanes: lane → its bars as (name, start, length), from the top row down.
        names: write each bar's name into it; False: into a legend.
        title: over the picture.
        xlabel: what the axis counts.
        order: names whose colours come first, so that two figures agree; the others follow as they appear.
        ax: draw here instead of in a new figure.

    Returns:
        The figure; show it with `plots.show(fig, alt=…)`.

    Raises:
        ValueError: if there is no lane, or a bar is not a name and two numbers.
    """
    if not instance("lanes", lanes, Mapping, "a dictionary: lane → bars"):
        raise bad("lanes", "none", "at least one lane")
    if ax is None:
        _, ax = plt.subplots(figsize=(7.4, 0.7 + 0.55 * len(lanes)))
    instance("ax", ax, Axes, "axes of matplotlib, or None")
    colours = [COLORS[c] for c in ("blue", "orange", "green", "sky", "purple", "red", "grey")]
    styles = {name: i for i, name in enumerate(sized("order", order, "names, in the order of their colours"))}
    for row, (lane, bars) in enumerate(lanes.items()):
        for bar in sized("lanes", bars, f"bars (name, start, length) for {lane!r}"):
            name, start, length = sized("lanes", bar, f"bars (name, start, length) for {lane!r}", 3)
            start, length = number("start", start), number("length", length)
            style = styles.setdefault(name, len(styles))
            ax.barh(
                row,
                length,
                left=start,
                height=0.72,
                color=colours[style % len(colours)],
                hatch=None if names else _HATCHES[style % len(_HATCHES)],
                edgecolor="white",
                linewidth=0.6,
                label=name if styles[name] == style else None,
            )
            if names:
                ink = "white" if colours[style % len(colours)] == COLORS["blue"] else "black"
                ax.text(start + length / 2, row, name, ha="center", va="center", size=8, color=ink)
    ax.set(yticks=range(len(lanes)), yticklabels=list(lanes), xlabel=xlabel, title=title)
    ax.set_ylim(len(lanes) - 0.45, -0.55)
    ax.grid(False, axis="y")
    if not names:
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        ax.legend(handles.values(), handles.keys(), fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    fig = ax.get_figure()
    assert isinstance(fig, Figure)
    return fig
