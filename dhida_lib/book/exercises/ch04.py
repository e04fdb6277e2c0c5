"""Checks of Chapter 4's exercises: backbone and hash layer."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.models import HashNetwork


def _window(q: int, layers: list[tuple[int, int, int]], padding: int = 1, reach: int = -1) -> tuple[int, int]:
    first = last = q
    for k, s, p in layers:
        first, last = first * s - padding * p, last * s - padding * p + k + reach
    return first, last


@exercise("4.1")
def ex_4_1(answer: Any) -> str:
    """First and last pixel of a position's receptive field."""
    networks = [
        [(3, 1, 1)],
        [(3, 2, 1)],
        [(7, 2, 3), (3, 2, 1)],
        [(3, 1, 0), (5, 3, 2), (2, 2, 0)],
        [(7, 2, 3), (3, 2, 1), *[(3, 1, 1)] * 4, *[(3, 2, 1), *[(3, 1, 1)] * 3] * 3],
    ]
    cases = [(q, layers) for layers in networks for q in (0, 3)]
    got = [answer(q, list(layers)) for q, layers in cases]
    for have in got:
        pair = isinstance(have, (tuple, list)) and len(have) == 2
        expect(pair, f"give back two integers, (first, last), not {have!r}")
    got = [tuple(have) for have in got]
    want = [_window(q, layers[::-1]) for q, layers in cases]

    def jump(q: int, layers: list) -> tuple[int, int]:
        size = math.prod(s for _, s, _ in layers)
        return q * size, q * size + size - 1

    slips = {
        "the layers are walked in the wrong order: begin with the last one": [_window(*c) for c in cases],
        "the padding is forgotten: the first window begins at −p": [_window(q, n[::-1], 0) for q, n in cases],
        "`last` is one too far: k places from s·q − p end at s·q − p + k − 1": [
            _window(q, n[::-1], reach=0) for q, n in cases
        ],
        "it is cut at the border: a negative pixel is wanted, too": [(max(a, 0), b) for a, b in want],
        "this is the patch of the jump; a window reaches further": [jump(*c) for c in cases],
    }
    for sentence, numbers in slips.items():
        expect(got != numbers, sentence)
    for (q, layers), have, right in zip(cases, got, want, strict=True):
        shown = layers if len(layers) < 4 else f"ResNet18's {len(layers)} layers"
        expect(have == right, f"position {q} sees {right} through {shown}, not {have}")
    return f"{len(networks)} networks, from one layer to ResNet18's 18 windows, two positions each"


@exercise("4.2")
def ex_4_2(answer: Any) -> str:
    """Eq. 14 at each position of a map."""
    A = torch.randn(2, 3, 4, 5, dtype=torch.float64)  # B×d×h×w
    W, b = torch.randn(3, 6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)  # d×K, K
    rows = A.permute(0, 2, 3, 1)  # B×h×w×d
    want = (rows @ W + b).permute(0, 3, 1, 2)
    slips = {
        "b is missing": (rows @ W).permute(0, 3, 1, 2),
        "this is u of the pooled map, one number for a bit; keep the positions": A.mean(dim=(2, 3)) @ W + b,
        "b is shared out: each position gets a part of it, but the mean of b is b": (
            rows @ W + b / 20
        ).permute(0, 3, 1, 2),
        "the bits stand last; B×K×h×w is asked for": rows @ W + b,
        "height and width are exchanged": (rows @ W + b).permute(0, 3, 2, 1),
        "the map was reshaped, not transposed, so channels and positions are mixed": (
            A.reshape(2, 4, 5, 3) @ W + b
        ).permute(0, 3, 1, 2),
        "the result was reshaped, not transposed, so bits and positions are mixed": (rows @ W + b).reshape(
            2, 6, 4, 5
        ),
        "these are signs; Eq. 14 alone is asked for": torch.where(want >= 0, 1.0, -1.0).double(),
    }
    error = expect_close(
        answer(A.clone(), W.clone(), b.clone()), want, "the outputs by position", slips=slips
    )
    return f"2 images, d = 3, K = 6, 4×5 positions (largest difference {error:.1e}); their mean is u"


