"""Traces and timelines of Chapter 12."""

from __future__ import annotations

import subprocess
import sys
import time

import matplotlib.pyplot as plt
import pytest
import torch
from torch.profiler import record_function

from dhida_lib.book import traces

CPU = torch.device("cpu")


def step():
    x = torch.ones(40, 40)
    with record_function("product"):
        y = x @ x
    with record_function("ask"):
        return y.sum().item()


def test_a_trace_has_labels_operators_and_waits():
    spans = traces.record(step, CPU)
    labels = [s for s in spans if s.name in ("product", "ask")]
    assert [s.name for s in labels] == ["product", "ask"]
    assert [s.depth for s in labels] == [0, 0]
    inside = [s for s in spans if labels[1].start <= s.start < labels[1].start + labels[1].length]
    assert sum(s.name == "aten::_local_scalar_dense" for s in inside) == 1
    assert sum(s.name == "aten::mm" for s in spans) == 1
    assert {s.lane for s in spans} == {"host"}
    assert spans == sorted(spans, key=lambda s: (s.start, s.depth))
    assert spans[0].start == 0


def test_the_profiler_says_nothing_on_the_page():
    """In a process of its own, as what was set before the first trace counts."""
    code = "import torch; from dhida_lib.book.traces import record; record(lambda: None, torch.device('cpu'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_own_times_add_up_to_the_labels():
    spans = traces.record(step, CPU)
    labels = [s for s in spans if s.name in ("product", "ask")]
    for label in labels:
        covered = [s for s in spans if label.start <= s.start < label.start + label.length]
        assert sum(s.own for s in covered) == pytest.approx(label.length, rel=0.02, abs=0.01)
        assert all(0 <= s.own <= s.length for s in covered)


def test_a_step_without_work_has_no_spans():
    assert traces.record(lambda: time.sleep(0), CPU) == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: traces.record(3, CPU), "`step`"),
        (lambda: traces.record(step, "cpu"), "`device`"),
        (lambda: traces.timeline({}), "`lanes`"),
        (lambda: traces.timeline([("a", 0, 1)]), "`lanes`"),
        (lambda: traces.timeline({"host": [("a", 0)]}), "`lanes`"),
        (lambda: traces.timeline({"host": "abc"}), "`lanes`"),
        (lambda: traces.timeline({"host": [("a", 0, "1")]}), "`length`"),
        (lambda: traces.timeline({"host": [("a", 0, 1)]}, ax=3), "`ax`"),
    ],
)
def test_wrong_arguments_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
    plt.close("all")


def test_a_timeline_draws_each_bar_where_it_is():
    lanes = {"host": [("queue", 0, 1), ("wait", 1, 2)], "device": [("queue", 1, 2.5)]}
    fig = traces.timeline(lanes, title="a step")
    [ax] = fig.axes
    bars = [x for p in ax.patches for x in (p.get_y() + p.get_height() / 2, p.get_x(), p.get_width())]
    assert bars == pytest.approx([0, 0, 1, 0, 1, 2, 1, 1, 2.5])
    colours = [p.get_facecolor() for p in ax.patches]
    assert colours[0] == colours[2] != colours[1], "one name, one colour"
    assert [t.get_text() for t in ax.texts] == ["queue", "wait", "queue"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["host", "device"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first lane is on top"
    plt.close(fig)


def test_two_timelines_can_agree_on_colours():
    drawn = [{"host": [("b", 0, 1)]}, {"host": [("a", 0, 1)]}]
    b, a = (traces.timeline(lanes, order=("a", "b")).axes[0].patches[0] for lanes in drawn)
    first = traces.timeline({"x": [("c", 0, 1)]}).axes[0].patches[0]
    assert a.get_facecolor() == first.get_facecolor() != b.get_facecolor()
    plt.close("all")


def test_a_timeline_with_a_legend_tells_names_apart_without_colour():
    fig = traces.timeline({"host": [("a", 0, 1), ("b", 1, 1), ("a", 2, 1)]}, names=False)
    [ax] = fig.axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.patches[0].get_hatch() != ax.patches[1].get_hatch()
    assert not ax.texts
    plt.close(fig)


class _Event:
    """An event as the profiler gives it, of a GPU."""

    def __init__(self, name, start, length, device, parent=None, thread=1):
        self.name, self.cpu_parent, self.cpu_children, self.thread = name, parent, [], thread
        self.time_range = torch.autograd.profiler_util.Interval(start, start + length)
        self.device_type = device
        if parent is not None:
            parent.cpu_children.append(self)


def test_a_gpus_trace_has_a_lane_of_its_own(monkeypatch):
    cpu, cuda = torch.autograd.DeviceType.CPU, torch.autograd.DeviceType.CUDA
    label = _Event("forward", 1000, 3000, cpu)
    launch = _Event("aten::mm", 2000, 1000, cpu, label)
    kernel, again = _Event("gemm", 2500, 4000, cuda, thread=0), _Event("forward", 2500, 4000, cuda, thread=0)
    node = _Event("MmBackward0", 4500, 500, cpu, thread=2)
    asked = {}

    class Profile:
        def __init__(self, activities):
            asked["kinds"] = activities

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731
        events = lambda self: [kernel, label, launch, again, node]  # noqa: E731

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: asked.update(waited=device))
    spans = traces.record(lambda: None, torch.device("cuda"))
    assert spans == [
        traces.Span("forward", 0.0, 3.0, "host", 0, 2.0),
        traces.Span("aten::mm", 1.0, 1.0, "host", 1, 1.0),
        traces.Span("gemm", 1.5, 4.0, "device", 0, 4.0),
        traces.Span("MmBackward0", 3.5, 0.5, "autograd", 0, 0.5),
    ], "a label is not shown again over its kernels, and autograd's thread is no line of the step"
    assert len(asked["kinds"]) == 2
    assert asked["waited"] == torch.device("cuda")