@exercise("4.3")
def ex_4_3(answer: Any) -> str:
    """Codes that do not depend on the batch."""
    model = HashNetwork("narrow-resnet", "none", bits=6, in_channels=1, width=4).double()
    x = torch.randn(10, 1, 12, 16, dtype=torch.float64) * torch.linspace(0.2, 3, 10).view(-1, 1, 1, 1)
    with torch.no_grad():
        model(x)  # the running averages are no longer those of a new network
        model.eval()
        model.hash_layer.bias.sub_(model(x).median(dim=0).values)  # every bit is alive
    want = model.codes(x)
    with torch.no_grad():
        outputs = model(x)
    sizes: list[int] = []  # of the batches that the answer makes; a hook travels with a copy of the model
    model.hash_layer.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    state = copy.deepcopy(model.state_dict())
    for mode in (True, False):
        for batch_size in (4, 3, 10):
            model.train(mode)
            sizes.clear()
            got = answer(model, x.clone(), batch_size)
            arrived = "train()" if mode else "eval()"
            after = model.state_dict()
            same = all(torch.equal(after[name], state[name]) for name in state)
            expect(
                same, f"the model arrived in {arrived} and its running averages moved: was eval() forgotten?"
            )
            left = "train()" if model.training else "eval()"
            expect(
                model.training == mode, f"the model arrived in {arrived} and left in {left}: ask, then change"
            )
            expect(
                max(sizes, default=0) <= batch_size,
                f"{max(sizes, default=0)} images went through the model at once: batch_size is {batch_size}",
            )
            slips = {
                "these are the outputs u; codes are their signs": outputs,
                "the last, smaller batch is missing": want[: 10 // batch_size * batch_size],
                "only the first batch was encoded": want[:batch_size],
            }
            slips = {k: v for k, v in slips.items() if len(v) < 10 or k.startswith("these")}
            expect_close(got, want, f"the codes of 10 images in batches of {batch_size}", slips=slips)
    return "batches of 3, 4 and 10, both modes: the same codes, and the model is as it was"


@exercise("4.4")
def ex_4_4(answer: Any) -> str:
    """A convolution that contains its batch norm."""
    error = 0.0
    for stride, padding, kernel in ((1, 1, 3), (2, 0, 1), (2, 3, 7)):
        conv = nn.Conv2d(3, 5, kernel, stride=stride, padding=padding, bias=False).double()
        norm = nn.BatchNorm2d(5, eps=0.01).double().eval()
        for name, low in (("weight", 0.5), ("bias", -1.0), ("running_mean", -1.0), ("running_var", 0.2)):
            with torch.no_grad():
                norm.state_dict()[name].uniform_(low, low + 2)
        before = copy.deepcopy([conv.state_dict(), norm.state_dict()])
        x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
        with torch.no_grad():
            want = norm(conv(x))
        new = answer(conv, norm)
        expect(isinstance(new, nn.Conv2d), f"the answer gives back a {type(new).__name__}, not an nn.Conv2d")
        after = [conv.state_dict(), norm.state_dict()]
        kept = all(torch.equal(old[n], now[n]) for old, now in zip(before, after, strict=True) for n in old)
        expect(new is not conv and kept, "conv or norm was changed: make a new convolution")
        what = f"the output with k={kernel}, s={stride}, p={padding}"
        names = ("weight", "running_mean", "running_var", "bias")
        g, m, v, t = (norm.state_dict()[name] for name in names)
        line = g / (v + norm.eps).sqrt()
        kinds = {
            "the mean is missing in the bias: −m is multiplied by the factor, too": (line, t),
            "the mean is not scaled: the factor multiplies x − m, so −m as well": (line, t - m),
            "ε is forgotten under the root": (g / v.sqrt(), t - m * g / v.sqrt()),
            "it divides by the variance; the line divides by its root": (
                g / (v + norm.eps),
                t - m * g / (v + norm.eps),
            ),
            "the factor g is forgotten": (line / g, t - m * line / g),
            "the mean is added: the line has x − m": (line, t + m * line),
            "the shift t is forgotten": (line, -m * line),
            "the factor is missing in the weights": (torch.ones_like(line), t - m * line),
        }
        with torch.no_grad():
            plain = conv(x)
            slips = {k: plain * f[:, None, None] + c[:, None, None] for k, (f, c) in kinds.items()}
            alone = nn.functional.conv2d(x, conv.weight, padding=padding)
            slips["the stride of conv is not taken over"] = (
                alone * line[:, None, None] + (t - m * line)[:, None, None]
            )  # with stride 1 this is right, and then no slip is looked at
        # in double, whatever the dtype of the answer: float32 is no mistake
        error = max(error, expect_close(new.double()(x), want, what, 1e-5, slips=slips))
    return f"three kernels, strides and paddings (largest difference {error:.1e})"


@exercise("4.5")
def ex_4_5(answer: Any) -> str:
    """A report on untrained networks and pixels."""
    return expect_report(answer, "network", "changed", "control")
